//! Prompts to the language model's token ids, the way the reference's pipeline does it.
//!
//! The language model reads the prompt inside a fixed instruction; the states of the instruction's tokens are removed afterwards. Their number
//! comes from the checkpoint's own tokenizer (95 with the released one).
//!
//! Upstream: `DEFAULT_PROMPT_TEMPLATE` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video/pipeline_hunyuan_video.py>.

use std::path::Path;

use ::tokenizers::Tokenizer;
use serde::Deserialize;

use super::config::defaults;
use crate::runtime::error::{Error, Result};
use crate::runtime::json::read_json;
use crate::runtime::tokenizers;

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

/// What LLaMA 3 begins every text with.
const BEGIN: &str = "<|begin_of_text|>";

/// What matters here of `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct Settings {
    bos_token: Option<Special>,
    add_eos_token: Option<bool>,
}

/// A special token: its text, or an object with it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Token { content: String },
}

impl Special {
    fn content(&self) -> &str {
        match self {
            Self::Text(content) | Self::Token { content } => content,
        }
    }
}

impl Settings {
    /// Reads the file; a folder may lack it.
    fn load(path: &Path) -> Result<Self> {
        if path.exists() { read_json(path) } else { Ok(Self::default()) }
    }
}

/// The language model's tokenizer.
pub(crate) struct LlamaTokenizer {
    tokenizer: Tokenizer,
    crop_start: usize,
}

impl LlamaTokenizer {
    /// Reads `tokenizer.json` of the folder, which alone decides the tokens: what `tokenizer_config.json` would have added at run
    /// time is refused, unless `tokenizer.json` adds it too.
    ///
    /// # Errors
    /// Files that cannot be read; texts that do not start with begin-of-text, or that get an end token.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let tokenizer = tokenizers::read(&path)?;
        let settings = Settings::load(&dir.join("tokenizer_config.json"))?;
        let ids = tokenizers::ids(&tokenizer, TEMPLATE[0], true)?;
        let wrong = |reason: String| Err(Error::Config { path: path.clone(), reason });
        let begin = settings.bos_token.as_ref().map_or(BEGIN, Special::content);
        if tokenizer.token_to_id(begin).map(i64::from) != ids.first().copied() {
            return wrong(format!(
                "its texts must start with {begin}, as the model was trained: add the token to its post_processor, \
                 for example by saving the tokenizer again with add_bos_token on"
            ));
        }
        let plain = tokenizers::ids(&tokenizer, TEMPLATE[0], false)?.len();
        if settings.add_eos_token == Some(true) || ids.len() > plain + 1 {
            return wrong("it adds an end token to every text, which the model was not trained with".to_owned());
        }
        Ok(Self { tokenizer, crop_start: ids.len() })
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
