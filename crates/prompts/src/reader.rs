//! What all text encoders of a model read of a prompt.

use serde::Deserialize;

use crate::clip::ClipTokenizer;
use crate::error::Result;
use crate::files::Files;
use crate::reading::Reading;
use crate::v1::LlamaTokenizer;
use crate::v1_5::QwenTokenizer;
use crate::v1_5::glyph::{ByteTokenizer, quoted};

/// Families of models, by their text encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// HunyuanVideo 1.0: LLaMA and CLIP.
    V1,
    /// HunyuanVideo 1.5: Qwen2.5-VL, and ByT5 for quoted text.
    V1_5,
}

/// The tokenizers of a model.
#[derive(Debug)]
pub struct PromptReader(Tokenizers);

#[derive(Debug)]
enum Tokenizers {
    V1 { llama: Box<LlamaTokenizer>, clip: Box<ClipTokenizer> },
    V1_5 { qwen: Box<QwenTokenizer>, glyph: ByteTokenizer },
}

/// What matters here of CLIP's `config.json`.
#[derive(Deserialize)]
#[serde(default)]
struct ClipConfig {
    max_position_embeddings: i64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self { max_position_embeddings: 77 }
    }
}

impl PromptReader {
    /// Loads the tokenizers from the files of a model folder.
    ///
    /// # Errors
    /// Files that cannot be read or are no tokenizers of the family.
    pub fn load(family: Family, files: &Files) -> Result<Self> {
        let (first, second) = (files.at("tokenizer"), files.at("tokenizer_2"));
        let tokenizers = match family {
            Family::V1 => {
                let config: ClipConfig = files.at("text_encoder_2").json("config.json")?;
                Tokenizers::V1 {
                    llama: Box::new(LlamaTokenizer::load(&first)?),
                    clip: Box::new(ClipTokenizer::load(&second, config.max_position_embeddings)?),
                }
            }
            Family::V1_5 => {
                Tokenizers::V1_5 { qwen: Box::new(QwenTokenizer::load(&first)?), glyph: ByteTokenizer::load(&second)? }
            }
        };
        Ok(Self(tokenizers))
    }

    /// What each encoder reads of a prompt, the language model first. An encoder that reads nothing of this prompt is left out.
    ///
    /// # Errors
    /// A prompt that cannot be tokenised.
    pub fn read(&self, prompt: &str) -> Result<Vec<Reading>> {
        Ok(match &self.0 {
            Tokenizers::V1 { llama, clip } => vec![llama.reading(prompt)?, clip.reading(prompt)?],
            Tokenizers::V1_5 { qwen, glyph } => {
                let mut readings = vec![qwen.reading(prompt)?];
                readings.extend(quoted(prompt).map(|text| glyph.reading(&text)));
                readings
            }
        })
    }
}
