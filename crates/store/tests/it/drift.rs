//! Goal: the committed query descriptions match the migrated schema, so that a build that was checked against them cannot
//! contain a query that Postgres refuses.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use crate::support::Fixture;

fn descriptions() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect(".sqlx") {
        let path = entry.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        found.push((path.display().to_string(), serde_json::from_str(&text).expect("JSON")));
    }
    found
}

#[tokio::test]
async fn every_committed_description_is_what_postgres_reports() {
    let f = Fixture::new().await;
    let mut drifted = Vec::new();
    for (path, committed) in descriptions() {
        let query = committed["query"].as_str().expect("a query").to_owned();
        match (&f.pool).describe(AssertSqlSafe(query).into_sql_str()).await {
            Ok(described) => {
                let described = serde_json::to_value(&described).expect("JSON");
                if described["parameters"] != committed["describe"]["parameters"] {
                    drifted.push(format!("{path}: parameters"));
                }
                // The macros treat "not known to be nullable" as nullable; which of the two Postgres reports may change
                // with its plan for an empty table.
                let never_null = |value: &Value| -> Vec<bool> {
                    let columns = value["nullable"].as_array().expect("columns");
                    columns.iter().map(|nullable| *nullable == Value::Bool(false)).collect()
                };
                if never_null(&described) != never_null(&committed["describe"]) {
                    drifted.push(format!("{path}: nullability"));
                }
                let columns = |value: &Value| -> Vec<(Value, Value)> {
                    let columns = value["columns"].as_array().expect("columns");
                    columns.iter().map(|column| (column["name"].clone(), column["type_info"].clone())).collect()
                };
                if columns(&described) != columns(&committed["describe"]) {
                    drifted.push(format!("{path}: columns"));
                }
            }
            Err(error) => drifted.push(format!("{path}: {error}")),
        }
    }
    assert!(drifted.is_empty(), "run scripts/sqlx-prepare and commit .sqlx:\n{}", drifted.join("\n"));
}

/// Each query starts with its name; the sources and the descriptions contain the same set of names.
#[test]
fn no_description_is_superfluous_and_none_is_missing() {
    fn sources(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("src") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                sources(&path, names);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            // A name follows the quote that starts the query.
            for (at, _) in text.match_indices("\"-- ") {
                names.insert(name_at(&text[at + 4..]));
            }
        }
    }
    fn name_at(text: &str) -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    }
    let mut written = BTreeSet::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut written);
    let described: BTreeSet<String> = descriptions()
        .iter()
        .map(|(path, value)| {
            let query = value["query"].as_str().expect("a query");
            name_at(query.strip_prefix("-- ").unwrap_or_else(|| panic!("{path}: the query has no name")))
        })
        .collect();
    assert_eq!(written, described);
}
