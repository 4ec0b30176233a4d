//! Reads `calls.txt`, and the values that its names stand for.

use std::collections::BTreeMap;

use sqlx::PgConnection;

/// One call of a statement.
pub(super) struct Call {
    /// Name of the statement.
    pub(super) name: String,
    /// Its arguments, as SQL.
    pub(super) arguments: String,
    /// Most rows that it may read.
    pub(super) rows_max: f64,
    /// Tables that it may read completely.
    pub(super) may_read_whole: Vec<String>,
}

/// All calls, with the names in braces replaced.
pub(super) fn read(names: &BTreeMap<String, String>) -> Vec<Call> {
    let lines = include_str!("calls.txt").lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| call(line, names)).collect()
}

fn call(line: &str, names: &BTreeMap<String, String>) -> Call {
    let parts: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, rows, arguments, whole] = parts[..] else { panic!("four columns: {line}") };
    let mut arguments = arguments.to_owned();
    for (name, value) in names {
        arguments = arguments.replace(&format!("{{{name}}}"), value);
    }
    Call {
        name: name.to_owned(),
        arguments,
        rows_max: rows.parse().unwrap_or_else(|_| panic!("a number of rows: {line}")),
        may_read_whole: whole.split_whitespace().map(str::to_owned).collect(),
    }
}

/// What the names stand for in this database.
pub(super) async fn names(database: &mut PgConnection) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> =
        sqlx::query_as(include_str!("names.sql")).fetch_all(database).await.expect("the names have values");
    rows.into_iter().collect()
}
