//! Pictures, and a model that begins its videos from one.

use std::path::Path;

use crate::process::repository;

/// The id of [`picture_model`].
pub const PICTURE_MODEL: &str = "picture";

/// One of the pictures in `crates/pictures/tests/fixtures`; `make.py` there says what they show.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn picture(name: &str) -> Vec<u8> {
    std::fs::read(repository().join("crates/pictures/tests/fixtures").join(name)).expect("a picture of this name")
}

/// Writes the manifest of a model that needs a picture into a folder: the default model's otherwise. It has no weights, so only a
/// worker whose model takes no time can serve it.
///
/// # Panics
/// When the folder cannot be written.
pub fn picture_model(folder: &Path) {
    let default = std::fs::read_to_string(repository().join("models/default/fleet.toml")).expect("a manifest");
    let id = "id = \"default\"\n";
    assert!(default.contains(id), "the manifest has an id");
    let manifest = default.replace(id, &format!("id = \"{PICTURE_MODEL}\"\nimage = \"required\"\n"));
    // Early steps at half the size are not possible for such a model.
    let tables: Vec<&str> = manifest.split("\n[").filter(|table| !table.starts_with("progressive]")).collect();
    std::fs::write(folder.join("fleet.toml"), tables.join("\n[")).expect("the manifest is written");
}
