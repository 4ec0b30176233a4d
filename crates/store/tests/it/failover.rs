//! Goal: after a failover the store soon uses the new primary only.
//! Method: an open pool whose sessions accept no writes, like those of a demoted primary; later sessions accept them.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Store, StoreError, StoreOptions};
use uuid::Uuid;

async fn read_only(url: &str, on: bool) {
    let mut database = PgConnection::connect(url).await.expect("connect");
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut database).await.expect("name");
    let word = if on { "on" } else { "off" };
    let alter = format!("BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {word}; COMMIT");
    sqlx::raw_sql(AssertSqlSafe(alter)).execute(&mut database).await.expect("alter");
}

#[tokio::test]
async fn one_refused_write_closes_every_connection_to_a_read_only_server() {
    let url = testkit::postgres::database().await;
    read_only(&url, true).await;
    let options = StoreOptions { connections_max: 4, connections_min: 4, ..StoreOptions::new(&url) };
    let store = Store::connect(&options).await.expect("connect");
    // Four sessions to the demoted server are open.
    let reads = futures::future::join_all((0..4).map(|_| store.ping())).await;
    assert!(reads.iter().all(Result::is_ok), "a standby serves reads");
    read_only(&url, false).await;

    let refused = store.try_lead(Uuid::new_v4(), 60.0).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    for _ in 0..8 {
        store.ping_writable().await.expect("every later connection accepts writes");
    }
    assert!(store.try_lead(Uuid::new_v4(), 60.0).await.expect("the new primary").is_some());
}

#[tokio::test]
async fn health_detects_a_server_that_accepts_no_writes() {
    let url = testkit::postgres::database().await;
    read_only(&url, true).await;
    let store = Store::connect(&StoreOptions::new(&url)).await.expect("connect");
    store.ping().await.expect("a standby serves reads");
    assert!(store.ping_writable().await.is_err());
}
