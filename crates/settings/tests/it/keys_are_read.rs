//! Goal: no setting exists that nothing reads.
//! Method: for every key of the base file, some source file outside the settings' own types and checks must read a field of
//! that name and mention its section. This is a text search, so it can miss a dead key whose name is used elsewhere in the
//! same file; it never reports a key that is read.

use std::fs;
use std::path::{Path, PathBuf};

const BASE: &str = include_str!("../../../../configuration/base.toml");

/// Sections that the code reads under another name, or whole.
const ALIASES: [(&str, &str); 1] = [("tiers", "TierSettings")];

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("an entry").path();
        let skipped = ["target", "tests", "benches", "sections", "node_modules"];
        if path.is_dir() {
            if !skipped.iter().any(|name| path.ends_with(name)) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("settings/src/check.rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            found.push((path, text));
        }
    }
}

/// Whether the text contains the word with neither a letter nor an underscore behind it.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[at + word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[test]
fn every_key_is_read_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["api/src", "scheduler/src", "worker/src", "crates"] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 100, "the sources were not found");
    let mut unread = Vec::new();
    let base: toml::Table = BASE.parse().expect("the base file");
    for (section, keys) in &base {
        let keys = keys.as_table().expect("a section").iter().flat_map(|(key, value)| match value.as_table() {
            Some(inner) => inner.keys().cloned().collect(),
            None => vec![key.clone()],
        });
        let alias = ALIASES.iter().find(|(name, _)| name == section).map(|(_, alias)| *alias);
        // `RedisSettings` for `redis`.
        let type_name = format!("{}{}Settings", section[..1].to_uppercase(), &section[1..]);
        let mentions = |text: &str| {
            text.contains(&type_name)
                || has_word(text, &format!("settings.{section}"))
                || text.contains(&format!(".{section}."))
                || alias.is_some_and(|alias| text.contains(alias))
        };
        for key in keys {
            let read = files.iter().any(|(_, text)| mentions(text) && has_word(text, &format!(".{key}")));
            if !read {
                unread.push(format!("{section}.{key}"));
            }
        }
    }
    assert_eq!(unread, Vec::<String>::new(), "nothing reads these settings: remove them");
}
