//! Which libraries and programs have unit tests.

use crate::workspace::{packages, read, rust_files};

/// Cargo compiles a target a second time to look for unit tests, so those without any say `test = false`. It would not run one
/// that somebody adds there.
#[test]
fn a_target_that_is_not_tested_has_no_unit_tests() {
    let mut checked = 0;
    for target in packages().iter().flat_map(|package| &package.targets) {
        if target.test || !(target.is_lib() || target.is_bin()) {
            continue;
        }
        checked += 1;
        let main = target.src_path.as_std_path();
        let files = match target.is_lib() {
            true => rust_files(main.parent().expect("a source lies in a folder")),
            // A program beside a library is its main file.
            false => vec![main.to_owned()],
        };
        for file in files {
            let text = read(&file);
            let found = ["cfg(test)", "#[test]", "#[tokio::test"].iter().find(|mark| text.contains(**mark));
            assert!(found.is_none(), "{} has a unit test: remove `test = false` from its Cargo.toml", file.display());
        }
    }
    assert!(checked > 0, "the metadata name targets with `test = false`");
}
