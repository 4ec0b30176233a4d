//! A prompt inside the fixed instruction that a language model reads around it.

use tokenizers::Tokenizer;

use crate::error::Result;
use crate::pieces::{Pieces, pieces};
use crate::reading::{Encoder, Reading};

/// A language model's tokenizer with its instruction.
#[derive(Debug)]
pub(crate) struct Instruction {
    pub(crate) encoder: Encoder,
    pub(crate) tokenizer: Tokenizer,
    /// The text before the prompt and after it.
    pub(crate) template: [&'static str; 2],
    /// Whether the tokenizer adds its special tokens to a text.
    pub(crate) special: bool,
    /// Tokens before the prompt, special ones included.
    pub(crate) crop_start: usize,
    /// Tokens after those before the prompt that the model reads.
    pub(crate) tokens_max: usize,
}

impl Instruction {
    /// Ids of a prompt inside the instruction; what the model does not read is cut.
    pub(crate) fn encode(&self, prompt: &str) -> Result<Vec<i64>> {
        let mut tokens = self.around(prompt)?.1.ids;
        tokens.truncate(self.crop_start + self.tokens_max);
        Ok(tokens)
    }

    /// What [`Instruction::encode`] keeps of a prompt; `own` is its length in bytes without what stands in for an empty one.
    pub(crate) fn reading(&self, prompt: &str, own: usize) -> Result<Reading> {
        let (text, pieces) = self.around(prompt)?;
        let start = self.template[0].len();
        Ok(pieces.reading(self.encoder, &text, start..start + own, self.crop_start, self.tokens_max))
    }

    fn around(&self, prompt: &str) -> Result<(String, Pieces)> {
        let text = format!("{}{prompt}{}", self.template[0], self.template[1]);
        let pieces = pieces(&self.tokenizer, &text, self.special)?;
        Ok((text, pieces))
    }
}
