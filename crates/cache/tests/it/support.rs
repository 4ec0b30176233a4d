//! Caches on a Redis database that each test has to itself, and an encoder that counts its runs.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache::{Element, EmbeddingCache, Found, Similar, StoredEmbeddings, StoredTensor, embedding_key};
use settings::{CacheSettings, RedisSettings, Settings};

/// Fingerprint of the encoders.
pub(crate) const ENCODERS: &str = "encoders";
/// The tenant of calls that name none.
pub(crate) const TENANT: &str = "one";

/// The default settings.
pub(crate) fn settings() -> CacheSettings {
    Settings::defaults().cache
}

/// Without the layer in the process's memory, so that Redis serves every look-up.
pub(crate) fn shared_only() -> CacheSettings {
    CacheSettings { memory_max_bytes: 0, ..settings() }
}

/// A cache whose timeouts suit the Redis of a slow machine.
pub(crate) fn open(redis: &RedisSettings, cache: &CacheSettings) -> EmbeddingCache {
    let patient = RedisSettings { connect_timeout_ms: 20_000, response_timeout_ms: 20_000, ..redis.clone() };
    open_impatient(&patient, cache)
}

/// A cache with the given timeouts.
pub(crate) fn open_impatient(redis: &RedisSettings, cache: &CacheSettings) -> EmbeddingCache {
    EmbeddingCache::open(redis, cache).expect("the settings are good")
}

/// The encoder's output for a text: different for every text.
pub(crate) fn made_of(text: &str) -> StoredEmbeddings {
    let tensor = |bytes: Vec<u8>| StoredTensor { element: Element::Bool, shape: vec![bytes.len()], bytes };
    let tensors = [("prompt", tensor(text.bytes().collect())), ("pooled", tensor(text.bytes().rev().collect()))];
    StoredEmbeddings {
        tensors: tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into(),
        fingerprint: ENCODERS.to_owned(),
    }
}

/// Counts its runs.
#[derive(Default)]
pub(crate) struct Encoder {
    pub(crate) runs: AtomicUsize,
}

impl Encoder {
    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) async fn get(&self, cache: &EmbeddingCache, text: &str) -> Found {
        self.get_with(cache, text, None).await
    }

    pub(crate) async fn get_with(&self, cache: &EmbeddingCache, text: &str, similar: Option<Similar<'_>>) -> Found {
        let tenant = similar.map_or(TENANT, |similar| similar.tenant);
        let encode = |text: String| async move {
            self.runs.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(made_of(&text))
        };
        match cache.get_or_encode(ENCODERS, tenant, text, similar, encode).await {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }
}

/// The raw response of Redis to one command.
pub(crate) fn ask(redis: &RedisSettings, words: &[&str]) -> String {
    testkit::redis::command(redis, words)
}

/// A whole number that Redis returned.
pub(crate) fn number(redis: &RedisSettings, words: &[&str]) -> i64 {
    let answer = ask(redis, words);
    answer.trim().trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{words:?}: {answer}"))
}

pub(crate) fn key(text: &str) -> String {
    embedding_key(ENCODERS, Some(TENANT), text)
}
