//! Redis is gone or hangs, simulated by a proxy in front of the real one: jobs get their embeddings, and soon stop calling
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache::Source;
use settings::{CacheSettings, RedisSettings};
use testkit::{PrivateStack, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Encoder, ask, number, open_impatient as open, settings, shared_only};

const TEXT: &str = "a red ball rolls down a hill";

/// Forwards bytes while it flows; otherwise holds them back and keeps connections open.
struct Proxy {
    redis: RedisSettings,
    /// Where new connections lead.
    target: watch::Sender<(String, u16)>,
    flows: watch::Sender<bool>,
    /// Blocks of bytes received from clients.
    asked: Arc<AtomicU64>,
}

impl Proxy {
    async fn before(redis: &RedisSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (flows, flowing) = watch::channel(true);
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let (target, targets) = watch::channel((redis.host.clone(), redis.port));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (host, port) = targets.borrow().clone();
                let Ok(server) = TcpStream::connect((host.as_str(), port)).await else { return };
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                tokio::spawn(pass(client_in, server_out, flowing.clone(), Some(Arc::clone(&counter))));
                tokio::spawn(pass(server_in, client_out, flowing.clone(), None));
            }
        });
        // Long enough for a busy machine that does respond; a hang costs it once.
        let (connect_timeout_ms, response_timeout_ms) = (3_000, 3_000);
        let host = "127.0.0.1".to_owned();
        let redis = RedisSettings { host, port, connect_timeout_ms, response_timeout_ms, ..redis.clone() };
        Self { redis, target, flows, asked }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut flowing: watch::Receiver<bool>,
    count: Option<Arc<AtomicU64>>,
) {
    let mut block = [0_u8; 4096];
    while let Ok(length @ 1..) = from.read(&mut block).await {
        if let Some(count) = &count {
            count.fetch_add(1, Ordering::SeqCst);
        }
        if flowing.wait_for(|flows| *flows).await.is_err() || to.write_all(&block[..length]).await.is_err() {
            return;
        }
    }
}

/// A breaker that opens after one failure and stays open for the whole test.
fn wary() -> CacheSettings {
    CacheSettings { breaker_failures: 1, breaker_open_ms: 3_600_000, ..shared_only() }
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_wait_and_is_then_not_called() {
    let proxy = Proxy::before(&testkit::redis::database()).await;
    let encoder = Encoder::default();
    let cache = open(&proxy.redis, &wary());
    encoder.get(&cache, TEXT).await;
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Redis, "the proxy works");
    proxy.flows.send_replace(false);
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Encoded);
    let asked = proxy.asked();
    for _ in 0..5 {
        assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Encoded);
    }
    assert_eq!(proxy.asked(), asked, "nothing more was sent");
    assert!(!cache.ping().await && cache.stats().await.is_err());
}

#[tokio::test]
async fn memory_serves_while_redis_hangs() {
    let proxy = Proxy::before(&testkit::redis::database()).await;
    let encoder = Encoder::default();
    let cache = open(&proxy.redis, &CacheSettings { memory_max_bytes: settings().memory_max_bytes, ..wary() });
    encoder.get(&cache, TEXT).await;
    proxy.flows.send_replace(false);
    for _ in 0..3 {
        assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Memory);
    }
    assert_eq!(encoder.runs(), 1);
}

#[tokio::test]
async fn when_redis_responds_again_it_is_used_again() {
    let proxy = Proxy::before(&testkit::redis::database()).await;
    let encoder = Encoder::default();
    let cache = open(&proxy.redis, &CacheSettings { breaker_open_ms: 20, ..wary() });
    encoder.get(&cache, TEXT).await;
    proxy.flows.send_replace(false);
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Encoded);
    proxy.flows.send_replace(true);
    let hit = || async { encoder.get(&cache, TEXT).await.source.is_hit().then_some(()) };
    eventually("Redis is used again", Duration::from_secs(60), hit).await;
}

/// A Redis of its own; its settings.
fn private() -> (PrivateStack, RedisSettings) {
    let stack = PrivateStack::only(&["redis"]);
    let (host, port) = (stack.services.redis_host.clone(), stack.services.redis_port);
    (stack, RedisSettings { host, port, ..settings::Settings::defaults().redis })
}

#[tokio::test]
async fn after_a_failover_connections_to_what_is_now_a_replica_are_closed() {
    let ((_first, old), (_second, new)) = (private(), private());
    let proxy = Proxy::before(&old).await;
    let encoder = Encoder::default();
    let cache = open(&proxy.redis, &CacheSettings { breaker_open_ms: 20, ..wary() });
    encoder.get(&cache, TEXT).await;
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Redis, "a connection to the first one is open");

    // The other one takes over its name; open connections stay where they are.
    proxy.target.send_replace((new.host.clone(), new.port));
    ask(&old, &["REPLICAOF", &new.host, &new.port.to_string()]);
    let stored = || async { encoder.get(&cache, "a blue square").await.source.is_hit().then_some(()) };
    eventually("embeddings are stored in the new primary", Duration::from_secs(60), stored).await;
    assert!(number(&new, &["DBSIZE"]) > 0);
}

#[tokio::test]
async fn a_redis_that_is_gone_fails_no_job() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("it is bound").port();
    let redis = RedisSettings { host: "127.0.0.1".to_owned(), port: nobody, ..settings::Settings::defaults().redis };
    let encoder = Encoder::default();
    let cache = open(&redis, &settings());
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Encoded);
    assert_eq!(encoder.get(&cache, TEXT).await.source, Source::Memory);
}
