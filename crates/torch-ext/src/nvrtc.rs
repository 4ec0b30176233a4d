//! Does NVIDIA's run-time compiler work here? cuDNN compiles its attention with it.
//!
//! The compiler (`libnvrtc`) opens a second library, `libnvrtc-builtins`, by bare name. Where that is neither on the loader's
//! search path nor loaded already, every compilation fails, and so does cuDNN's attention. No GPU is needed to try it.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use crate::library::{function, load};
use crate::{Error, Result};

/// The smallest kernel that makes the compiler read its second library.
const KERNEL: &str = "extern \"C\" __global__ void probe(float *a) { a[threadIdx.x] += 1; }";
/// Hopper; the compiler needs no GPU of that kind for it.
const TARGET: &str = "-arch=sm_90";

type Create = extern "C" fn(
    *mut *mut c_void,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = extern "C" fn(*mut c_void, c_int, *const *const c_char) -> c_int;
type LogSize = extern "C" fn(*mut c_void, *mut usize) -> c_int;
type Log = extern "C" fn(*mut c_void, *mut c_char) -> c_int;
type Destroy = extern "C" fn(*mut *mut c_void) -> c_int;

/// Compiles a kernel with the compiler at `path`.
///
/// # Errors
/// [`Error::NotAvailable`] when the library cannot be opened, [`Error::Failed`] with the compiler's log.
pub fn compiles(path: &Path) -> Result<()> {
    let library = load(path)?;
    #[expect(unsafe_code, reason = "the compiler's documented interface")]
    // SAFETY: the types are those of nvrtc.h.
    let (create, compile, log_size, log, destroy): (Create, Compile, LogSize, Log, Destroy) = unsafe {
        (
            function(&library, "nvrtcCreateProgram")?,
            function(&library, "nvrtcCompileProgram")?,
            function(&library, "nvrtcGetProgramLogSize")?,
            function(&library, "nvrtcGetProgramLog")?,
            function(&library, "nvrtcDestroyProgram")?,
        )
    };
    let text = |text: &str| CString::new(text).map_err(|error| Error::Failed(error.to_string()));
    let (kernel, target) = (text(KERNEL)?, text(TARGET)?);
    let mut program: *mut c_void = ptr::null_mut();
    let created = create(&raw mut program, kernel.as_ptr(), ptr::null(), 0, ptr::null(), ptr::null());
    if created != 0 {
        return Err(Error::Failed(format!("nvrtcCreateProgram returned {created}")));
    }
    let options = [target.as_ptr()];
    let code = compile(program, 1, options.as_ptr());
    let mut written = Vec::new();
    let mut size = 0_usize;
    if code != 0 && log_size(program, &raw mut size) == 0 {
        written = vec![0_u8; size.max(1)];
        log(program, written.as_mut_ptr().cast());
    }
    destroy(&raw mut program);
    if code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&written);
    Err(Error::Failed(format!("nvrtcCompileProgram returned {code}: {}", said.trim_matches(['\0', '\n', ' ']))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_is_not_installed_is_an_error_that_names_it() {
        let error = compiles(Path::new("/nowhere/libnvrtc.so.13")).unwrap_err();
        assert!(matches!(&error, Error::NotAvailable(text) if text.contains("libnvrtc")), "{error}");
    }
}
