//! What the text encoders read of a request's texts, as JSON.

use prompts::{Encoder, Reading};
use serde::Serialize;
use utoipa::ToSchema;

/// What a text encoder reads of the prompt or of the negative prompt.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PromptTokensView {
    /// The text.
    pub field: PromptField,
    /// The encoder.
    pub encoder: TextEncoder,
    /// Tokens of the whole text.
    pub tokens: usize,
    /// Most tokens that this encoder reads.
    pub tokens_max: usize,
    /// The end of the text that it does not read, and that has no influence on the video through it; null if it reads all of it.
    pub unread: Option<String>,
}

/// Texts of a request that encoders read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptField {
    /// `prompt`
    Prompt,
    /// `negative_prompt`
    NegativePrompt,
}

/// Text encoders. `llama` and `qwen` are the language models of HunyuanVideo 1.0 and 1.5, which read the prompt word by word. `clip`
/// summarises the prompt of 1.0 as a whole, and `byt5` reads what a prompt of 1.5 puts in quotation marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextEncoder {
    /// The language model of 1.0.
    Llama,
    /// CLIP's text model.
    Clip,
    /// The language model of 1.5.
    Qwen,
    /// The encoder of quoted text.
    Byt5,
}

impl PromptTokensView {
    /// Creates the view of a reading.
    #[must_use]
    pub fn new(field: PromptField, reading: &Reading) -> Self {
        let encoder = match reading.encoder {
            Encoder::Llama => TextEncoder::Llama,
            Encoder::Clip => TextEncoder::Clip,
            Encoder::Qwen => TextEncoder::Qwen,
            Encoder::Byt5 => TextEncoder::Byt5,
        };
        let Reading { tokens, tokens_max, unread, .. } = reading.clone();
        Self { field, encoder, tokens, tokens_max, unread }
    }
}
