//! What files of weights look like, without reading any weights: the kinds of files, the header of a safetensors file, the
//! names that programs give to the same layers, and what an adapter changes.
//!
//! The rule: nothing here needs libtorch or does I/O. The API can therefore check an upload by its header, and the model
//! crate, which reads the tensors, follows the same tables.

pub mod convert;
mod error;
pub mod fp8;
pub mod header;
pub mod kind;
pub mod layout;
pub mod lora;
mod pickle;
pub mod torch;
mod vae;
mod zip;

pub use error::{Refused, listed};
pub use header::{Header, Stored};
