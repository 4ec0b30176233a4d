//! What a text encoder reads of a text.

use serde::{Deserialize, Serialize};

/// A text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoder {
    /// The language model of 1.0, which reads the prompt word by word.
    Llama,
    /// The encoder of 1.0 that summarises the prompt as one vector.
    Clip,
    /// The language model of 1.5.
    Qwen,
    /// The encoder of 1.5 that reads what the prompt puts in quotation marks.
    Byt5,
}

/// What one encoder reads of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The encoder.
    pub encoder: Encoder,
    /// Tokens of the whole text.
    pub tokens: usize,
    /// Most of them that are read.
    pub tokens_max: usize,
    /// The end of the text that is not read; `None` if all of it is.
    pub unread: Option<String>,
}
