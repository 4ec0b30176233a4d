//! The embedding cache: expiry, memory layer, single flight, breaker, similar prompts.

use serde::Deserialize;

/// `[cache]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// Whether embeddings are cached.
    pub enabled: bool,
    /// How long an embedding is kept, seconds.
    pub ttl_s: u64,
    /// Reset the expiry on every hit.
    pub refresh_on_hit: bool,
    /// Memory in front of Redis, bytes; 0 for none.
    pub memory_max_bytes: u64,
    /// How long an embedding may stay in that memory, seconds.
    pub memory_ttl_s: u64,
    /// Longest wait for another worker's embedding, milliseconds.
    pub single_flight_wait_ms: u64,
    /// How long the notice of a worker that is encoding lasts if the worker dies, milliseconds.
    pub single_flight_lock_ms: u64,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// How long the breaker stays open, milliseconds.
    pub breaker_open_ms: u64,
    /// Whether tenants use each other's embeddings of the same prompt.
    pub shared_between_tenants: bool,
    /// Use embeddings of similar prompts unless the request overrides it.
    pub similar_enabled: bool,
    /// Lowest similarity, 0 to 1.
    pub similar_threshold: f64,
    /// Most prompts kept, and compared in one lookup, for the same content.
    pub similar_candidates_max: usize,
}
