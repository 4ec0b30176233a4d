//! What is stored, for how long, how damage is handled, and how hits are counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache::{CacheStats, Source, StoredEmbeddings};
use settings::CacheSettings;
use testkit::eventually;

use crate::support::{ENCODERS, Encoder, TENANT, ask, key, made_of, number, open, settings, shared_only};

const TEXT: &str = "a red ball rolls down a hill";

#[tokio::test]
async fn a_prompt_is_encoded_once_for_all_workers_and_every_hit_is_counted() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let (one, other) = (open(&redis, &settings()), open(&redis, &settings()));
    let first = encoder.get(&one, TEXT).await;
    let again = encoder.get(&one, &format!("  {TEXT}\n")).await;
    let elsewhere = encoder.get(&other, TEXT).await;
    assert_eq!((first.source, again.source, elsewhere.source), (Source::Encoded, Source::Memory, Source::Redis));
    assert_eq!(encoder.runs(), 1);
    for found in [first, again, elsewhere] {
        assert_eq!(*found.embeddings, made_of(TEXT), "a hit gives exactly the bits of a miss");
    }
    assert_eq!(one.stats().await.expect("Redis is available"), CacheStats { keys: 1, hits: 2, misses: 1 });
    assert!(other.exists(ENCODERS, TENANT, TEXT).await && !other.exists("other encoders", TENANT, TEXT).await);
}

#[tokio::test]
async fn values_that_are_cut_foreign_or_damaged_are_misses_and_are_replaced() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let cache = open(&redis, &shared_only());
    encoder.get(&cache, TEXT).await;
    let damages: [&[&str]; 4] = [
        &["SET", &key(TEXT), "FLEMB1"],
        &["SET", &key(TEXT), "something of another program"],
        &["SETRANGE", &key(TEXT), "20", "xx"],
        &["APPEND", &key(TEXT), "more"],
    ];
    for (turn, damage) in damages.iter().enumerate() {
        ask(&redis, damage);
        let found = encoder.get(&cache, TEXT).await;
        assert_eq!((found.source, *found.embeddings == made_of(TEXT)), (Source::Encoded, true), "{damage:?}");
        assert_eq!(cache.damaged(), turn as u64 + 1, "{damage:?}");
        assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Redis, "the good value is back after {damage:?}");
    }
    // A key that holds no string at all: Redis itself refuses, and the job still gets its embeddings.
    ask(&redis, &["DEL", &key(TEXT)]);
    ask(&redis, &["HSET", &key(TEXT), "a", "b"]);
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Encoded);
}

#[tokio::test]
async fn a_hit_resets_the_expiry_wherever_it_was_served() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let life = || number(&redis, &["TTL", &key(TEXT)]);
    for layer in [settings(), shared_only()] {
        ask(&redis, &["FLUSHDB"]);
        let cache = open(&redis, &layer);
        encoder.get(&cache, TEXT).await;
        assert!(life() > 3_500, "an hour");
        ask(&redis, &["EXPIRE", &key(TEXT), "100"]);
        assert!(encoder.get(&cache, TEXT).await.source.is_hit());
        assert!(life() > 3_500, "refreshed");
    }
    let cache = open(&redis, &CacheSettings { refresh_on_hit: false, ..shared_only() });
    ask(&redis, &["EXPIRE", &key(TEXT), "100"]);
    assert!(encoder.get(&cache, TEXT).await.source.is_hit());
    assert!(life() <= 100, "not refreshed");

    // A worker's memory restores what Redis dropped.
    let cache = open(&redis, &settings());
    encoder.get(&cache, TEXT).await;
    ask(&redis, &["FLUSHDB"]);
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Memory);
    assert_eq!(number(&redis, &["EXISTS", &key(TEXT)]), 1);
}

#[tokio::test]
async fn switched_off_it_always_encodes_and_stores_nothing() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let cache = open(&redis, &CacheSettings { enabled: false, ..settings() });
    for _ in 0..2 {
        assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Encoded);
    }
    assert!(!cache.exists(ENCODERS, TENANT, TEXT).await);
    assert_eq!((encoder.runs(), number(&redis, &["DBSIZE"])), (2, 0));
}

#[tokio::test]
async fn workers_that_miss_at_once_encode_once() {
    const WORKERS: usize = 6;
    let redis = testkit::redis::database();
    let (begun, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || async {
        let cache = open(&redis, &settings());
        begun.fetch_add(1, Ordering::SeqCst);
        let (begun, runs) = (&begun, &runs);
        let encode = |text: String| async move {
            runs.fetch_add(1, Ordering::SeqCst);
            // Encoding lasts until all the other workers have looked the text up.
            let all_begun = || async { (begun.load(Ordering::SeqCst) == WORKERS).then_some(()) };
            eventually("all workers need the text", Duration::from_secs(30), all_begun).await;
            Ok::<_, std::convert::Infallible>(made_of(&text))
        };
        cache.get_or_encode(ENCODERS, TENANT, TEXT, None, encode).await.map(|found| found.source)
    };
    let sources: Vec<_> =
        futures::future::join_all((0..WORKERS).map(|_| worker())).await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(runs.load(Ordering::SeqCst), 1, "{sources:?}");
    assert_eq!(sources.iter().filter(|source| source.is_hit()).count(), WORKERS - 1, "{sources:?}");
    let stats = open(&redis, &settings()).stats().await.expect("Redis is available");
    assert_eq!((stats.hits, stats.misses), (WORKERS as u64 - 1, 1));
}

#[tokio::test]
async fn no_worker_waits_forever_for_one_that_died_or_failed() {
    let redis = testkit::redis::database();
    let encoder = Encoder::default();
    let lock = format!("fleet:encoding:{}", key(TEXT));
    // A dead worker whose lock lasts longer than we are willing to wait.
    ask(&redis, &["SET", &lock, "dead", "PX", "600000"]);
    let cache = open(&redis, &CacheSettings { single_flight_wait_ms: 200, ..shared_only() });
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Encoded);
    assert_eq!(ask(&redis, &["GET", &lock]).lines().last(), Some("dead"), "another worker's lock is not removed");
    // A dead worker whose lock expires while we wait.
    ask(&redis, &["DEL", &key(TEXT)]);
    ask(&redis, &["SET", &lock, "dead", "PX", "200"]);
    let cache = open(&redis, &CacheSettings { single_flight_wait_ms: 600_000, ..shared_only() });
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Encoded);

    // A worker that failed returns its error and releases its lock.
    let other = "a blue ball";
    let cache = open(&redis, &settings());
    let failed =
        cache.get_or_encode(ENCODERS, TENANT, other, None, |_| async { Err::<StoredEmbeddings, _>("broken") }).await;
    assert_eq!(failed.map(|found| found.source), Err("broken"));
    assert_eq!(number(&redis, &["EXISTS", &format!("fleet:encoding:{}", key(other))]), 0);
    assert_eq!(encoder.get(&cache, other).await.source, Source::Encoded);
}
