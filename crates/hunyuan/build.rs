//! Tells every executable that is linked with libtorch where to find it, so that none needs a variable to start.
//!
//! The path is relative to the executable (`$ORIGIN`) when both lie in the checkout, so that the checkout can be moved;
//! otherwise it is the absolute path of the libtorch that was built against. The search path is of the kind that takes precedence
//! over `LD_LIBRARY_PATH`, so that another libtorch on this machine is not loaded by mistake. `worker` uses this same script.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The libtorch release that our `tch` release is made for.
const LIBTORCH_VERSION: &str = "2.11.0";

pub(crate) fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_default());
    println!("cargo:rerun-if-changed={}", libtorch.join("lib/libtorch_cpu.so").display());
    if let Err(message) = check_version(&libtorch) {
        println!("cargo::error={message}");
        return;
    }
    println!("cargo:rustc-env=HUNYUAN_LIBTORCH_VERSION={LIBTORCH_VERSION}");
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags");
    for folder in search_folders(&libtorch) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}

/// Refuses a libtorch that is missing or of another version.
fn check_version(libtorch: &Path) -> Result<(), String> {
    let advice = format!("run scripts/setup-libtorch, which installs libtorch {LIBTORCH_VERSION} under .libtorch");
    if !libtorch.join("lib/libtorch_cpu.so").exists() {
        return Err(format!("no libtorch at LIBTORCH={}: {advice}", libtorch.display()));
    }
    let found = installed_version(libtorch);
    if found.as_deref() == Some(LIBTORCH_VERSION) {
        return Ok(());
    }
    let found = found.unwrap_or_else(|| "of an unknown version".to_owned());
    Err(format!("libtorch at {} is {found}, but {LIBTORCH_VERSION} is needed: {advice}", libtorch.display()))
}

/// The version without its build suffix: `2.11.0` of `2.11.0+cu130`.
fn installed_version(libtorch: &Path) -> Option<String> {
    let text = fs::read_to_string(libtorch.join("build-version"))
        .or_else(|_| fs::read_to_string(libtorch.join("version.py")))
        .ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__") || line.starts_with(char::is_numeric))?;
    let version = line.split('\'').nth(1).unwrap_or(line);
    Some(version.trim().split('+').next()?.to_owned())
}

/// Where to look, in order: beside the executable, as in the checkout, as in a container image, then as built.
fn search_folders(libtorch: &Path) -> Vec<String> {
    let lib = libtorch.join("lib");
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default())
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").exists())
        .map(Path::to_path_buf);
    let profile =
        env::var_os("OUT_DIR").map(PathBuf::from).and_then(|out| out.ancestors().nth(3).map(Path::to_path_buf));
    let mut folders = Vec::new();
    if let (Some(workspace), Some(profile)) = (workspace, profile)
        && let (Ok(lib_inside), Ok(profile_inside)) = (lib.strip_prefix(&workspace), profile.strip_prefix(&workspace))
    {
        let up = "../".repeat(profile_inside.components().count());
        folders.push(format!("$ORIGIN/{up}{}", lib_inside.display()));
        // Test executables lie one folder deeper, in `deps`.
        folders.push(format!("$ORIGIN/../{up}{}", lib_inside.display()));
    } else {
        folders.push(lib.display().to_string());
    }
    folders.push("$ORIGIN/../libtorch/lib".to_owned());
    folders
}
