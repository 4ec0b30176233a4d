//! The keys that exist and the kind of value that each takes, read from the base file itself. There is no second list.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// The base file as it was when this program was built.
pub(crate) const BASE: &str = include_str!("../../../configuration/base.toml");

/// Keys as `section.key`, with their defaults.
pub(crate) type Keys = BTreeMap<String, Value>;

/// Every key of the base file.
pub(crate) fn known_keys() -> Keys {
    let base: Table = BASE.parse().expect("the base file is parsed by a test; this is a bug");
    flatten(&base)
}

/// The keys of a file as `section.key`. A list is a value.
pub(crate) fn flatten(table: &Table) -> Keys {
    let mut keys = Keys::new();
    collect("", table, &mut keys);
    keys
}

fn collect(prefix: &str, table: &Table, keys: &mut Keys) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => collect(&key, inner, keys),
            _ => {
                keys.insert(key, value.clone());
            }
        }
    }
}
