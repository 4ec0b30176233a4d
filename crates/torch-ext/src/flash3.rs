//! FlashAttention-3 from the user's own build.
//!
//! It is no part of libtorch. Its extension (`flash_attn_3/_C.abi3.so`) registers the operator `flash_attn_3::fwd` with
//! libtorch's dispatcher when it is loaded, and this crate calls it there: no Python runs. The extension refers to functions of
//! Python that only Python's `import` would call, so it must be loaded lazily.
//!
//! Upstream: `hopper/flash_api_stable.cpp` in
//! <https://github.com/Dao-AILab/flash-attention/tree/01d6dd193034c92b6f46bc11f01a4c97fdc8aba6>.

use std::path::Path;

use tch::Tensor;

use crate::{Error, Result, library, shim};

/// Loads the extension for the rest of the process's life.
///
/// # Errors
/// [`Error::NotAvailable`] with the loader's text, or when the library does not register the operator.
pub fn load(extension: &Path) -> Result<()> {
    library::load_operators(extension)?;
    if is_loaded()? {
        return Ok(());
    }
    let path = extension.display();
    Err(Error::NotAvailable(format!("{path} does not register flash_attn_3::fwd; give FlashAttention-3's _C.abi3.so")))
}

/// Whether the operator is registered.
///
/// # Errors
/// libtorch's.
pub fn is_loaded() -> Result<bool> {
    shim::has_operator(c"flash_attn_3::fwd")
}

/// Attention of every query to every key, scaled by the square root of the width. All are `[batch, tokens, heads, width]` in 16
/// bits; only the width must be contiguous.
///
/// # Errors
/// [`Error::Failed`] with the extension's own text, and when it is not loaded.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    shim::flash3(query, key, value)
}
