//! The lexicon: what each word says about a prompt, compiled from the files in `lexicon/` into one trie over words.
//!
//! # Adding a language
//! 1. Write `lexicon/<code>.toml` in the format that `lexicon/en.toml` explains.
//! 2. Add it to [`FILES`].
//! 3. Add prompts with labels to `tests/labelled.tsv`, and run the tests.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::inflect;
use crate::tokens::{Simplified, TokenKind, for_each_token};

/// Every language's file, embedded so that no process depends on a folder.
pub(crate) const FILES: &[(&str, &str)] =
    &[("en.toml", include_str!("../lexicon/en.toml")), ("zh.toml", include_str!("../lexicon/zh.toml"))];

/// The compiled lexicon of all languages.
pub(crate) static LEXICON: LazyLock<Lexicon> =
    LazyLock::new(|| Lexicon::compile(FILES).expect("the embedded lexicon does not compile; this is a bug"));

/// Factors that add up words, in the order in which a plan lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WordFactor {
    Motion,
    Scene,
    Camera,
    Lighting,
    Quality,
}

/// What a sequence of words means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Meaning {
    /// Adds to a factor, once per prompt. `finite` marks forms such as "runs": a noun's negator does not reach past them.
    Demand { factor: WordFactor, entry: u32, weight: f64, finite: bool },
    /// Someone or something, and how many of them the word means.
    Subject { entry: u32, count: u32 },
    /// The number of what follows.
    Number(u32),
    /// Says that what follows should not be shown.
    Negator,
    /// Ends the reach of a negator.
    Stop,
    /// Does not use up a negator's reach.
    Filler,
    /// Its words count for no factor.
    Ignore,
}

