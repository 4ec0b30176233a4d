//! Regular English inflection, used once when the lexicon is compiled.
//!
//! Forms are generated from the base word instead of stripping the prompt's words: "cars" is found because it is generated
//! from "car", and "scar" or "caring" can never be mistaken for it. A form that nobody writes ("runned") does no harm.

fn is_vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u')
}

/// Whether the last consonant may double before -ed and -ing, and whether it always does: always in "run" (one syllable), in
/// British spelling in "travel".
fn doubling(word: &str) -> (bool, bool) {
    let letters: Vec<char> = word.chars().collect();
    let [.., before, vowel, last] = letters[..] else { return (false, false) };
    let shape = !is_vowel(last) && !matches!(last, 'w' | 'x' | 'y') && is_vowel(vowel) && !is_vowel(before);
    let groups = letters.iter().zip(letters.iter().skip(1)).filter(|(a, b)| !is_vowel(**a) && is_vowel(**b)).count()
        + usize::from(letters.first().is_some_and(|c| is_vowel(*c)));
    (shape, shape && groups == 1)
}

fn consonant_y(word: &str) -> Option<&str> {
    let stem = word.strip_suffix('y')?;
    stem.chars().last().filter(|c| !is_vowel(*c)).map(|_| stem)
}

/// Third person of a verb, or plural of a noun.
pub(crate) fn with_s(word: &str) -> String {
    if let Some(stem) = consonant_y(word) {
        return format!("{stem}ies");
    }
    let hisses = ["s", "x", "z", "ch", "sh", "o"].iter().any(|end| word.ends_with(end));
    if hisses { format!("{word}es") } else { format!("{word}s") }
}

/// Past and participles ("walked", "walking"), in both spellings where both are used.
pub(crate) fn past_and_ing(word: &str) -> Vec<String> {
    let (may_double, must_double) = doubling(word);
    let mut forms = Vec::new();
    if may_double {
        let doubled = format!("{word}{}", word.chars().last().map(String::from).unwrap_or_default());
        forms.extend([format!("{doubled}ed"), format!("{doubled}ing")]);
    }
    if must_double {
        return forms;
    }
    if let Some(stem) = consonant_y(word) {
        forms.extend([format!("{stem}ied"), format!("{word}ing")]);
    } else if let Some(stem) = word.strip_suffix("ie") {
        forms.extend([format!("{word}d"), format!("{stem}ying")]);
    } else if let Some(stem) = word.strip_suffix('e') {
        let keeps_e = stem.ends_with(['e', 'o', 'y']);
        forms.extend([format!("{word}d"), if keeps_e { format!("{word}ing") } else { format!("{stem}ing") }]);
    } else {
        forms.extend([format!("{word}ed"), format!("{word}ing")]);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_follow_the_rules_of_spelling() {
        assert_eq!(past_and_ing("run"), ["runned", "running"]);
        assert_eq!(past_and_ing("dance"), ["danced", "dancing"]);
        assert_eq!(past_and_ing("carry"), ["carried", "carrying"]);
        assert_eq!(past_and_ing("play"), ["played", "playing"]);
        assert_eq!(past_and_ing("dye"), ["dyed", "dyeing"]);
        assert_eq!(past_and_ing("tie"), ["tied", "tying"]);
        assert_eq!(past_and_ing("float"), ["floated", "floating"]);
        assert_eq!(past_and_ing("flow"), ["flowed", "flowing"]);
        assert!(past_and_ing("travel").contains(&"traveling".to_owned()));
        assert!(past_and_ing("travel").contains(&"travelling".to_owned()));
    }

    #[test]
    fn plurals_follow_the_rules_of_spelling() {
        for (one, more) in
            [("car", "cars"), ("puppy", "puppies"), ("bus", "buses"), ("boy", "boys"), ("crash", "crashes")]
        {
            assert_eq!(with_s(one), more);
        }
    }
}
