//! Tokens with the parts of the text that they stand for, and what of a text is left over behind the last token that fits.

use std::ops::Range;

use tokenizers::Tokenizer;

use crate::error::{Error, Result};
use crate::files::Files;
use crate::reading::{Encoder, Reading};

/// Token ids of a text, each with its range of bytes. A character can be made of several tokens, which then share its range.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pub(crate) ids: Vec<i64>,
    pub(crate) ranges: Vec<Range<usize>>,
}

/// Reads a `tokenizer.json` without its padding and truncation, which are the caller's.
pub(crate) fn read(files: &Files, name: &str) -> Result<Tokenizer> {
    parse(&files.text(name)?, files, name)
}

/// A tokenizer from its JSON, which belongs to this file.
pub(crate) fn parse(json: &str, files: &Files, name: &str) -> Result<Tokenizer> {
    let wrong = |reason: String| Error::Config { path: files.path(name), reason };
    let mut tokenizer = json.parse::<Tokenizer>().map_err(|error| wrong(error.to_string()))?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
    Ok(tokenizer)
}

/// Tokens of a text; `special` adds the tokens that the tokenizer puts around every text, which stand for nothing in it.
pub(crate) fn pieces(tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Pieces> {
    let encoding = tokenizer.encode(text, special).map_err(|error| Error::Text(error.to_string()))?;
    Ok(Pieces {
        ids: encoding.get_ids().iter().map(|&id| i64::from(id)).collect(),
        ranges: encoding.get_offsets().iter().map(|&(start, end)| start..end).collect(),
    })
}

impl Pieces {
    /// Adds a token.
    pub(crate) fn push(&mut self, id: i64, range: Range<usize>) {
        self.ids.push(id);
        self.ranges.push(range);
    }

    /// What an encoder reads of the text in `prompt` when it takes `tokens_max` tokens from the one at `first` on.
    pub(crate) fn reading(
        &self,
        encoder: Encoder,
        text: &str,
        prompt: Range<usize>,
        first: usize,
        tokens_max: usize,
    ) -> Reading {
        let own = |range: &&Range<usize>| range.start < prompt.end;
        let tokens = self.ranges.iter().skip(first).take_while(own).count();
        let cut = self.ranges.iter().skip(first + tokens_max).take_while(own).next();
        // A character of which only the first tokens fit is not read: its tokens share its range.
        let start = |range: &Range<usize>| text.floor_char_boundary(range.start.max(prompt.start));
        let unread = cut.map(|range| text[start(range)..prompt.end].trim_start().to_owned());
        let unread = unread.filter(|text| !text.is_empty());
        Reading { encoder, tokens, tokens_max, unread }
    }
}
