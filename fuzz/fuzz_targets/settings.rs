//! Settings: any text as the environment's file, and any variables. An error names the key, file or variable, and shows
//! no secret.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use settings::{Settings, Source};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("base.toml"), include_str!("../../configuration/base.toml")).expect("the base file");
    folder
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // Lines that begin with FLEET__ are variables, the others a file.
    let (variables, file): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("FLEET__"));
    let mut source = Source { folder: FOLDER.path().to_owned(), variables: BTreeMap::new() };
    for (name, value) in variables.iter().filter_map(|line| line.split_once('=')) {
        source.variables.insert(name.to_owned(), value.to_owned());
    }
    source.variables.insert("FLEET_ENV".to_owned(), "fuzz".to_owned());
    std::fs::write(FOLDER.path().join("fuzz.toml"), file.join("\n")).expect("the file is written");
    match Settings::load_from(&source) {
        Ok(settings) => drop(format!("{settings:?}")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
