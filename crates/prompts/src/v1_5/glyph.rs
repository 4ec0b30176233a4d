//! The text that a prompt puts in quotation marks, as ByT5's token ids.
//!
//! A token is a byte, moved past the three special tokens. Tokens that a checkpoint adds (the released one has tokens for colours and
//! fonts) are recognised inside the text, as the reference's tokenizer does.
//!
//! Upstream: `extract_glyph_texts` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video1_5/pipeline_hunyuan_video1_5.py> and
//! `ByT5Tokenizer` in
//! <https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/byt5/tokenization_byt5.py>.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::MAX_GLYPH_TOKENS;
use crate::error::Result;
use crate::files::Files;
use crate::pieces::Pieces;
use crate::reading::{Encoder, Reading};

/// Id of the token that ends a text.
const END: i64 = 1;
/// Ids before those of the bytes: padding, end, unknown.
const BYTES_START: i64 = 3;

/// Opening and closing marks. Single quotation marks do not count.
const MARKS: [(char, char); 2] = [('"', '"'), ('“', '”')];

/// What the glyph encoder reads for a prompt: each quoted text once, in order; none if nothing is quoted.
///
/// A quotation ends at the next closing mark of its kind and does not cross a line break.
#[must_use]
pub fn quoted(prompt: &str) -> Option<String> {
    let mut found: Vec<&str> = Vec::new();
    let mut rest = prompt;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        let Some((_, closing)) = MARKS.iter().find(|(opening, _)| *opening == first) else { continue };
        let line = rest.split('\n').next().unwrap_or_default();
        let Some(end) = line.find(*closing) else { continue };
        let text = &rest[..end];
        if !found.contains(&text) {
            found.push(text);
        }
        rest = &rest[end + closing.len_utf8()..];
    }
    if found.is_empty() {
        return None;
    }
    let parts: Vec<String> = found.iter().map(|text| format!("Text \"{text}\"")).collect();
    Some(format!("{}. ", parts.join(". ")))
}

/// A token that is written as text.
#[derive(Debug, Clone, Deserialize)]
struct AddedToken {
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

/// The part of `tokenizer_config.json` that is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    added_tokens_decoder: BTreeMap<i64, AddedToken>,
}

/// ByT5's tokenizer.
#[derive(Debug)]
pub struct ByteTokenizer {
    added: Vec<(i64, AddedToken)>,
}

impl ByteTokenizer {
    /// Reads the tokens that the folder's checkpoint adds; a folder without them has bytes alone.
    ///
    /// # Errors
    /// A file that is not JSON.
    pub fn load(files: &Files) -> Result<Self> {
        let (config, added) = ("tokenizer_config.json", "added_tokens.json");
        let mut tokens = if files.has(config) {
            files.json::<TokenizerConfig>(config)?.added_tokens_decoder
        } else {
            BTreeMap::new()
        };
        if files.has(added) {
            for (content, id) in files.json::<BTreeMap<String, i64>>(added)? {
                tokens.entry(id).or_insert(AddedToken { content, lstrip: false, rstrip: false });
            }
        }
        let mut added: Vec<_> = tokens.into_iter().filter(|(_, token)| !token.content.is_empty()).collect();
        // At one place the longest token wins.
        added.sort_by_key(|(_, token)| std::cmp::Reverse(token.content.len()));
        Ok(Self { added })
    }

    /// Ids of a text and its end token; what does not fit is cut.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let mut ids = self.pieces(text).ids;
        ids.truncate(MAX_GLYPH_TOKENS - 1);
        ids.push(END);
        ids
    }

    /// What [`ByteTokenizer::encode`] keeps of a text.
    #[must_use]
    pub fn reading(&self, text: &str) -> Reading {
        self.pieces(text).reading(Encoder::Byt5, text, 0..text.len(), 0, MAX_GLYPH_TOKENS - 1)
    }

    fn pieces(&self, text: &str) -> Pieces {
        let mut found = Pieces::default();
        let (mut plain, mut rest) = (0, 0);
        while let Some(next) = text[rest..].chars().next() {
            let Some((id, token)) = self.added.iter().find(|(_, token)| text[rest..].starts_with(&token.content))
            else {
                rest += next.len_utf8();
                continue;
            };
            let before = &text[plain..rest];
            bytes(if token.lstrip { before.trim_end() } else { before }, plain, &mut found);
            found.push(*id, rest..rest + token.content.len());
            rest += token.content.len();
            if token.rstrip {
                rest += text[rest..].len() - text[rest..].trim_start().len();
            }
            plain = rest;
        }
        bytes(&text[plain..], plain, &mut found);
        found
    }
}

/// A token for each byte of a text that begins at `start`.
fn bytes(text: &str, start: usize, found: &mut Pieces) {
    for (at, character) in text.char_indices() {
        let range = start + at..start + at + character.len_utf8();
        for byte in &text.as_bytes()[at..at + character.len_utf8()] {
            found.push(i64::from(*byte) + BYTES_START, range.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_found_as_the_reference_finds_them() {
        let of = |prompt| quoted(prompt);
        assert_eq!(
            of("say \"Hi\" and “你好” and \"Hi\" and \"\"").as_deref(),
            Some("Text \"Hi\". Text \"你好\". Text \"\". ")
        );
        assert_eq!(of("\"\"").as_deref(), Some("Text \"\". "));
        for none in ["", "\"a\nb\"", "\"open", "'q'", "”wrong way“"] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(of("“a \"b\" c”").as_deref(), Some("Text \"a \"b\" c\". "));
    }

    #[test]
    fn added_tokens_are_recognised_and_a_long_text_keeps_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let config = r#"{"added_tokens_decoder": {"0": {"content": "<pad>", "lstrip": true, "rstrip": true}}}"#;
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        std::fs::write(folder.path().join("added_tokens.json"), r#"{"<color-1>": 384, "<color-12>": 395}"#).unwrap();
        let tokenizer = ByteTokenizer::load(&Files::of_folder(folder.path())).unwrap();
        assert_eq!(tokenizer.encode("a <pad> b"), [100, 0, 101, 1]);
        assert_eq!(tokenizer.encode("<color-12> a<color-1>"), [395, 35, 100, 384, 1]);
        let long = tokenizer.encode(&"x".repeat(300));
        assert_eq!((long.len(), long[255], long[254]), (256, END, 123));
        let reading = tokenizer.reading(&format!("{}猫y", "x".repeat(254)));
        assert_eq!((reading.tokens, reading.tokens_max, reading.unread.as_deref()), (258, 255, Some("猫y")));
        assert_eq!(tokenizer.reading(&"x".repeat(255)).unread, None);
    }
}