/// A lexicon file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LexiconError {
    #[error("{file}: {source}")]
    Syntax { file: String, source: toml::de::Error },
    #[error("{file}: '{entry}': {reason}")]
    Entry { file: String, entry: String, reason: &'static str },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LexiconFile {
    #[serde(rename = "language")]
    _language: String,
    negation: NegationWords,
    #[serde(default)]
    numbers: BTreeMap<String, u32>,
    counted: Option<Counted>,
    motion: Vec<Group>,
    scene: Vec<Group>,
    camera: Vec<Group>,
    lighting: Vec<Group>,
    quality: Vec<Group>,
    subjects: Vec<SubjectGroup>,
    ignore: Words,
    traditional: Option<Traditional>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NegationWords {
    negators: Vec<String>,
    stops: Vec<String>,
    fillers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    numbers: BTreeMap<String, u32>,
    measures: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    weight: f64,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    nouns: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectGroup {
    count: u32,
    #[serde(default)]
    nouns: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    words: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Traditional {
    pairs: String,
}

/// FNV-1a. The words are short and the table is fixed, so a fast hash is better than one that resists collision attacks.
#[derive(Clone, Copy)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

type FnvMap<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// Id of a word that is not in the lexicon.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// Words, the trie over them, and what its nodes mean.
#[derive(Debug, Default)]
pub(crate) struct Lexicon {
    vocabulary: FnvMap<Box<str>, u32>,
    /// Children of the root by word id; 0 means none.
    first: Vec<u32>,
    edges: FnvMap<(u32, u32), u32>,
    meanings: Vec<Vec<Meaning>>,
    pub(crate) simplified: Simplified,
    entries: u32,
    /// Number of words of the longest entry, which bounds the work at one position.
    longest: usize,
}

impl Lexicon {
    pub(crate) fn compile(files: &[(&str, &str)]) -> Result<Self, LexiconError> {
        let mut lexicon = Self { meanings: vec![Vec::new()], ..Self::default() };
        let mut parsed = Vec::new();
        for (name, text) in files {
            let file: LexiconFile =
                toml::from_str(text).map_err(|source| LexiconError::Syntax { file: (*name).to_owned(), source })?;
            if let Some(traditional) = &file.traditional {
                let pairs = traditional.pairs.split_whitespace().map(|pair| pair.chars());
                lexicon.simplified.extend(pairs.filter_map(|mut pair| Some((pair.next()?, pair.next()?))));
            }
            parsed.push((*name, file));
        }
        for (name, file) in &parsed {
            let wrong = |(entry, reason): (String, &'static str)| LexiconError::Entry {
                file: (*name).to_owned(),
                entry,
                reason,
            };
            lexicon.add_file(file).map_err(wrong)?;
        }
        Ok(lexicon)
    }

    /// Id of a normalised word.
    pub(crate) fn word(&self, normal: &str) -> u32 {
        self.vocabulary.get(normal).copied().unwrap_or(UNKNOWN)
    }

    /// The longest entry at the start of `words`: its length and meanings.
    pub(crate) fn longest_match(&self, words: impl Iterator<Item = u32>) -> Option<(usize, &[Meaning])> {
        let mut node = 0;
        let mut found = None;
        for (taken, word) in words.take(self.longest).enumerate() {
            let next = match taken {
                0 => self.first.get(word as usize).copied().unwrap_or(0),
                _ => self.edges.get(&(node, word)).copied().unwrap_or(0),
            };
            if next == 0 {
                break;
            }
            node = next;
            let meanings = &self.meanings[node as usize];
            if !meanings.is_empty() {
                found = Some((taken + 1, meanings.as_slice()));
            }
        }
        found
    }

    fn add_file(&mut self, file: &LexiconFile) -> Result<(), (String, &'static str)> {
        let factors = [
            (WordFactor::Motion, &file.motion),
            (WordFactor::Scene, &file.scene),
            (WordFactor::Camera, &file.camera),
            (WordFactor::Lighting, &file.lighting),
            (WordFactor::Quality, &file.quality),
        ];
        for (factor, group) in factors.into_iter().flat_map(|(f, groups)| groups.iter().map(move |g| (f, g))) {
            self.add_group(factor, group)?;
        }
        for group in &file.subjects {
            for (forms, plural) in group
                .nouns
                .iter()
                .map(|noun| (noun_forms(noun), true))
                .chain(group.words.iter().map(|w| (vec![w.clone()], false)))
            {
                let entry = self.next_entry();
                for (index, form) in forms.iter().enumerate() {
                    let count = if plural && index > 0 { group.count.max(2) } else { group.count };
                    self.add(form, Meaning::Subject { entry, count })?;
                }
            }
        }
        for (word, number) in &file.numbers {
            self.add(word, Meaning::Number(*number))?;
        }
        if let Some(counted) = &file.counted {
            for (word, number) in &counted.numbers {
                for measure in &counted.measures {
                    self.add(&format!("{word}{measure}"), Meaning::Number(*number))?;
                }
            }
        }
        let lists = [
            (&file.negation.negators, Meaning::Negator),
            (&file.negation.stops, Meaning::Stop),
            (&file.negation.fillers, Meaning::Filler),
            (&file.ignore.words, Meaning::Ignore),
        ];
        for (words, meaning) in lists {
            for word in words {
                self.add(word, meaning)?;
            }
        }
        Ok(())
    }

    fn add_group(&mut self, factor: WordFactor, group: &Group) -> Result<(), (String, &'static str)> {
        let weight = group.weight;
        if !(weight > 0.0 && weight.is_finite()) {
            return Err((format!("weight = {weight}"), "must be above 0"));
        }
        let nouns = group.nouns.iter().map(|noun| noun_forms(noun).into_iter().map(|form| (form, false)).collect());
        let words = group.words.iter().map(|word| vec![(word.clone(), false)]);
        for forms in group.verbs.iter().map(|verb| verb_forms(verb)).chain(nouns).chain(words) {
            let entry = self.next_entry();
            for (form, finite) in forms {
                self.add(&form, Meaning::Demand { factor, entry, weight, finite })?;
            }
        }
        Ok(())
    }

    fn next_entry(&mut self) -> u32 {
        self.entries += 1;
        self.entries
    }

    fn add(&mut self, entry: &str, meaning: Meaning) -> Result<(), (String, &'static str)> {
        let mut words = Vec::new();
        for_each_token(entry, &self.simplified, |kind, _, _, word| words.push((kind, word.to_owned())));
        if words.is_empty() || words.iter().any(|(kind, _)| *kind == TokenKind::Break) {
            return Err((entry.to_owned(), "must consist of words without punctuation between them"));
        }
        let mut node = 0;
        for (position, (_, word)) in words.iter().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "a lexicon has thousands of words, not billions")]
            let fresh_word = self.vocabulary.len() as u32;
            let id = *self.vocabulary.entry(word.as_str().into()).or_insert(fresh_word);
            self.first.resize(self.vocabulary.len(), 0);
            #[expect(clippy::cast_possible_truncation, reason = "as many nodes as words, about")]
            let fresh_node = self.meanings.len() as u32;
            let slot =
                if position == 0 { &mut self.first[id as usize] } else { self.edges.entry((node, id)).or_insert(0) };
            if *slot == 0 {
                *slot = fresh_node;
                self.meanings.push(Vec::new());
            }
            node = *slot;
        }
        self.longest = self.longest.max(words.len());
        merge(&mut self.meanings[node as usize], meaning);
        Ok(())
    }
}

