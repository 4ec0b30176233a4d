//! Prompts to the language model's token ids, the way the reference's pipeline does it.
//!
//! The language model reads the prompt inside a fixed instruction, whose tokens are cut off its states afterwards. Their number
//! comes from the checkpoint's own tokenizer (95 with the released one).
//!
//! Upstream: `DEFAULT_PROMPT_TEMPLATE` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video/pipeline_hunyuan_video.py>.

use std::path::Path;

use ::tokenizers::Tokenizer;

use super::config::defaults;
use crate::runtime::{error::Result, tokenizers};

/// The instruction of the video model around a prompt (`dit-llm-encode-video`): the text before it and after it.
pub(crate) const TEMPLATE: [&str; 2] = [
    concat!(
        "<|start_header_id|>system<|end_header_id|>\n\n",
        "Describe the video by detailing the following aspects: ",
        "1. The main content and theme of the video.",
        "2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects.",
        "3. Actions, events, behaviors temporal relationships, physical movement changes of the objects.",
        "4. background environment, light, style and atmosphere.",
        "5. camera angles, movements, and transitions used in the video:<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n",
    ),
    "<|eot_id|>",
];

/// The language model's tokenizer.
pub(crate) struct LlamaTokenizer {
    tokenizer: Tokenizer,
    crop_start: usize,
}

impl LlamaTokenizer {
    /// Reads `tokenizer.json` of the folder.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let tokenizer = tokenizers::read(&dir.join("tokenizer.json"))?;
        let crop_start = tokenizers::ids(&tokenizer, TEMPLATE[0], true)?.len();
        Ok(Self { tokenizer, crop_start })
    }

    /// Tokens of the instruction before the prompt, begin-of-text included.
    pub(crate) fn crop_start(&self) -> usize {
        self.crop_start
    }

    /// Ids of a prompt inside its instruction; what goes beyond 256 tokens after the instruction is cut.
    pub(crate) fn encode(&self, prompt: &str) -> Result<Vec<i64>> {
        let mut tokens = tokenizers::ids(&self.tokenizer, &format!("{}{prompt}{}", TEMPLATE[0], TEMPLATE[1]), true)?;
        tokens.truncate(self.crop_start + defaults::MAX_PROMPT_TOKENS);
        Ok(tokens)
    }
}
