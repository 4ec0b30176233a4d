//! The few calls of libtorch and of the NVIDIA driver that tch lacks.
//!
//! The rule: all foreign functions and their `unsafe` are in this crate, behind safe functions that return an [`enum@Error`]
//! instead of panicking or crashing. Everything works on a machine without a GPU, where the device's functions return
//! [`Error::NotAvailable`].
//!
//! To add a call of libtorch: write a function in `shim.cpp` whose body is `guarded`, declare it in [`shim`], and give it a
//! safe function in the module of its subject.

pub mod attention;
pub mod device;
pub mod driver;
pub mod flash3;
pub mod group;
pub mod host;
pub mod library;
pub mod nccl;
pub mod nvrtc;
mod shim;

/// A result whose error is this crate's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This machine or this libtorch has no such thing.
    #[error("not available: {0}")]
    NotAvailable(String),
    /// libtorch or the driver refused; its own text, first line.
    #[error("{0}")]
    Failed(String),
}
