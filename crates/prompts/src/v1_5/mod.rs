//! HunyuanVideo 1.5: the language model's tokens, the way the reference's pipeline makes them, and those of quoted text ([`glyph`]).
//!
//! The prompt is the user's turn of a chat; the tokens before it are cut off the states afterwards. Their number comes from the
//! checkpoint's own tokenizer (108 with the released one). The tokens after it stay, so that an empty prompt has states too.
//!
//! Upstream: `HunyuanVideo15Pipeline` and `format_text_input` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video1_5/pipeline_hunyuan_video1_5.py>.

pub mod glyph;

use crate::error::Result;
use crate::files::Files;
use crate::instruction::Instruction;
use crate::pieces::{pieces, read};
use crate::reading::{Encoder, Reading};

/// Tokens after the instruction that the language model reads.
const MAX_PROMPT_TOKENS: usize = 1000;
/// Tokens of the quoted text that the glyph encoder reads, with the one that ends it.
const MAX_GLYPH_TOKENS: usize = 256;

/// What stands between two points of the instruction: the reference's source breaks its lines there, which leaves nine blanks.
macro_rules! instruction {
    ($first:literal $(, $point:literal)*) => { concat!($first $(, "         ", $point)*) };
}

/// The chat around a prompt: the text before it and after it.
pub const TEMPLATE: [&str; 2] = [
    concat!(
        "<|im_start|>system\n",
        instruction!(
            "You are a helpful assistant. Describe the video by detailing the following aspects:",
            "1. The main content and theme of the video.",
            "2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects.",
            "3. Actions, events, behaviors temporal relationships, physical movement changes of the objects.",
            "4. background environment, light, style and atmosphere.",
            "5. camera angles, movements, and transitions used in the video."
        ),
        "<|im_end|>\n<|im_start|>user\n",
    ),
    "<|im_end|>\n<|im_start|>assistant\n",
];

/// What the reference reads in place of an empty prompt.
const EMPTY: &str = " ";

/// The language model's tokenizer.
#[derive(Debug)]
pub struct QwenTokenizer(Instruction);

impl QwenTokenizer {
    /// Reads `tokenizer.json` of the folder.
    ///
    /// # Errors
    /// A file that is not a tokenizer.
    pub fn load(files: &Files) -> Result<Self> {
        let tokenizer = read(files, "tokenizer.json")?;
        let crop_start = pieces(&tokenizer, TEMPLATE[0], false)?.ids.len();
        Ok(Self(Instruction {
            encoder: Encoder::Qwen,
            tokenizer,
            template: TEMPLATE,
            special: false,
            crop_start,
            tokens_max: MAX_PROMPT_TOKENS,
        }))
    }

    /// Tokens of the chat before the prompt.
    #[must_use]
    pub fn crop_start(&self) -> usize {
        self.0.crop_start
    }

    /// Ids of the chat with a prompt; what goes beyond 1000 tokens after the instruction is cut.
    ///
    /// # Errors
    /// A prompt that cannot be tokenised.
    pub fn encode(&self, prompt: &str) -> Result<Vec<i64>> {
        self.0.encode(filled(prompt))
    }

    /// What [`QwenTokenizer::encode`] keeps of a prompt.
    ///
    /// # Errors
    /// A prompt that cannot be tokenised.
    pub fn reading(&self, prompt: &str) -> Result<Reading> {
        self.0.reading(filled(prompt), prompt.len())
    }
}

/// The prompt, or what stands in for an empty one.
fn filled(prompt: &str) -> &str {
    if prompt.is_empty() { EMPTY } else { prompt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instruction_is_the_references_to_the_blank() {
        let system = TEMPLATE[0].trim_start_matches("<|im_start|>system\n");
        let system = system.trim_end_matches("<|im_end|>\n<|im_start|>user\n");
        assert_eq!(system.len(), 477);
        assert_eq!(system.matches("         ").count(), 5);
        assert!(!system.contains('\n'));
    }
}
