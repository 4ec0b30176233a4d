//! Prompts to the language model's token ids, the way the reference's pipeline does it.
//!
//! The prompt is the user's turn of a chat; the tokens before it are cut off the states afterwards. Their number comes from the
//! checkpoint's own tokenizer (108 with the released one). The tokens after it stay, so that an empty prompt has states too.
//!
//! Upstream: `HunyuanVideo15Pipeline` and `format_text_input` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video1_5/pipeline_hunyuan_video1_5.py>.

use std::path::Path;

use ::tokenizers::Tokenizer;

use super::config::defaults;
use crate::runtime::{error::Result, tokenizers};

/// What stands between two points of the instruction: the reference's source breaks its lines there, which leaves nine blanks.
macro_rules! instruction {
    ($first:literal $(, $point:literal)*) => { concat!($first $(, "         ", $point)*) };
}

/// The chat around a prompt: the text before it and after it.
pub(crate) const TEMPLATE: [&str; 2] = [
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
pub(crate) struct QwenTokenizer {
    tokenizer: Tokenizer,
    crop_start: usize,
}

impl QwenTokenizer {
    /// Reads `tokenizer.json` of the folder.
    ///
    /// # Errors
    /// A file that is not a tokenizer.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let tokenizer = tokenizers::read(&dir.join("tokenizer.json"))?;
        let crop_start = tokenizers::ids(&tokenizer, TEMPLATE[0], false)?.len();
        Ok(Self { tokenizer, crop_start })
    }

    /// Tokens of the chat before the prompt.
    pub(crate) fn crop_start(&self) -> usize {
        self.crop_start
    }

    /// Ids of the chat with a prompt; what goes beyond 1000 tokens after the instruction is cut.
    ///
    /// # Errors
    /// A prompt that cannot be tokenised.
    pub(crate) fn encode(&self, prompt: &str) -> Result<Vec<i64>> {
        let prompt = if prompt.is_empty() { EMPTY } else { prompt };
        let mut tokens = tokenizers::ids(&self.tokenizer, &format!("{}{prompt}{}", TEMPLATE[0], TEMPLATE[1]), false)?;
        tokens.truncate(self.crop_start + defaults::MAX_PROMPT_TOKENS);
        Ok(tokens)
    }
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
