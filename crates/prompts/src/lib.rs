//! Prompts as the text encoders read them: tokenizers, the instructions around a prompt, and what does not fit.
//!
//! The model code and the API use the same code, so the API's counts are those of the encoders. Nothing here needs libtorch.
//!
//! - [`files`]: where tokenizer files come from: a model folder, or one bundle made of it.
//! - [`reading`]: what one encoder reads of a text.
//! - [`v1`], [`v1_5`]: each family's tokenizers and instructions.
//! - [`reader`]: what all encoders of a model read of a prompt.

pub mod error;
pub mod files;
pub(crate) mod instruction;
pub(crate) mod pieces;
pub mod reading;

pub mod clip;
pub mod v1;
pub mod v1_5;

pub mod reader;

pub use error::{Error, Result};
pub use files::{Bundle, Files};
pub use reader::{Family, PromptReader};
pub use reading::{Encoder, Reading};
