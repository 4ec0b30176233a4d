//! CLIP's tokenizer, which several families could read.
//!
//! Library versions disagree on CLIP's tokens of Chinese and of typographic signs. Meant is `CLIPTokenizer` of transformers 5, which is
//! `CLIPTokenizerFast` of 4 and what a `tokenizer.json` holds: Chinese text is one word, and a typographic quotation mark or dash stays one.
//! The slow `CLIPTokenizer` of transformers 4 makes a word of each Chinese character, and with `ftfy` installed it replaces typographic
//! quotation marks by straight ones first.

use serde_json::json;
use tokenizers::Tokenizer;

use crate::error::{Error, Result};
use crate::files::Files;
use crate::pieces::{parse, pieces, read};
use crate::reading::{Encoder, Reading};

const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// CLIP's tokenizer.
#[derive(Debug)]
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    begin: i64,
    end: i64,
    length_max: usize,
}

impl ClipTokenizer {
    /// Reads `tokenizer.json`, or `vocab.json` and `merges.txt` where that is not there. `length_max` is the number of positions
    /// that the encoder has.
    ///
    /// # Errors
    /// Files that cannot be read or are no tokenizer of CLIP's.
    pub fn load(files: &Files, length_max: i64) -> Result<Self> {
        let name = "tokenizer.json";
        let tokenizer = if files.has(name) { read(files, name)? } else { from_vocabulary(files)? };
        let id = |token: &str| {
            let reason = || Error::Config { path: files.path(name), reason: format!("knows no token {token}") };
            tokenizer.token_to_id(token).map(i64::from).ok_or_else(reason)
        };
        let (begin, end) = (id(BEGIN)?, id(END)?);
        Ok(Self { tokenizer, begin, end, length_max: usize::try_from(length_max).unwrap_or(2).max(2) })
    }

    /// Ids of a prompt between begin and end; what does not fit between them is cut.
    ///
    /// # Errors
    /// A prompt that cannot be tokenised.
    pub fn encode(&self, prompt: &str) -> Result<Vec<i64>> {
        let mut tokens = vec![self.begin];
        tokens.extend(pieces(&self.tokenizer, prompt, false)?.ids);
        tokens.truncate(self.length_max - 1);
        tokens.push(self.end);
        Ok(tokens)
    }

    /// What [`ClipTokenizer::encode`] keeps of a prompt.
    ///
    /// # Errors
    /// A prompt that cannot be tokenised.
    pub fn reading(&self, prompt: &str) -> Result<Reading> {
        let found = pieces(&self.tokenizer, prompt, false)?;
        Ok(found.reading(Encoder::Clip, prompt, 0..prompt.len(), 0, self.length_max - 2))
    }
}

/// CLIP's published form: a vocabulary and merges, with rules that the library's own code holds.
fn from_vocabulary(files: &Files) -> Result<Tokenizer> {
    let vocabulary: serde_json::Value = files.json("vocab.json")?;
    let text = files.text("merges.txt")?;
    let merges: Vec<_> = text.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let special = |token: &str| {
        json!({
            "id": vocabulary[token], "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    // Lower case, one blank between words; words, single digits and runs of signs apart; bytes, then merges.
    let rule = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let description = json!({
        "version": "1.0",
        "added_tokens": [special(BEGIN), special(END)],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "NFC" },
            { "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " },
            { "type": "Lowercase" },
        ] },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": rule }, "behavior": "Removed", "invert": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        ] },
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocabulary, "merges": merges,
        },
    });
    parse(&description.to_string(), files, "vocab.json")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn tokenizer() -> ClipTokenizer {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../hunyuan/tests/fixtures/base/model/tokenizer_2");
        ClipTokenizer::load(&Files::of_folder(Path::new(folder)), 77).unwrap()
    }

    /// Recorded with `CLIPTokenizer` of transformers 5.23.0.
    #[test]
    fn chinese_and_typographic_text_has_the_tokens_of_the_fast_tokenizer() {
        let tokenizer = tokenizer();
        let ids = |text: &str| tokenizer.encode(text).unwrap();
        assert_eq!(ids("一只猫"), [632, 160, 116, 222, 161, 237, 103, 163, 234, 360, 633]);
        let typographic =
            [632, 158, 222, 506, 320, 546, 158, 222, 507, 158, 222, 498, 72, 339, 158, 222, 503, 338, 633];
        assert_eq!(ids("“a cat” — it’s"), typographic);
        // What the slow tokenizer of transformers 4 would read in their place.
        assert_ne!(ids("一只猫"), ids("一 只 猫"));
        assert_ne!(ids("“a cat” — it’s"), ids("\"a cat\" - it's"));
    }

    #[test]
    fn a_character_that_fits_only_partly_is_not_read() {
        let tokenizer = tokenizer();
        // Each of these characters is three tokens here: 25 fit into 75, and of 26 the last one does not.
        let tokens = |text: &str| tokenizer.reading(text).unwrap();
        let one = tokens("猫").tokens;
        let fits = 75 / one;
        let whole = tokens(&"猫".repeat(fits));
        assert_eq!(whole.unread, None, "{whole:?}");
        let prompt = format!("a{}", "猫".repeat(fits));
        let reading = tokens(&prompt);
        assert!(reading.tokens > reading.tokens_max, "{reading:?}");
        assert_eq!(reading.unread.as_deref(), Some("猫"), "{reading:?}");
    }
}