/// Adds a meaning to a form. For each factor, a form has one meaning, the one with the larger weight ("waves" the noun, "waves"
/// the verb). A form that is ignored has no other meaning.
fn merge(meanings: &mut Vec<Meaning>, new: Meaning) {
    if meanings.contains(&Meaning::Ignore) {
        return;
    }
    if new == Meaning::Ignore {
        meanings.clear();
    }
    for old in meanings.iter_mut() {
        match (old, new) {
            (
                Meaning::Demand { factor: a, entry, weight, finite },
                Meaning::Demand { factor: b, entry: e, weight: w, finite: f },
            ) if *a == b => {
                if w > *weight {
                    (*entry, *weight) = (e, w);
                }
                // Finite only if every reading of the form is.
                *finite = *finite && f;
                return;
            }
            (Meaning::Subject { entry, count }, Meaning::Subject { entry: e, count: c }) => {
                if c > *count {
                    (*entry, *count) = (e, c);
                }
                return;
            }
            (old, new) if *old == new => return,
            _ => {}
        }
    }
    meanings.push(new);
}

/// All forms of a verb entry ("run/ran", "zoom in"), each with whether it is the third person.
fn verb_forms(entry: &str) -> Vec<(String, bool)> {
    let mut parts = entry.split('/');
    let base = parts.next().unwrap_or_default();
    let (head, rest) = base.split_once(' ').map_or((base, String::new()), |(head, rest)| (head, format!(" {rest}")));
    let mut forms = vec![(base.to_owned(), false), (format!("{}{rest}", inflect::with_s(head)), true)];
    forms.extend(inflect::past_and_ing(head).into_iter().map(|form| (format!("{form}{rest}"), false)));
    forms.extend(parts.map(|irregular| (format!("{irregular}{rest}"), false)));
    forms
}

/// A noun entry ("car", "wolf/wolves") and its plural, in this order.
fn noun_forms(entry: &str) -> Vec<String> {
    match entry.split_once('/') {
        Some((one, more)) => vec![one.to_owned(), more.to_owned()],
        None => vec![entry.to_owned(), inflect::with_s(entry)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_files_compile_and_bound_the_work() {
        let lexicon = Lexicon::compile(FILES).unwrap();
        assert!(lexicon.vocabulary.len() > 1000);
        assert!(
            lexicon.longest <= 8,
            "an entry of {} words makes the look-up at every position that long",
            lexicon.longest
        );
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let text = FILES[0].1.replace("[ignore]", "[ignored]");
        assert!(matches!(Lexicon::compile(&[("en.toml", &text)]), Err(LexiconError::Syntax { .. })));
    }

    #[test]
    fn the_longest_entry_wins() {
        let lexicon = Lexicon::compile(FILES).unwrap();
        let words = ["running", "shoes"].map(|word| lexicon.word(word));
        assert_eq!(lexicon.longest_match(words.into_iter()), Some((2, [Meaning::Ignore].as_slice())));
    }
}
