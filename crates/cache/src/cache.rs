//! Finds embeddings in the nearest place, or has them encoded exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::future::Cache;
use settings::{CacheSettings, RedisSettings};
use tracing::{debug, info, warn};

use crate::key::{embedding_key, normal_form};
use crate::redis::{CacheError, Redis};
use crate::similar::{Prompt, Similar};
use crate::value::StoredEmbeddings;

/// Pause between two checks for an embedding that another worker is encoding.
const WAIT_STEP: Duration = Duration::from_millis(50);
/// Similar prompts whose embeddings are fetched before giving up: the best ones' embeddings may have expired.
const SIMILAR_FETCHES_MAX: usize = 3;

/// Where embeddings came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This process's own memory.
    Memory,
    /// Redis.
    Redis,
    /// Redis, after waiting for a worker that was encoding them.
    Awaited,
    /// Redis, where they were stored for a similar prompt.
    Similar,
    /// Encoded for this call.
    Encoded,
}

impl Source {
    /// Whether the encoder's work was saved.
    #[must_use]
    pub fn is_hit(self) -> bool {
        self != Self::Encoded
    }
}

/// Embeddings and where they came from.
#[derive(Debug, Clone)]
pub struct Found {
    /// The embeddings.
    pub embeddings: Arc<StoredEmbeddings>,
    /// Where they came from.
    pub source: Source,
    /// Similarity of the prompt that they were encoded for, 0 to 1; only with [`Source::Similar`].
    pub score: Option<f64>,
}

impl Found {
    fn of(embeddings: Arc<StoredEmbeddings>, source: Source) -> Self {
        Self { embeddings, source, score: None }
    }
}

/// Statistics over all processes since Redis was last flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStats {
    /// Embeddings in Redis.
    pub keys: u64,
    /// Look-ups that found an embedding, in memory or in Redis.
    pub hits: u64,
    /// Look-ups that found nothing.
    pub misses: u64,
}

/// Handle to the cache. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddingCache {
    inner: Arc<Inner>,
}

struct Inner {
    redis: Redis,
    memory: Cache<String, Arc<StoredEmbeddings>>,
    settings: CacheSettings,
    damaged: AtomicU64,
}

impl std::fmt::Debug for EmbeddingCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddingCache").field("enabled", &self.is_enabled()).finish_non_exhaustive()
    }
}

impl EmbeddingCache {
    /// Opens the cache without connecting yet.
    ///
    /// # Errors
    /// [`CacheError::Settings`].
    pub fn open(redis: &RedisSettings, cache: &CacheSettings) -> Result<Self, CacheError> {
        let memory = Cache::builder()
            .max_capacity(cache.memory_max_bytes)
            .weigher(|key: &String, value: &Arc<StoredEmbeddings>| {
                u32::try_from(key.len() + value.size_bytes()).unwrap_or(u32::MAX)
            })
            .time_to_live(Duration::from_secs(cache.memory_ttl_s))
            .build();
        if cache.enabled {
            Redis::log_opened(redis);
        } else {
            info!("Cache: off, every prompt is encoded");
        }
        let redis = Redis::open(redis, cache)?;
        Ok(Self { inner: Arc::new(Inner { redis, memory, settings: cache.clone(), damaged: AtomicU64::new(0) }) })
    }

