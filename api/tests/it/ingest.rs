//! The micro-batcher: every accepted submission is committed exactly once, whichever submissions arrive together.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{TestApp, answer, id};

/// Goal: for any set of concurrent submissions, with keys that repeat and clash, each accepted request has one row, requests with
/// the same key and prompt have the same job, and a key never has two jobs. Method: proptest generates the sets; each is sent
/// concurrently, with batches of at most 7 rows on 3 lanes.
#[test]
fn accepted_means_committed_exactly_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::spawn_with(|settings| {
        settings.limits.ingest_rows_max = 7;
        settings.limits.ingest_lanes = 3;
    }));
    // Pairs of (key, prompt). Few different values, so that keys repeat and clash often.
    let crowd = prop::collection::vec((prop::option::of(0_u8..6), 0_u8..2), 1..60);
    let round = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    runner
        .run(&crowd, |crowd| {
            round.set(round.get() + 1);
            runtime.block_on(check(&app, round.get(), crowd));
            Ok(())
        })
        .unwrap();
}

async fn check(app: &TestApp, round: u32, crowd: Vec<(Option<u8>, u8)>) {
    let before = app.get("/api/stats").await.1["total_generations"].as_i64().unwrap();
    let sends = crowd.iter().map(|(key, prompt)| {
        let mut call = app.call(Method::POST, "/api/generate").json(&json!({"prompt": format!("prompt {prompt}")}));
        if let Some(key) = key {
            call = call.header("Idempotency-Key", format!("{round}-{key}"));
        }
        answer(call)
    });
    let answers = futures::future::join_all(sends).await;
    let (mut ids, mut by_key) = (BTreeSet::new(), BTreeMap::new());
    for ((key, prompt), (status, body)) in crowd.iter().zip(answers) {
        match status {
            StatusCode::ACCEPTED => {
                let job = id(&body);
                assert_eq!(body["request"]["prompt"], format!("prompt {prompt}"));
                let fresh = ids.insert(job);
                if let Some(key) = key {
                    assert_eq!(*by_key.entry(*key).or_insert(job), job, "a key has one job");
                } else {
                    assert!(fresh, "a request without a key is never merged with another");
                }
            }
            StatusCode::UNPROCESSABLE_ENTITY => assert!(key.is_some(), "{body}"),
            other => panic!("{other} {body}"),
        }
    }
    for job in &ids {
        assert_eq!(app.get(&format!("/api/jobs/{job}")).await.0, StatusCode::OK);
    }
    let after = app.get("/api/stats").await.1["total_generations"].as_i64().unwrap();
    assert_eq!(usize::try_from(after - before).unwrap(), ids.len(), "as many rows as accepted jobs");
}
