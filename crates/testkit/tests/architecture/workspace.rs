//! The packages of the workspace and their files.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The output of `cargo metadata`, with every dependency of every package resolved for this machine.
pub(crate) fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new()
            .current_dir(std::env::var_os("CARGO_MANIFEST_DIR").expect("tests run through cargo"))
            .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), host()])
            .exec()
            .expect("cargo metadata describes the workspace")
    })
}

/// The target triple of this machine: without it, cargo would fetch what only other systems need.
fn host() -> String {
    let version = std::process::Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}

/// Our own packages, by name.
pub(crate) fn packages() -> Vec<&'static Package> {
    let mut packages = metadata().workspace_packages();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

/// Our own package of this name.
pub(crate) fn package(name: &str) -> &'static Package {
    packages().into_iter().find(|package| package.name.as_str() == name).unwrap_or_else(|| panic!("no package {name}"))
}

/// The folder of a package.
pub(crate) fn folder(package: &Package) -> PathBuf {
    package.manifest_path.parent().expect("a manifest lies in a folder").into()
}

/// Every Rust file below a folder, sorted; none if the folder does not exist.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
