//! Loading shared libraries for the rest of the process's life.

use std::path::Path;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY, RTLD_NOW};

use crate::{Error, Result};

/// Loads a library so that its symbols serve every library that is loaded later, and so that a later load by its bare name
/// finds it. `path` may be such a name itself; then the system's search decides.
///
/// # Errors
/// [`Error::NotAvailable`] with the loader's own text, which names what is missing.
pub fn load_globally(path: &Path) -> Result<()> {
    // A library whose code runs now must be complete now.
    let library = open(path, RTLD_NOW | RTLD_GLOBAL)?;
    // Kernels register themselves when they are loaded and must never be unloaded.
    std::mem::forget(library);
    Ok(())
}

/// Loads an extension of libtorch for the operators that it registers. Functions that nobody calls may be missing.
pub(crate) fn load_operators(path: &Path) -> Result<()> {
    // Its operators stay registered, so it must never be unloaded.
    std::mem::forget(open(path, RTLD_LAZY)?);
    Ok(())
}

/// Loads a library to look up its functions.
pub(crate) fn load(path: &Path) -> Result<Library> {
    open(path, RTLD_LAZY)
}

fn open(path: &Path, flags: std::ffi::c_int) -> Result<Library> {
    #[expect(unsafe_code, reason = "loading a library runs its initialisers; these are libtorch's and NVIDIA's own")]
    // SAFETY: the callers load libraries that are made to be loaded into any process at any time.
    let opened = unsafe { Library::open(Some(path), flags) };
    opened.map_err(|error| Error::NotAvailable(in_full(&error)))
}

/// A function of a library.
///
/// # Safety
/// `F` must be the function's real type.
#[expect(unsafe_code, reason = "the type of a foreign function can only be asserted")]
pub(crate) unsafe fn function<F: Copy>(library: &Library, name: &str) -> Result<F> {
    // SAFETY: the caller vouches for the type.
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found.map(|symbol| *symbol).map_err(|error| Error::NotAvailable(in_full(&error)))
}

/// An error with what caused it; the loader's own text, which names the library that is missing, is the cause.
fn in_full(error: &dyn std::error::Error) -> String {
    let own = error.to_string();
    match error.source() {
        // Newer releases of libloading print the cause themselves.
        Some(cause) if !own.contains(&cause.to_string()) => format!("{own}: {}", in_full(cause)),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_that_names_it() {
        let error = load_globally(Path::new("/nowhere/libtorch_cuda.so")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/libtorch_cuda.so"), "{error}");
    }
}
