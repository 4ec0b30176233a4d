//! HunyuanVideo 1.0: the language model's tokens, the way the reference's pipeline makes them.
//!
//! The language model reads the prompt inside a fixed instruction; the states of the instruction's tokens are removed afterwards. Their number
//! comes from the checkpoint's own tokenizer (95 with the released one).
//!
//! Upstream: `DEFAULT_PROMPT_TEMPLATE` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video/pipeline_hunyuan_video.py>.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files::Files;
use crate::instruction::Instruction;
use crate::pieces::{pieces, read};
use crate::reading::{Encoder, Reading};

/// Tokens after the instruction that the language model reads.
const MAX_PROMPT_TOKENS: usize = 256;

/// The instruction of the video model around a prompt (`dit-llm-encode-video`): the text before it and after it.
pub const TEMPLATE: [&str; 2] = [
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
    fn load(files: &Files) -> Result<Self> {
        let name = "tokenizer_config.json";
        if files.has(name) { files.json(name) } else { Ok(Self::default()) }
    }
}

/// The language model's tokenizer.
#[derive(Debug)]
pub struct LlamaTokenizer(Instruction);

impl LlamaTokenizer {
    /// Reads `tokenizer.json` of the folder, which alone decides the tokens: what `tokenizer_config.json` would have added at run
    /// time is refused, unless `tokenizer.json` adds it too.
    ///
    /// # Errors
    /// Files that cannot be read; texts that do not start with begin-of-text, or that get an end token.
    pub fn load(files: &Files) -> Result<Self> {
        let tokenizer = read(files, "tokenizer.json")?;
        let settings = Settings::load(files)?;
        let ids = pieces(&tokenizer, TEMPLATE[0], true)?.ids;
        let wrong = |reason: String| Err(Error::Config { path: files.path("tokenizer.json"), reason });
        let begin = settings.bos_token.as_ref().map_or(BEGIN, Special::content);
        if tokenizer.token_to_id(begin).map(i64::from) != ids.first().copied() {
            return wrong(format!(
                "its texts must start with {begin}, as the model was trained: add the token to its post_processor, \
                 for example by saving the tokenizer again with add_bos_token on"
            ));
        }
        let plain = pieces(&tokenizer, TEMPLATE[0], false)?.ids.len();
        if settings.add_eos_token == Some(true) || ids.len() > plain + 1 {
            return wrong("it adds an end token to every text, which the model was not trained with".to_owned());
        }
        Ok(Self(Instruction {
            encoder: Encoder::Llama,
            tokenizer,
            template: TEMPLATE,
            special: true,
            crop_start: ids.len(),
            tokens_max: MAX_PROMPT_TOKENS,
        }))
    }

    /// Tokens of the instruction before the prompt, begin-of-text included.
    #[must_use]
    pub fn crop_start(&self) -> usize {
        self.0.crop_start
    }

    /// Ids of a prompt inside its instruction; what goes beyond 256 tokens after the instruction is cut.
    ///
    /// # Errors
    /// A prompt that cannot be tokenised.
    pub fn encode(&self, prompt: &str) -> Result<Vec<i64>> {
        self.0.encode(prompt)
    }

    /// What [`LlamaTokenizer::encode`] keeps of a prompt.
    ///
    /// # Errors
    /// A prompt that cannot be tokenised.
    pub fn reading(&self, prompt: &str) -> Result<Reading> {
        self.0.reading(prompt, prompt.len())
    }
}
