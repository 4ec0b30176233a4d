//! Redis itself: every call has a time limit and goes through the breaker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use deadpool_redis::redis::{self, AsyncCommands, FromRedisValue, RedisError, cmd};
use deadpool_redis::{
    Config, Connection, ConnectionAddr, ConnectionInfo, Pool, PoolConfig, RedisConnectionInfo, Runtime,
};
use settings::{CacheSettings, RedisSettings};
use tracing::{info, warn};

use crate::breaker::Breaker;

/// Counters of look-ups: a hash with `hits` and `misses`. Not under `embed:`, so that those keys are embeddings alone.
const COUNTERS: &str = "fleet:embeddings";
/// Keys scanned per round trip of a count.
const SCAN_COUNT: usize = 1000;

/// A failed call of Redis. For a render it counts as a miss.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The settings are invalid.
    #[error("redis settings: {0}")]
    Settings(String),
    /// Redis failed recently, and the breaker is open.
    #[error("Redis failed recently and is not called for a while")]
    LeftAlone,
    /// No response in time.
    #[error("Redis did not respond within {ms} ms")]
    Timeout {
        /// The limit, milliseconds.
        ms: u64,
    },
    /// No connection could be opened.
    #[error("Redis cannot be reached: {0}")]
    Pool(#[from] deadpool_redis::PoolError),
    /// Redis returned an error.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
}

impl CacheError {
    /// Whether a write reached a replica.
    fn is_wrong_server(&self) -> bool {
        matches!(self, Self::Redis(error) if error.code() == Some("READONLY"))
    }
}

/// Plain TCP or TLS. The client library uses the process's TLS implementation, so that must be installed first.
fn address(redis: &RedisSettings) -> ConnectionAddr {
    if !redis.tls {
        return ConnectionAddr::Tcp(redis.host.clone(), redis.port);
    }
    // Installing fails only if another part of the process installed one already, which is fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    ConnectionAddr::TcpTls { host: redis.host.clone(), port: redis.port, insecure: false }
}

/// Milliseconds since 1970. Only the order of notes depends on it.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) struct Redis {
    pool: Pool,
    breaker: Breaker,
    limit_ms: u64,
    failures: AtomicU64,
}