    /// Whether the cache is enabled in the settings.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.inner.settings.enabled
    }

    /// Values that this process found damaged or written by other software.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.inner.damaged.load(Ordering::Relaxed)
    }

    /// Failed Redis calls and damaged values in this process. Each was a miss.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.damaged() + self.inner.redis.failures()
    }

    /// Whether embeddings of similar prompts are used for requests that do not decide it.
    #[must_use]
    pub fn similar_by_default(&self) -> bool {
        self.inner.settings.similar_enabled
    }

    /// Returns a tenant's embeddings of a text: stored ones, else those of a similar prompt if that is allowed, else the result of
    /// `encode`. If several workers miss the same text at once, one encodes and the others wait for it. With the cache off,
    /// always calls `encode`. Without `similar` the text is neither compared nor noted.
    ///
    /// # Errors
    /// The error of `encode`. A failing Redis is never an error.
    pub async fn get_or_encode<F, E>(
        &self,
        encoder_fingerprint: &str,
        tenant: &str,
        text: &str,
        similar: Option<Similar<'_>>,
        encode: impl FnOnce(String) -> F,
    ) -> Result<Found, E>
    where
        F: Future<Output = Result<StoredEmbeddings, E>>,
    {
        let text = normal_form(text);
        if !self.is_enabled() {
            return Ok(Found::of(Arc::new(encode(text).await?), Source::Encoded));
        }
        let key = self.key(encoder_fingerprint, tenant, &text);
        let prompt = similar.and_then(|similar| Prompt::of(&similar, encoder_fingerprint, &text));
        if let Some(found) = self.find(&key, encoder_fingerprint).await {
            self.note(prompt.as_ref(), &key).await;
            self.count(true).await;
            return Ok(found);
        }
        if similar.is_some_and(|similar| similar.allowed)
            && let Some(prompt) = &prompt
            && let Some(found) = self.find_similar(prompt, encoder_fingerprint).await
        {
            self.count(true).await;
            return Ok(found);
        }
        let lock = format!("fleet:encoding:{key}");
        let owner = uuid::Uuid::new_v4().to_string();
        let locked = self.inner.redis.lock(&lock, &owner, self.inner.settings.single_flight_lock_ms).await;
        let made_meanwhile = match locked {
            Ok(false) => self.await_other(&key, &lock, encoder_fingerprint).await,
            // Another worker may have stored it and released its lock between our look-up and our lock.
            Ok(true) => self.fetch(&key, encoder_fingerprint).await,
            Err(_) => None,
        };
        if let Some(embeddings) = made_meanwhile {
            self.unlock(&lock, &owner, &locked).await;
            self.note(prompt.as_ref(), &key).await;
            self.count(true).await;
            return Ok(Found::of(embeddings, Source::Awaited));
        }
        self.count(false).await;
        let encoded = encode(text).await;
        if let Ok(embeddings) = &encoded {
            self.put(&key, embeddings).await;
            self.note(prompt.as_ref(), &key).await;
        }
        self.unlock(&lock, &owner, &locked).await;
        Ok(Found::of(Arc::new(encoded?), Source::Encoded))
    }

    /// Whether embeddings of this text are stored that the tenant would get; `false` when Redis is unavailable.
    pub async fn exists(&self, encoder_fingerprint: &str, tenant: &str, text: &str) -> bool {
        let key = self.key(encoder_fingerprint, tenant, text);
        self.is_enabled() && self.inner.redis.exists(&key).await.unwrap_or(false)
    }

    /// Whether Redis is available.
    pub async fn ping(&self) -> bool {
        self.inner.redis.ping().await.is_ok()
    }

    /// Statistics of the cache.
    ///
    /// # Errors
    /// [`CacheError`] when Redis is unavailable.
    pub async fn stats(&self) -> Result<CacheStats, CacheError> {
        let (hits, misses) = self.inner.redis.counters().await?;
        Ok(CacheStats { keys: self.inner.redis.keys().await?, hits, misses })
    }

    fn key(&self, encoder_fingerprint: &str, tenant: &str, text: &str) -> String {
        let tenant = (!self.inner.settings.shared_between_tenants).then_some(tenant);
        embedding_key(encoder_fingerprint, tenant, text)
    }

    async fn find(&self, key: &str, fingerprint: &str) -> Option<Found> {
        let settings = &self.inner.settings;
        if let Some(embeddings) = self.inner.memory.get(key).await {
            // A hit in memory also refreshes the shared copy, and restores it after a flush.
            let kept =
                if settings.refresh_on_hit { self.inner.redis.refresh(key, settings.ttl_s).await } else { Ok(true) };
            if matches!(kept, Ok(false)) {
                self.put_shared(key, &embeddings).await;
            }
            return Some(Found::of(embeddings, Source::Memory));
        }
        let embeddings = self.fetch(key, fingerprint).await?;
        Some(Found::of(embeddings, Source::Redis))
    }

    /// The embeddings of the most similar prompt whose embeddings are still stored.
    async fn find_similar(&self, prompt: &Prompt, fingerprint: &str) -> Option<Found> {
        let settings = &self.inner.settings;
        let noted = self.inner.redis.newest(&prompt.list, settings.similar_candidates_max).await.ok()?;
        for (score, key) in prompt.best(&noted, settings.similar_threshold).into_iter().take(SIMILAR_FETCHES_MAX) {
            if let Some(found) = self.find(&key, fingerprint).await {
                return Some(Found { source: Source::Similar, score: Some(score), ..found });
            }
        }
        None
    }

    /// Notes the key of the prompt's embeddings, so that later similar prompts find them.
    async fn note(&self, prompt: Option<&Prompt>, key: &str) {
        let settings = &self.inner.settings;
        let Some(prompt) = prompt else { return };
        // A failure is already logged; similar prompts then do not find this one.
        let member = prompt.member(key);
        drop(self.inner.redis.note(&prompt.list, &member, settings.similar_candidates_max, settings.ttl_s).await);
    }

    async fn fetch(&self, key: &str, fingerprint: &str) -> Option<Arc<StoredEmbeddings>> {
        let settings = &self.inner.settings;
        let refresh_s = settings.refresh_on_hit.then_some(settings.ttl_s);
        let bytes = self.inner.redis.get(key, refresh_s).await.ok()??;
        match StoredEmbeddings::from_bytes(&bytes, fingerprint) {
            Ok(embeddings) => {
                let embeddings = Arc::new(embeddings);
                self.keep_in_memory(key, &embeddings).await;
                Some(embeddings)
            }
            Err(error) => {
                self.inner.damaged.fetch_add(1, Ordering::Relaxed);
                warn!(%error, key, "Cache: a value cannot be used and counts as a miss");
                // Remove it: it would fail every later look-up and be counted again.
                drop(self.inner.redis.remove(key).await);
                None
            }
        }
    }

    /// Waits for the embedding that another worker is encoding, until it is stored, that worker has given up, or the time
    /// is up.
    async fn await_other(&self, key: &str, lock: &str, fingerprint: &str) -> Option<Arc<StoredEmbeddings>> {
        let deadline = Instant::now() + Duration::from_millis(self.inner.settings.single_flight_wait_ms);
        while Instant::now() < deadline {
            // Checked before the value, because a worker stores first and unlocks afterwards.
            let still_locked = self.inner.redis.exists(lock).await.ok()?;
            if let Some(embeddings) = self.fetch(key, fingerprint).await {
                return Some(embeddings);
            }
            if !still_locked {
                return None;
            }
            tokio::time::sleep(WAIT_STEP).await;
        }
        None
    }

    async fn unlock(&self, lock: &str, owner: &str, locked: &Result<bool, CacheError>) {
        if matches!(locked, Ok(true)) && self.inner.redis.unlock(lock, owner).await.is_err() {
            debug!("could not release the lock; it expires on its own");
        }
    }

    async fn put(&self, key: &str, embeddings: &StoredEmbeddings) {
        self.put_shared(key, embeddings).await;
        self.keep_in_memory(key, &Arc::new(embeddings.clone())).await;
    }

    async fn put_shared(&self, key: &str, embeddings: &StoredEmbeddings) {
        // A failure is already logged; the next worker that needs the text encodes it again.
        drop(self.inner.redis.put(key, &embeddings.to_bytes(), self.inner.settings.ttl_s).await);
    }

    async fn keep_in_memory(&self, key: &str, embeddings: &Arc<StoredEmbeddings>) {
        if self.inner.settings.memory_max_bytes > 0 {
            self.inner.memory.insert(key.to_owned(), Arc::clone(embeddings)).await;
        }
    }

    async fn count(&self, hit: bool) {
        // Statistics may miss what happened while Redis was unavailable; jobs have their own record.
        drop(self.inner.redis.count(hit).await);
    }
}
