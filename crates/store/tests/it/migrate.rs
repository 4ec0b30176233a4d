//! Goal: processes that start together migrate an empty database to this release's schema, and an index that a killed
//! process left unfinished is rebuilt.

use futures::future::join_all;
use sqlx::{Connection, PgConnection};
use store::{Store, StoreOptions};

async fn store(url: &str) -> Store {
    Store::connect(&StoreOptions::new(url)).await.expect("connect")
}

#[tokio::test]
async fn processes_that_start_together_migrate_once() {
    let url = testkit::postgres::empty_database(testkit::services()).await;
    let stores = join_all((0..4).map(|_| store(&url))).await;
    for migrated in join_all(stores.iter().map(Store::migrate)).await {
        migrated.expect("migrate");
    }
    let mut database = PgConnection::connect(&url).await.expect("connect");
    let invalid: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
        .fetch_one(&mut database)
        .await
        .expect("count");
    assert_eq!(invalid, 0);
}

#[tokio::test]
async fn an_index_whose_creation_was_interrupted_is_rebuilt() {
    let url = testkit::postgres::database().await;
    let mut database = PgConnection::connect(&url).await.expect("connect");
    // The state that a process killed inside CREATE INDEX CONCURRENTLY leaves behind.
    sqlx::query("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'jobs_finished'::regclass")
        .execute(&mut database)
        .await
        .expect("update");
    store(&url).await.migrate().await.expect("migrate");
    let valid: bool =
        sqlx::query_scalar("SELECT indisvalid FROM pg_index WHERE indexrelid = 'jobs_finished'::regclass")
            .fetch_one(&mut database)
            .await
            .expect("look");
    assert!(valid);
}
