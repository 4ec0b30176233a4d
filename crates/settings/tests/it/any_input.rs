//! Goal: no file and no variable makes the settings panic, and no error shows a secret.
//! Method: random text, and the base file with one value at a time replaced.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use settings::{Settings, Source};

const BASE: &str = include_str!("../../../../configuration/base.toml");
const SECRET: &str = "hunter2";

fn load(file: &str, variables: BTreeMap<String, String>) -> Result<Settings, String> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("base.toml"), BASE).expect("the base file");
    fs::write(folder.path().join("test.toml"), file).expect("the file");
    let mut source = Source { folder: folder.path().to_owned(), variables };
    source.variables.insert("FLEET_ENV".to_owned(), "test".to_owned());
    Settings::load_from(&source).map_err(|error| error.to_string())
}

/// `section.key` of every key, from the file itself.
fn keys() -> Vec<String> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in BASE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.push(format!("{section}.{key}"));
        }
    }
    keys
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}").to_lowercase()),
        any::<bool>().prop_map(|b| b.to_string()),
        ".{0,20}".prop_map(|text| format!("{text:?}")),
        Just(format!("\"{SECRET}\"")),
        Just(format!("[\"{SECRET}\"]")),
        Just(format!("{{ a = \"{SECRET}\" }}")),
        Just("[]".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_file_is_read_or_refused(text in "(\\[[a-z.]{0,8}\\]|[a-z_]{0,8} = .{0,8}|.{0,30}\n){0,6}") {
        drop(load(&text, BTreeMap::new()));
    }

    #[test]
    fn any_value_of_any_key_is_taken_or_refused_by_name(at in any::<prop::sample::Index>(), value in any_value()) {
        let keys = keys();
        let key = &keys[at.index(keys.len())];
        match load(&format!("{key} = {value}\n"), BTreeMap::new()) {
            Ok(loaded) => drop(format!("{loaded:?}")),
            Err(error) => {
                let last = key.rsplit('.').next().expect("a key has a name");
                prop_assert!(error.contains(last) || error.contains("line 1"), "{} = {}: {}", key, value, error);
            }
        }
    }

    #[test]
    fn any_variable_is_taken_or_refused_by_name(at in any::<prop::sample::Index>(), text in ".{0,20}") {
        let keys = keys();
        let name = format!("FLEET__{}", keys[at.index(keys.len())].to_uppercase().replace('.', "__"));
        if let Err(error) = load("", BTreeMap::from([(name.clone(), text)])) {
            let key = name.rsplit("__").next().expect("a name has a key").to_lowercase();
            prop_assert!(error.to_lowercase().contains(&key), "{}: {}", name, error);
        }
    }

    #[test]
    fn an_error_shows_no_secret(at in 0..4usize, wrap in 0..3usize) {
        let key = ["redis.password", "artifacts.s3_secret_access_key", "database.url", "broker.url"][at];
        let value = [format!("[\"{SECRET}\"]"), format!("{{ a = \"{SECRET}\" }}"), format!("'{SECRET}' {SECRET}")];
        let error = load(&format!("{key} = {}\n", value[wrap]), BTreeMap::new()).expect_err("only a text is accepted");
        prop_assert!(!error.contains(SECRET), "{}", error);
    }
}
