//! Splits a prompt into words, single Chinese characters and clause breaks, in one pass.
//!
//! Words are compared in lower case and in Unicode's compatibility form (full-width letters, ligatures). Every token keeps
//! its byte range in the prompt, so that the page can show the user's own words. Combining marks belong to their word: "n"
//! with an accent is another letter, not the end of "run".

use std::collections::HashMap;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Letters and digits, with apostrophes inside.
    Word,
    /// One Chinese character.
    Han,
    /// Punctuation that ends a clause.
    Break,
}

/// Traditional characters and the simplified ones that they are read as.
pub(crate) type Simplified = HashMap<char, char>;

fn is_han(c: char) -> bool {
    matches!(u32::from(c), 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '\u{FF07}')
}

fn is_break(c: char) -> bool {
    matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '"' | '|' | '\n' | '\r')
        || matches!(c, '\u{2013}' | '\u{2014}' | '\u{2026}' | '\u{201C}' | '\u{201D}' | '\u{2028}' | '\u{2029}')
        || matches!(c, '，' | '。' | '；' | '：' | '！' | '？' | '（' | '）' | '「' | '」' | '《' | '》' | '．')
}

fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() } else { c.is_alphanumeric() || is_combining_mark(c) }
}

/// Calls `each` for every token with its kind, its byte range and its normalised text (empty for a break).
pub(crate) fn for_each_token(text: &str, simplified: &Simplified, mut each: impl FnMut(TokenKind, usize, usize, &str)) {
    let mut normal = String::new();
    let mut start = 0;
    while let Some(c) = char_at(text, start) {
        let mut end = start + c.len_utf8();
        if is_word(c) && !is_han(c) {
            end = word_end(text, end);
            normalise(&text[start..end], &mut normal);
            each(TokenKind::Word, start, end, normal.strip_suffix("'s").unwrap_or(&normal));
        } else if is_break(c) {
            each(TokenKind::Break, start, end, "");
        } else if is_han(c) {
            normal.clear();
            normal.extend(std::iter::once(c).nfkc().map(|c| simplified.get(&c).copied().unwrap_or(c)));
            each(TokenKind::Han, start, end, &normal);
        }
        start = end;
    }
}

fn char_at(text: &str, at: usize) -> Option<char> {
    // Nearly all text is ASCII, where the byte is the character.
    match text.as_bytes().get(at) {
        Some(byte) if byte.is_ascii() => Some(char::from(*byte)),
        Some(_) => text[at..].chars().next(),
        None => None,
    }
}

/// Where the word ends whose first character ends at `end`.
fn word_end(text: &str, mut end: usize) -> usize {
    let bytes = text.as_bytes();
    loop {
        while bytes.get(end).is_some_and(u8::is_ascii_alphanumeric) {
            end += 1;
        }
        let Some(next) = char_at(text, end) else { return end };
        let after = end + next.len_utf8();
        let inside = is_apostrophe(next) && char_at(text, after).is_some_and(char::is_alphabetic);
        if !(inside || is_word(next) && !is_han(next)) {
            return end;
        }
        end = after;
    }
}

fn normalise(word: &str, normal: &mut String) {
    normal.clear();
    if word.is_ascii() {
        normal.push_str(word);
        normal.make_ascii_lowercase();
    } else {
        let folded = word.nfkc().flat_map(char::to_lowercase);
        normal.extend(folded.map(|c| if is_apostrophe(c) { '\'' } else { c }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each_token(text, &Simplified::from([('車', '车')]), |kind, _, _, word| {
            found.push(if kind == TokenKind::Break { "|".to_owned() } else { word.to_owned() });
        });
        found
    }

    #[test]
    fn words_and_clauses_are_separated() {
        assert_eq!(tokens("The dog's RUN, isn’t slow-motion"), ["the", "dog", "run", "|", "isn't", "slow", "motion"]);
    }

    #[test]
    fn chinese_is_split_into_characters_and_traditional_is_read() {
        assert_eq!(tokens("8K超，車"), ["8k", "超", "|", "车"]);
    }

    #[test]
    fn compatibility_forms_and_marks_are_understood() {
        assert_eq!(tokens("ＲＵＮ"), ["run"]);
        assert_eq!(tokens("run\u{301}"), ["ru\u{144}"]);
    }
}
