//! Goal: no statement of the crate becomes slow in a large fleet: 1,000 tenants, 10,000 workers, a backlog and a long history.
//! Method: a filled database (`fill.sql`), a call of every statement (`calls.txt`), and Postgres' own plans of these calls, for custom
//! and generic plans. Judged are the rows that a plan reads and the tables that it reads completely, never the time.
//!
//! `benches/scale/run` runs the same with two million jobs and writes the times into docs/scale.md; see [`report`].

mod calls;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Store, StoreOptions};

use calls::Call;

/// Files whose SQL is not part of the running fleet's work: connecting, migrating, machines that join, and the check for a failover,
/// which reads one row.
const SET_UP: [&str; 4] = ["connect.rs", "era.rs", "migrate.rs", "worker_role.rs"];

/// Number of rows of each kind, as settings of the session that fills the database.
struct Size {
    jobs: u64,
    tenants: u64,
    workers: u64,
    waiting: u64,
    hours: u64,
}

/// Large enough that reading all of a table costs more than an index, small enough to be filled in seconds.
const SMALL: Size = Size { jobs: 100_000, tenants: 1_000, workers: 10_000, waiting: 10_000, hours: 48 };

/// The text of each named query, as it was checked when the crate was built.
fn statements() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = std::fs::read_dir(folder).expect("the descriptions exist");
    let text = |file: std::fs::DirEntry| {
        let json: Value = serde_json::from_slice(&std::fs::read(file.path()).expect("readable")).expect("JSON");
        json["query"].as_str().expect("a text").to_owned()
    };
    let named = |text: String| {
        let name = text.lines().next().and_then(|line| line.strip_prefix("-- ")).unwrap_or_default().trim().to_owned();
        assert!(!name.is_empty(), "a statement must open with `-- name`:\n{text}");
        (name, text)
    };
    files.map(|file| named(text(file.expect("readable")))).collect()
}

/// A filled database, whose closed hours are added up as the scheduler does it.
async fn filled(size: &Size) -> PgConnection {
    let url = testkit::postgres::database().await;
    let mut database = PgConnection::connect(&url).await.expect("connect");
    let set = format!(
        "SET jit = off; SET scale.jobs = {}; SET scale.tenants = {}; SET scale.workers = {}; SET scale.waiting = {}; SET scale.hours = {}",
        size.jobs, size.tenants, size.workers, size.waiting, size.hours
    );
    sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut database).await.expect("set");
    sqlx::raw_sql(include_str!("fill.sql")).execute(&mut database).await.expect("fill");
    let store = Store::connect(&StoreOptions::new(&url)).await.expect("connect");
    while store.roll_up_stats(24).await.expect("roll up").is_some() {}
    sqlx::query("VACUUM ANALYZE").execute(&mut database).await.expect("analyze");
    database
}

/// What a plan reads.
#[derive(Debug, Default)]
struct Reads {
    /// Tables that it reads completely.
    whole: BTreeSet<String>,
    /// Rows of tables and of indexes.
    rows: f64,
}

impl Reads {
    fn add(&mut self, plan: &Value) {
        let number = |key: &str| plan[key].as_f64().unwrap_or_default();
        // The planner may put a branch into a plan that the arguments then exclude.
        if number("Actual Loops") > 0.0 {
            let relation = plan["Relation Name"].as_str();
            if let Some(relation) = relation
                && plan["Node Type"].as_str().is_some_and(|node| node.contains("Seq Scan"))
            {
                self.whole.insert(relation.to_owned());
            }
            if relation.is_some() {
                let removed = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
                self.rows += (number("Actual Rows") + removed) * number("Actual Loops");
            }
        }
        plan["Plans"].as_array().into_iter().flatten().for_each(|part| self.add(part));
    }
}

/// Prepares a call and returns the statement that executes it. A connection first plans a statement for its arguments, and after
/// many calls for any arguments; `mode` chooses.
async fn prepare(database: &mut PgConnection, call: &Call, text: &str, mode: &str) -> String {
    // On a separate line, because a query opens with a comment.
    let prepare = format!("SET plan_cache_mode = {mode}; DEALLOCATE ALL; PREPARE called AS\n{text}");
    sqlx::raw_sql(AssertSqlSafe(prepare))
        .execute(&mut *database)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", call.name));
    if call.arguments.is_empty() { "EXECUTE called".to_owned() } else { format!("EXECUTE called ({})", call.arguments) }
}

/// What a call reads. It is rolled back, so every call finds the same rows.
async fn explain(database: &mut PgConnection, call: &Call, text: &str, mode: &str) -> (Reads, Value) {
    let execute = prepare(database, call, text, mode).await;
    let mut transaction = database.begin().await.expect("begin");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN (ANALYZE, FORMAT JSON) {execute}")))
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await
        .unwrap_or_else(|error| panic!("{} ({}): {error}", call.name, call.arguments));
    transaction.rollback().await.expect("roll back");
    let mut reads = Reads::default();
    reads.add(&plan[0]["Plan"]);
    (reads, plan)
}

#[test]
fn every_statement_has_a_call() {
    let called: BTreeSet<String> = calls::read(&BTreeMap::new()).into_iter().map(|call| call.name).collect();
    let statements: BTreeSet<String> = statements().into_keys().collect();
    let missing: Vec<_> = statements.difference(&called).collect();
    assert!(missing.is_empty(), "add a call with its budget to at_scale/calls.txt: {missing:?}");
    let unknown: Vec<_> = called.difference(&statements).collect();
    assert!(unknown.is_empty(), "at_scale/calls.txt names statements that do not exist: {unknown:?}");
}

/// Statements that are not checked when the crate is built have no description, so no call could be required of them.
#[test]
fn only_set_up_runs_statements_without_a_description() {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let text = std::fs::read_to_string(&path).expect("readable");
            let unchecked = ["query(", "query_as(", "query_scalar(", "raw_sql("].iter().any(|call| text.contains(call));
            if unchecked && !SET_UP.contains(&name.as_str()) {
                found.push(path);
            }
        }
    }
    assert!(found.is_empty(), "use sqlx's checked macros in {found:?}");
}

#[tokio::test]
async fn no_statement_reads_more_than_it_has_to() {
    let size = report::size().unwrap_or(SMALL);
    let mut database = filled(&size).await;
    let names = calls::names(&mut database).await;
    let statements = statements();
    let mut wrong = Vec::new();
    for call in calls::read(&names) {
        let text = statements.get(&call.name).unwrap_or_else(|| panic!("no statement is called {}", call.name));
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let (mut reads, plan) = explain(&mut database, &call, text, mode).await;
            reads.whole.retain(|table| !call.may_read_whole.contains(table));
            if !reads.whole.is_empty() || reads.rows > call.rows_max {
                wrong.push(format!(
                    "{} ({}), {mode}: {reads:?}, allowed {}:\n{plan:#}",
                    call.name, call.arguments, call.rows_max
                ));
            }
        }
    }
    if let Some(report) = report::path() {
        report::write(&mut database, &names, &statements, &size, &report).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
