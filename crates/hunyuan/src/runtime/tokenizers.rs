//! Tokenizer files, and what they turn a text into.
//!
//! CLIP's tokenizer is here because several families read it; templates around prompts belong to a family.
//!
//! Library versions disagree on CLIP's tokens of Chinese and of typographic signs. Meant is `CLIPTokenizer` of transformers 5, which is
//! `CLIPTokenizerFast` of 4 and what a `tokenizer.json` holds: Chinese text is one word, and a typographic quotation mark or dash stays one.
//! The slow `CLIPTokenizer` of transformers 4 makes a word of each Chinese character, and with `ftfy` installed it replaces typographic
//! quotation marks by straight ones first.

use std::path::Path;

use serde_json::json;
use tokenizers::Tokenizer;

use crate::runtime::error::{Error, Result};
use crate::runtime::json::read_json;

/// CLIP's tokenizer.
pub(crate) struct ClipTokenizer {
    tokenizer: Tokenizer,
    begin: i64,
    end: i64,
    length_max: usize,
}

impl ClipTokenizer {
    /// Reads `tokenizer.json`, or `vocab.json` and `merges.txt` where that is not there.
    pub(crate) fn load(dir: &Path, length_max: i64) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let tokenizer = if path.exists() {
            read(&path)?
        } else {
            let mut tokenizer = from_vocabulary(dir)?;
            plain(&mut tokenizer, &path)?;
            tokenizer
        };
        let id = |token: &str| {
            let reason = || Error::Config { path: path.clone(), reason: format!("knows no token {token}") };
            tokenizer.token_to_id(token).map(i64::from).ok_or_else(reason)
        };
        let (begin, end) = (id(BEGIN)?, id(END)?);
        Ok(Self { tokenizer, begin, end, length_max: usize::try_from(length_max).unwrap_or(2).max(2) })
    }

    /// Ids of a prompt between begin and end; what does not fit between them is cut.
    pub(crate) fn encode(&self, prompt: &str) -> Result<Vec<i64>> {
        let mut tokens = vec![self.begin];
        tokens.extend(ids(&self.tokenizer, prompt, false)?);
        tokens.truncate(self.length_max - 1);
        tokens.push(self.end);
        Ok(tokens)
    }
}

const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// Reads a `tokenizer.json` without its padding and truncation, which are the caller's.
pub(crate) fn read(path: &Path) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_file(path)
        .map_err(|error| Error::Config { path: path.to_owned(), reason: error.to_string() })?;
    plain(&mut tokenizer, path)?;
    Ok(tokenizer)
}

fn plain(tokenizer: &mut Tokenizer, path: &Path) -> Result<()> {
    tokenizer.with_padding(None);
    let plain = tokenizer.with_truncation(None);
    plain.map(drop).map_err(|error| Error::Config { path: path.to_owned(), reason: error.to_string() })
}

/// Token ids of a text; `special` adds the tokens that the tokenizer puts around every text.
pub(crate) fn ids(tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Vec<i64>> {
    let encoding = tokenizer.encode(text, special).map_err(|error| Error::input("prompt", error.to_string()))?;
    Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
}

/// CLIP's published form: a vocabulary and merges, with rules that the library's own code holds.
fn from_vocabulary(dir: &Path) -> Result<Tokenizer> {
    let vocabulary: serde_json::Value = read_json(&dir.join("vocab.json"))?;
    let path = dir.join("merges.txt");
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let merges: Vec<_> = text.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let special = |token: &str| {
        json!({
            "id": vocabulary[token], "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    // Lower case, one blank between words; words, single digits and runs of signs apart; bytes, then merges.
    let pieces = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let description = json!({
        "version": "1.0",
        "added_tokens": [special(BEGIN), special(END)],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "NFC" },
            { "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " },
            { "type": "Lowercase" },
        ] },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pieces }, "behavior": "Removed", "invert": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        ] },
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocabulary, "merges": merges,
        },
    });
    let wrong = |reason: String| Error::Config { path: dir.join("vocab.json"), reason };
    description.to_string().parse::<Tokenizer>().map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded with `CLIPTokenizer` of transformers 5.23.0.
    #[test]
    fn chinese_and_typographic_text_has_the_tokens_of_the_fast_tokenizer() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/base/model/tokenizer_2");
        let tokenizer = ClipTokenizer::load(Path::new(folder), 77).unwrap();
        let ids = |text: &str| tokenizer.encode(text).unwrap();
        assert_eq!(ids("一只猫"), [632, 160, 116, 222, 161, 237, 103, 163, 234, 360, 633]);
        let typographic =
            [632, 158, 222, 506, 320, 546, 158, 222, 507, 158, 222, 498, 72, 339, 158, 222, 503, 338, 633];
        assert_eq!(ids("“a cat” — it’s"), typographic);
        // What the slow tokenizer of transformers 4 would read in their place.
        assert_ne!(ids("一只猫"), ids("一 只 猫"));
        assert_ne!(ids("“a cat” — it’s"), ids("\"a cat\" - it's"));
    }
}
