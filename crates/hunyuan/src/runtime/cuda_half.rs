//! Brings in the CUDA half of libtorch on machines that have a GPU, so that one executable serves both kinds.
//!
//! The executable is linked with the CPU half alone. `libtorch_cuda.so` registers its kernels when it is loaded, which must
//! happen before the first use of a GPU and, since its symbols are needed by others, globally. It lies beside the CPU half
//! that this process has loaded: from another folder it could be of another version.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// What came of the attempt; it is made once in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaHalf {
    /// Loaded from here.
    Loaded(PathBuf),
    /// The machine has no NVIDIA driver.
    NoDriver,
    /// There is a driver, but only the CPU half of libtorch is installed.
    NotInstalled,
    /// It is there and cannot be loaded, for this reason.
    Broken(String),
}

impl std::fmt::Display for CudaHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loaded(path) => write!(f, "libtorch's CUDA half is loaded from {}", path.display()),
            Self::NoDriver => f.write_str("this machine has no NVIDIA driver (libcuda.so.1)"),
            Self::NotInstalled => {
                f.write_str("only libtorch's CPU half is installed; run scripts/setup-libtorch with LIBTORCH_KIND=cuda")
            }
            Self::Broken(reason) => write!(
                f,
                "libtorch's CUDA half cannot be loaded: {reason}; run scripts/setup-libtorch with LIBTORCH_KIND=cuda"
            ),
        }
    }
}

/// Loads the CUDA half if the machine has a driver. Cheap on machines that have none, and from the second call on.
pub fn load() -> &'static CudaHalf {
    static OUTCOME: OnceLock<CudaHalf> = OnceLock::new();
    OUTCOME.get_or_init(|| {
        if open(Path::new("libcuda.so.1")).is_err() {
            return CudaHalf::NoDriver;
        }
        match libtorch_folder().map(|folder| folder.join("libtorch_cuda.so")).filter(|path| path.exists()) {
            None => CudaHalf::NotInstalled,
            Some(path) => match open(&path) {
                Ok(()) => CudaHalf::Loaded(path),
                Err(reason) => CudaHalf::Broken(reason),
            },
        }
    })
}

/// The folder of the `libtorch_cpu.so` that this process has loaded.
#[must_use]
pub fn libtorch_folder() -> Option<PathBuf> {
    // A call into the library, so that no linker leaves it out of an executable that has not used it yet.
    let _ = tch::get_num_threads();
    folder_in(&std::fs::read_to_string("/proc/self/maps").ok()?)
}

/// Finds it in a `/proc/PID/maps`.
fn folder_in(maps: &str) -> Option<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    Some(Path::new(paths.into_iter().find(|path| path.ends_with("/libtorch_cpu.so"))?).parent()?.to_owned())
}

/// Loads a library for the rest of the process's life.
fn open(path: &Path) -> Result<(), String> {
    #[expect(
        unsafe_code,
        reason = "loading a library runs its initialisers; these are the driver's and libtorch's own"
    )]
    // SAFETY: both libraries are made to be loaded into any process at any time; nothing is looked up in them here.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| in_full(&error))?;
    // Kernels that registered themselves must never go away.
    std::mem::forget(library);
    Ok(())
}

/// An error with what caused it; the loader's own words, which name the library that is missing, are the cause.
fn in_full(error: &dyn std::error::Error) -> String {
    let own = error.to_string();
    error.source().map_or_else(|| own.clone(), |cause| format!("{own}: {}", in_full(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_half_is_found() {
        let folder = libtorch_folder().unwrap();
        assert!(folder.join("libtorch_cpu.so").exists(), "{}", folder.display());
    }

    #[test]
    fn a_map_is_read_whatever_the_folder_is_called() {
        assert_eq!(folder_in("7f00-7f01 r-xp 0 08:01 1 /usr/lib/libc.so.6\n7f02 rw-p 0\n"), None);
        let line = "7f00-7f01 r-xp 00000000 08:01 99    /a folder/lib/libtorch_cpu.so";
        assert_eq!(folder_in(line), Some("/a folder/lib".into()));
    }

    #[test]
    fn the_outcome_agrees_with_what_libtorch_sees() {
        match load() {
            CudaHalf::Loaded(path) => assert!(path.exists()),
            CudaHalf::NoDriver | CudaHalf::NotInstalled => assert_eq!(tch::Cuda::device_count(), 0),
            CudaHalf::Broken(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn a_library_that_is_not_there_is_an_error_and_no_crash() {
        assert!(open(Path::new("/nowhere/libtorch_cuda.so")).unwrap_err().contains("nowhere"));
    }
}
