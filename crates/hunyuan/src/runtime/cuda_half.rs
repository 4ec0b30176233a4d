//! Loads the CUDA half of libtorch on machines that have a GPU, so that one executable serves both kinds.
//!
//! The executable is linked with the CPU half alone. `libtorch_cuda.so` registers its kernels when it is loaded, which must
//! happen before the first use of a GPU and, since its symbols are needed by others, globally. It lies beside the CPU half
//! that this process has loaded: from another folder it could be of another version.
//!
//! NVIDIA's run-time compiler is loaded before it. cuDNN compiles its attention with that compiler, which opens a library of
//! its own by bare name; nothing puts the folder on the loader's search path, but a library that is loaded already is found
//! by its name. Python's torch does the same when it is imported.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use torch_ext::library::load_globally;

/// Where the run-time compiler lies, seen from libtorch's own folder: in a Python environment, in our image, in older wheels,
/// and in libtorch's own archives.
const COMPILER_FOLDERS: [&str; 3] = ["../../nvidia/cu13/lib", "../../nvidia/cuda_nvrtc/lib", "."];
/// The compiler and what it opens by bare name; a version follows.
const COMPILER_LIBRARIES: [&str; 2] = ["libnvrtc.so.", "libnvrtc-builtins.so."];

/// The CUDA half's main library, which pulls in the others.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// The result of the attempt, which is made once per process.
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
        if load_globally(Path::new("libcuda.so.1")).is_err() {
            return CudaHalf::NoDriver;
        }
        match libtorch_folder().filter(|folder| folder.join(CUDA_LIBRARY).exists()) {
            None => CudaHalf::NotInstalled,
            Some(folder) => match load_set(&folder) {
                Ok(()) => CudaHalf::Loaded(folder.join(CUDA_LIBRARY)),
                Err(error) => CudaHalf::Broken(error.to_string()),
            },
        }
    })
}

/// Loads the run-time compiler, then the CUDA half beside it.
fn load_set(folder: &Path) -> torch_ext::Result<()> {
    for library in compiler_libraries(folder) {
        // Without the compiler one attention kernel is missing, and the trial of the kernels reports it; the rest works.
        if let Err(error) = load_globally(&library) {
            tracing::warn!(library = %library.display(), %error, "cannot load NVIDIA's run-time compiler");
        }
    }
    load_globally(&folder.join(CUDA_LIBRARY))
}

/// The run-time compiler's libraries that are installed with the libtorch in `folder`, in the order in which to load them.
#[must_use]
pub fn compiler_libraries(folder: &Path) -> Vec<PathBuf> {
    let in_folder = |place: &str| -> Vec<PathBuf> {
        let names: Vec<PathBuf> =
            std::fs::read_dir(folder.join(place)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        COMPILER_LIBRARIES.iter().filter_map(|start| newest(&names, start)).collect()
    };
    COMPILER_FOLDERS.into_iter().map(in_folder).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The file whose name is this and a version, the last one by name where several versions are installed.
fn newest(paths: &[PathBuf], start: &str) -> Option<PathBuf> {
    let named = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix(start).is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    };
    paths.iter().filter(named).max().cloned()
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
        assert!(load_set(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere"));
    }

    /// Compiles a shared library at `path`, with the name by which the loader will know it.
    fn compile(path: &Path, source: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = path.with_file_name(format!("source-of-{name}.c"));
        std::fs::write(&text, source).unwrap();
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-D_GNU_SOURCE", &format!("-Wl,-soname,{name}"), "-o"]).arg(path).arg(&text);
        assert!(compiler.status().unwrap().success(), "{}", path.display());
    }

    /// A CUDA half that does at its start what cuDNN does with its first kernel: it opens the compiler's second library by
    /// bare name, and leaves in the environment whether that worked.
    fn cuda_half_that_compiles(site: &Path, version: &str, result: &str) -> PathBuf {
        let lib = site.join("torch/lib");
        compile(
            &lib.join(CUDA_LIBRARY),
            &format!(
                "#include <dlfcn.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void begin(void) {{ \
                 setenv(\"{result}\", dlopen(\"libnvrtc-builtins.so.{version}\", RTLD_NOW) ? \"found\" : dlerror(), 1); }}"
            ),
        );
        lib
    }

    #[test]
    fn the_run_time_compiler_finds_its_library_once_the_cuda_half_is_loaded() {
        let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["libnvrtc.so.97", "libnvrtc-builtins.so.97.0"] {
            compile(&with.path().join("nvidia/cu13/lib").join(name), "int nothing;");
        }
        let lib = cuda_half_that_compiles(with.path(), "97.0", "HUNYUAN_TEST_WITH_COMPILER");
        let found = compiler_libraries(&lib);
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["libnvrtc.so.97", "libnvrtc-builtins.so.97.0"]);
        load_set(&lib).unwrap();
        assert_eq!(std::env::var("HUNYUAN_TEST_WITH_COMPILER").as_deref(), Ok("found"));

        // The same half without the compiler beside it: what happens when nothing loads the compiler first.
        let lib = cuda_half_that_compiles(without.path(), "96.0", "HUNYUAN_TEST_WITHOUT_COMPILER");
        assert!(compiler_libraries(&lib).is_empty());
        load_set(&lib).unwrap();
        let said = std::env::var("HUNYUAN_TEST_WITHOUT_COMPILER").unwrap();
        assert!(said.contains("libnvrtc-builtins.so.96.0: cannot open"), "{said}");
    }
}