impl Redis {
    pub(crate) fn open(redis: &RedisSettings, cache: &CacheSettings) -> Result<Self, CacheError> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let config = Config {
            url: None,
            connection: Some(ConnectionInfo {
                addr: address(redis),
                redis: RedisConnectionInfo {
                    db: redis.database,
                    username: some(&redis.username),
                    password: some(redis.password.expose()),
                    ..RedisConnectionInfo::default()
                },
            }),
            pool: Some(PoolConfig::new(redis.pool_max.max(1))),
        };
        let connect = Duration::from_millis(redis.connect_timeout_ms);
        let pool = config
            .builder()
            .map_err(|error| CacheError::Settings(error.to_string()))?
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(connect))
            .wait_timeout(Some(connect))
            .recycle_timeout(Some(connect))
            .build()
            .map_err(|error| CacheError::Settings(error.to_string()))?;
        let breaker = Breaker::new(cache.breaker_failures, Duration::from_millis(cache.breaker_open_ms));
        Ok(Self { pool, breaker, limit_ms: redis.response_timeout_ms, failures: AtomicU64::new(0) })
    }

    /// Calls that failed. Calls that the breaker prevented do not count.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Runs one exchange within the time limit, and reports the outcome to the breaker.
    async fn ask<T, F>(&self, talk: impl FnOnce(Connection) -> F) -> Result<T, CacheError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        if !self.breaker.allows(Instant::now()) {
            return Err(CacheError::LeftAlone);
        }
        let whole = async { talk(self.pool.get().await?).await.map_err(CacheError::from) };
        let limit = Duration::from_millis(self.limit_ms);
        let answer = tokio::time::timeout(limit, whole).await;
        let answer = answer.unwrap_or(Err(CacheError::Timeout { ms: self.limit_ms }));
        match &answer {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => {
                if error.is_wrong_server() {
                    // After a failover, open connections lead to what is now a replica, and would do so as long as they are used.
                    self.pool.retain(|_, _| false);
                }
                self.breaker.failed(Instant::now());
                self.failures.fetch_add(1, Ordering::Relaxed);
                warn!(%error, "Cache: Redis failed");
            }
        }
        answer
    }

    async fn run<T: FromRedisValue>(&self, command: redis::Cmd) -> Result<T, CacheError> {
        self.ask(|mut connection| async move { command.query_async(&mut connection).await }).await
    }

    pub(crate) async fn ping(&self) -> Result<(), CacheError> {
        self.run::<String>(cmd("PING")).await.map(drop)
    }

    /// Reads a value; `refresh_s` also resets its expiry.
    pub(crate) async fn get(&self, key: &str, refresh_s: Option<u64>) -> Result<Option<Vec<u8>>, CacheError> {
        let mut command = cmd(if refresh_s.is_some() { "GETEX" } else { "GET" });
        command.arg(key);
        if let Some(seconds) = refresh_s {
            command.arg("EX").arg(seconds);
        }
        self.run(command).await
    }

    pub(crate) async fn put(&self, key: &str, value: &[u8], ttl_s: u64) -> Result<(), CacheError> {
        self.ask(|mut connection| async move { connection.set_ex(key, value, ttl_s).await }).await
    }

    /// Resets a value's expiry; `false` when the value does not exist.
    pub(crate) async fn refresh(&self, key: &str, ttl_s: u64) -> Result<bool, CacheError> {
        let seconds = i64::try_from(ttl_s).unwrap_or(i64::MAX);
        self.ask(|mut connection| async move { connection.expire(key, seconds).await }).await
    }

    pub(crate) async fn remove(&self, key: &str) -> Result<(), CacheError> {
        self.ask(|mut connection| async move { connection.del(key).await }).await
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool, CacheError> {
        self.ask(|mut connection| async move { connection.exists(key).await }).await
    }

    /// Takes a lock that expires on its own; `false` when another owner has it.
    pub(crate) async fn lock(&self, name: &str, owner: &str, ms: u64) -> Result<bool, CacheError> {
        let mut command = cmd("SET");
        command.arg(name).arg(owner).arg("NX").arg("PX").arg(ms.max(1));
        self.run::<Option<String>>(command).await.map(|answer| answer.is_some())
    }

    /// Releases a lock, unless it has expired and belongs to another owner.
    pub(crate) async fn unlock(&self, name: &str, owner: &str) -> Result<(), CacheError> {
        const DELETE_IF_MINE: &str =
            "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
        let mut command = cmd("EVAL");
        command.arg(DELETE_IF_MINE).arg(1).arg(name).arg(owner);
        self.run::<i64>(command).await.map(drop)
    }

    /// Puts `member` first in a list that keeps the newest `max` distinct members, and resets the list's expiry.
    pub(crate) async fn note(&self, list: &str, member: &[u8], max: usize, ttl_s: u64) -> Result<(), CacheError> {
        let Some(last_kept) = isize::try_from(max).ok().filter(|max| *max > 0).map(|max| -max - 1) else {
            return Ok(());
        };
        let mut commands = redis::pipe();
        commands.atomic().zadd(list, member, now_ms()).ignore();
        commands.zremrangebyrank(list, 0, last_kept).ignore();
        commands.expire(list, i64::try_from(ttl_s).unwrap_or(i64::MAX)).ignore();
        self.ask(|mut connection| async move { commands.query_async(&mut connection).await }).await
    }

    /// The newest members of such a list.
    pub(crate) async fn newest(&self, list: &str, max: usize) -> Result<Vec<Vec<u8>>, CacheError> {
        let Some(last) = isize::try_from(max).ok().filter(|max| *max > 0).map(|max| max - 1) else {
            return Ok(Vec::new());
        };
        self.ask(|mut connection| async move { connection.zrevrange(list, 0, last).await }).await
    }

    pub(crate) async fn count(&self, hit: bool) -> Result<(), CacheError> {
        let field = if hit { "hits" } else { "misses" };
        self.ask(|mut connection| async move { connection.hincr(COUNTERS, field, 1).await }).await
    }

    pub(crate) async fn counters(&self) -> Result<(u64, u64), CacheError> {
        let mut command = cmd("HMGET");
        command.arg(COUNTERS).arg("hits").arg("misses");
        let (hits, misses): (Option<u64>, Option<u64>) = self.run(command).await?;
        Ok((hits.unwrap_or_default(), misses.unwrap_or_default()))
    }

    /// Number of embeddings. Redis's memory limit bounds them to some thousands, so scanning them is cheap.
    pub(crate) async fn keys(&self) -> Result<u64, CacheError> {
        let (mut cursor, mut found) = (0u64, 0u64);
        loop {
            let mut command = cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg("embed:*").arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<String>) = self.run(command).await?;
            found += keys.len() as u64;
            if next == 0 {
                return Ok(found);
            }
            cursor = next;
        }
    }

    pub(crate) fn log_opened(redis: &RedisSettings) {
        info!(host = redis.host, port = redis.port, "Cache: embeddings are shared through Redis");
    }
}
