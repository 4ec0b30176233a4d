//! Refuses to compute with a libtorch of another version than the one this executable was built against.
//!
//! Another version usually fails to load, but not always, and then functions of the same name behave differently. The
//! library that was loaded is found in the process's own memory map; its version is in a file beside it.

use std::path::Path;

use anyhow::bail;

/// The version that the build script checked.
const EXPECTED: &str = env!("HUNYUAN_LIBTORCH_VERSION");

/// Compares the loaded libtorch with the one that was built against.
///
/// # Errors
/// When they differ, with what to install. A library without a version file beside it passes: a distribution's own
/// package may have none.
pub fn check_version() -> anyhow::Result<()> {
    let Some(folder) = hunyuan::runtime::cuda_half::libtorch_folder() else { return Ok(()) };
    let home = folder.parent().unwrap_or(&folder);
    match version_of(home) {
        Some(found) if found != EXPECTED => bail!(
            "this worker was built for libtorch {EXPECTED}, but {} holds {found}; run scripts/setup-libtorch in the \
             checkout, which installs {EXPECTED}, and `make build`",
            home.display()
        ),
        _ => Ok(()),
    }
}

/// The version without its build suffix.
fn version_of(home: &Path) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(home.join("build-version")) {
        return text.trim().split('+').next().map(str::to_owned);
    }
    let text = std::fs::read_to_string(home.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split('\'').nth(1)?.split('+').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_library_is_the_expected_one() {
        let folder = hunyuan::runtime::cuda_half::libtorch_folder().unwrap();
        assert_eq!(version_of(folder.parent().unwrap()).as_deref(), Some(EXPECTED));
        check_version().unwrap();
    }

    #[test]
    fn versions_are_read_from_either_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(version_of(folder.path()), None);
        std::fs::write(folder.path().join("version.py"), "x = 1\n__version__ = '2.9.1+cu128'\n").unwrap();
        assert_eq!(version_of(folder.path()).as_deref(), Some("2.9.1"));
        std::fs::write(folder.path().join("build-version"), "2.11.0+cu130\n").unwrap();
        assert_eq!(version_of(folder.path()).as_deref(), Some("2.11.0"));
    }
}
