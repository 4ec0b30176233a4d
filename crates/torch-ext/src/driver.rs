//! What the NVIDIA driver says of its GPUs.
//!
//! The driver's library is opened by name, so nothing here needs it at build time, and it needs no CUDA context: names and sizes can
//! be read before libtorch touches a GPU. The order of the GPUs is CUDA's, so `CUDA_VISIBLE_DEVICES` counts.

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;

use libloading::os::unix::Library;

use crate::library::{function, load};
use crate::{Error, Result};

/// The driver's library, as every CUDA program asks for it.
const LIBRARY: &str = "libcuda.so.1";
/// Room for a GPU's name, bytes.
const NAME_BYTES: usize = 256;

type Init = extern "C" fn(u32) -> c_int;
type Number = extern "C" fn(*mut c_int) -> c_int;
type Get = extern "C" fn(*mut c_int, c_int) -> c_int;
type Name = extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
type Total = extern "C" fn(*mut usize, c_int) -> c_int;

/// A GPU as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// For example `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// All of its memory, bytes.
    pub memory_bytes: u64,
}

/// The driver's library, ready to be asked.
#[derive(Debug)]
pub struct Driver {
    library: Library,
}

impl Driver {
    /// Opens the system's driver.
    ///
    /// # Errors
    /// [`Error::NotAvailable`] on a machine without one, [`Error::Failed`] where it does not start.
    pub fn open() -> Result<Self> {
        Self::open_at(Path::new(LIBRARY))
    }

    /// Opens the driver's library at this path.
    ///
    /// # Errors
    /// As [`Driver::open`].
    pub(crate) fn open_at(path: &Path) -> Result<Self> {
        let driver = Self { library: load(path)? };
        #[expect(unsafe_code, reason = "the driver's documented interface")]
        // SAFETY: `CUresult cuInit(unsigned int)`.
        let init: Init = unsafe { function(&driver.library, "cuInit") }?;
        check("cuInit", init(0))?;
        Ok(driver)
    }

    /// The CUDA version that the driver supports: `13000` for 13.0.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn cuda_version(&self) -> Result<i32> {
        self.number("cuDriverGetVersion")
    }

    /// Number of GPUs that this process may use.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn count(&self) -> Result<i32> {
        self.number("cuDeviceGetCount")
    }

    /// GPU `index`, counted as CUDA does.
    ///
    /// # Errors
    /// [`Error::Failed`], also if the GPU does not exist.
    pub fn gpu(&self, index: usize) -> Result<Gpu> {
        let index = c_int::try_from(index).map_err(|error| Error::NotAvailable(error.to_string()))?;
        #[expect(unsafe_code, reason = "the driver's documented interface")]
        // SAFETY: the types are those of cuda.h; `_v2` is what its macro makes of `cuDeviceTotalMem`.
        let (get, name, total): (Get, Name, Total) = unsafe {
            (
                function(&self.library, "cuDeviceGet")?,
                function(&self.library, "cuDeviceGetName")?,
                function(&self.library, "cuDeviceTotalMem_v2")?,
            )
        };
        let (mut device, mut memory) = (0, 0_usize);
        let mut text: [c_char; NAME_BYTES] = [0; NAME_BYTES];
        check("cuDeviceGet", get(&raw mut device, index))?;
        check("cuDeviceGetName", name(text.as_mut_ptr(), NAME_BYTES as c_int - 1, device))?;
        check("cuDeviceTotalMem", total(&raw mut memory, device))?;
        #[expect(unsafe_code, reason = "a C string that was written into our own buffer")]
        // SAFETY: the driver was given one byte less than there is, so a zero byte ends the text.
        let name = unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned();
        Ok(Gpu { name, memory_bytes: memory as u64 })
    }

    fn number(&self, called: &str) -> Result<i32> {
        #[expect(unsafe_code, reason = "the driver's documented interface")]
        // SAFETY: both callers name a `CUresult f(int *)`.
        let ask: Number = unsafe { function(&self.library, called) }?;
        let mut value = 0;
        check(called, ask(&raw mut value))?;
        Ok(value)
    }
}

fn check(called: &str, code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::Failed(format!("{called} returned CUDA error {code}"))) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    /// A driver with two GPUs, compiled here: what the real one answers, without a GPU.
    const STUB: &str = r#"
        #include <stdio.h>
        #include <stddef.h>
        int cuInit(unsigned int flags) { return flags == 0 ? 0 : 1; }
        int cuDriverGetVersion(int *value) { *value = 13000; return 0; }
        int cuDeviceGetCount(int *value) { *value = 2; return 0; }
        int cuDeviceGet(int *device, int index) { *device = index + 7; return index < 2 ? 0 : 101; }
        int cuDeviceGetName(char *name, int room, int device) {
            snprintf(name, (size_t)room, "NVIDIA H%d00 80GB HBM3", device - 6);
            return 0;
        }
        int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)80 << 30; return device == 7 ? 0 : 2; }
    "#;

    fn compiled(folder: &Path) -> PathBuf {
        let (source, library) = (folder.join("stub.c"), folder.join(LIBRARY));
        std::fs::write(&source, STUB).unwrap();
        let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
        assert!(status.success());
        library
    }

    #[test]
    fn the_drivers_own_name_and_memory_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let driver = Driver::open_at(&compiled(folder.path())).unwrap();
        assert_eq!((driver.cuda_version(), driver.count()), (Ok(13_000), Ok(2)));
        let gpu = driver.gpu(0).unwrap();
        assert_eq!(gpu, Gpu { name: "NVIDIA H100 80GB HBM3".to_owned(), memory_bytes: 80 << 30 });
        let error = driver.gpu(1).unwrap_err().to_string();
        assert!(error.contains("cuDeviceTotalMem returned CUDA error 2"), "{error}");
        assert!(driver.gpu(2).unwrap_err().to_string().contains("101"));
    }

    #[test]
    fn no_driver_is_an_error_that_names_its_library() {
        let error = Driver::open_at(Path::new("/nowhere/libcuda.so.1")).unwrap_err();
        assert!(matches!(&error, Error::NotAvailable(text) if text.contains("libcuda.so.1")), "{error}");
    }

    #[test]
    fn a_library_without_the_drivers_functions_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("empty.c"), folder.path().join("libempty.so"));
        std::fs::write(&source, "int nothing;").unwrap();
        assert!(Command::new("cc").args(["-shared", "-o"]).args([&library, &source]).status().unwrap().success());
        assert!(Driver::open_at(&library).unwrap_err().to_string().contains("cuInit"));
    }
}
