//! The connection: one for each process, kept up by a task that never gives up.
//!
//! The client library can recover by itself, but it gives up after some tries and does not reopen channels that RabbitMQ
//! closed. A supervisor that simply reconnects, and users that simply open a new channel, cover every case alike.
//!
//! Rule: code that keeps a channel watches the link and drops the channel when the link changes. A connection that was
//! given up may come back to life (its host was frozen); it must not have users then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use settings::BrokerSettings;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use crate::error::BrokerError;
use crate::link::{Link, Silence, in_time};
use crate::messages::FleetEvent;
use crate::tells::send_told;
use crate::topology;
use crate::user::user_of;

/// How often the supervisor checks the connection.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Calls without a response, one after the other, after which a connection that looks alive is given up. This also replaces a
/// connection that an alarm has blocked, needlessly but cheaply.
const SILENCE_MAX: u32 = 3;

/// Handle to RabbitMQ. Cheap to clone; the connection closes with the last clone.
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("connected", &*self.inner.health.borrow()).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) settings: BrokerSettings,
    pub(crate) link: Link,
    pub(crate) health: watch::Receiver<bool>,
    /// The channel with confirms, and its connection. Opened when needed, dropped when anything goes wrong with it.
    pub(crate) confirmed: Mutex<Option<(Weak<Connection>, Channel)>>,
    pub(crate) told: mpsc::Sender<FleetEvent>,
    pub(crate) dropped_tells: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    /// Above a limit the supervisor replaces the connection.
    pub(crate) silence: Arc<Silence>,
    _stop: DropGuard,
}

impl Broker {
    /// The user of the connection, by which others recognise its messages; empty if the URL leaves the choice to a client
    /// certificate.
    #[must_use]
    pub fn user(&self) -> String {
        user_of(&self.inner.settings)
    }

    /// Starts connecting in the background and returns at once. `name` is shown in RabbitMQ's management pages.
    #[must_use]
    pub fn connect(settings: &BrokerSettings, name: &str) -> Self {
        let (link_sender, link) = watch::channel(None);
        let (health_sender, health) = watch::channel(false);
        let (told, waiting) = mpsc::channel(settings.progress_buffer.max(1));
        let stop = CancellationToken::new();
        let silence = Arc::<Silence>::default();
        let supervisor = Supervisor {
            settings: settings.clone(),
            name: name.to_owned(),
            link: link_sender,
            health: health_sender,
            silence: Arc::clone(&silence),
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(supervisor.run()));
        let inner = Inner {
            settings: settings.clone(),
            link: link.clone(),
            health,
            confirmed: Mutex::new(None),
            told,
            dropped_tells: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            silence,
            _stop: stop.clone().drop_guard(),
        };
        tokio::spawn(stop.run_until_cancelled_owned(send_told(link, settings.clone(), waiting)));
        Self { inner: Arc::new(inner) }
    }

    /// Whether RabbitMQ is connected, as a watch, so that callers can wait for a change.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<bool> {
        self.inner.health.clone()
    }

    /// Whether RabbitMQ is connected right now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.inner.health.borrow()
    }

    /// Events that were dropped because they came faster than RabbitMQ took them.
    #[must_use]
    pub fn dropped_tells(&self) -> u64 {
        self.inner.dropped_tells.load(Ordering::Relaxed)
    }

    /// Messages that this process could not read.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.inner.unreadable.load(Ordering::Relaxed)
    }

    /// The current connection.
    pub(crate) fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        self.inner.link.borrow().clone().ok_or(BrokerError::NotConnected)
    }

    /// A fresh channel.
    pub(crate) async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.connection()?;
        self.rpc(connection.create_channel()).await
    }

    /// A view of the link that reports every change from now on.
    pub(crate) fn watch_link(&self) -> Link {
        let mut link = self.inner.link.clone();
        link.mark_unchanged();
        link
    }

    pub(crate) async fn rpc<T>(&self, call: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
        let began = Instant::now();
        let answer = in_time(self.inner.settings.rpc_timeout_ms, call).await;
        self.heard(began, &answer);
        answer?.map_err(BrokerError::from)
    }

    /// Notes whether a call that began at `began` had a response.
    pub(crate) fn heard<T>(&self, began: Instant, answer: &Result<T, BrokerError>) {
        if matches!(answer, Err(BrokerError::Timeout { .. })) {
            self.inner.silence.timed_out(began, Instant::now());
        } else {
            self.inner.silence.broken();
        }
    }
}

struct Supervisor {
    settings: BrokerSettings,
    name: String,
    link: watch::Sender<Option<Arc<Connection>>>,
    health: watch::Sender<bool>,
    silence: Arc<Silence>,
}

impl Supervisor {
    async fn run(self) {
        let mut wait = Duration::from_millis(self.settings.reconnect_min_ms);
        let mut said = String::new();
        loop {
            match self.open().await {
                Ok(connection) => {
                    info!(url = %self.settings.url, "RabbitMQ connected");
                    said.clear();
                    wait = Duration::from_millis(self.settings.reconnect_min_ms);
                    let connection = Arc::new(connection);
                    self.link.send_replace(Some(Arc::clone(&connection)));
                    self.health.send_replace(true);
                    self.silence.broken();
                    while connection.status().connected() && self.silence.count() < SILENCE_MAX {
                        tokio::time::sleep(WATCH_INTERVAL).await;
                    }
                    self.health.send_replace(false);
                    self.link.send_replace(None);
                    warn!("RabbitMQ connection lost; reconnecting");
                    tokio::spawn(give_up(connection, self.settings.rpc_timeout_ms));
                }
                Err(error) => {
                    // Once for each reason: tries follow each other quickly, and never end.
                    let reason = self.reason(&error);
                    if reason != said {
                        warn!(url = %self.settings.url, reason, "RabbitMQ cannot be reached; trying again");
                        said = reason;
                    }
                    wait = (wait * 2).min(Duration::from_millis(self.settings.reconnect_max_ms));
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// An error with what to do about it, without the password.
    fn reason(&self, error: &BrokerError) -> String {
        let text = error.to_string();
        let advice = if text.contains("ACCESS_REFUSED") || text.contains("ACCESS-REFUSED") {
            "; correct the user or the password in broker.url"
        } else if text.contains("NOT_ALLOWED") || text.contains("NOT-ALLOWED") {
            "; create the virtual host that broker.url names and give the user rights to it (rabbitmqctl add_vhost, set_permissions)"
        } else {
            ""
        };
        format!("{}{advice}", text.replace(self.settings.url.expose(), "broker.url"))
    }

    /// Connects and declares the shared topology. A connection on which that fails is closed.
    async fn open(&self) -> Result<Connection, BrokerError> {
        let connection = self.connect().await?;
        let declared = async {
            let channel = connection.create_channel().await?;
            topology::declare_shared(&channel).await?;
            channel.close(200, "declared".into()).await
        };
        match in_time(self.settings.rpc_timeout_ms.saturating_mul(3), declared).await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(error)) if is_refused(&error) => {
                // A worker on another machine has a user without this right; the fleet's own processes have declared it.
                debug!(%error, "this user may not declare the shared topology");
                Ok(connection)
            }
            failed => {
                tokio::spawn(give_up(Arc::new(connection), self.settings.rpc_timeout_ms));
                failed?.map_err(BrokerError::from).and(Err(BrokerError::NotConnected))
            }
        }
    }

    /// Connects within the time limit. The client library cannot be stopped halfway: an attempt that succeeds later (the
    /// host was frozen) is closed then, or each would stay open beside the one that is used.
    async fn connect(&self) -> Result<Connection, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let address = address(self.settings.url.expose(), self.settings.heartbeat_s)?;
        let (made, connection) = oneshot::channel();
        let rpc_timeout_ms = self.settings.rpc_timeout_ms;
        tokio::spawn(async move {
            let attempt = Connection::connect_uri(address, properties).await;
            if let Err(Ok(late)) = made.send(attempt) {
                give_up(Arc::new(late), rpc_timeout_ms).await;
            }
        });
        match in_time(self.settings.connect_timeout_ms, connection).await? {
            Ok(attempt) => attempt.map_err(BrokerError::from),
            Err(_) => Err(BrokerError::NotConnected),
        }
    }
}

/// Closes a connection that must not be used any more, if RabbitMQ still responds.
async fn give_up(connection: Arc<Connection>, ms: u64) {
    if let Err(error) = in_time(ms, connection.close(200, "given up".into())).await {
        debug!(%error, "a connection that was given up could not be closed");
    }
}

/// Whether RabbitMQ refused access.
fn is_refused(error: &lapin::Error) -> bool {
    let refused = AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED);
    matches!(error.kind(), ErrorKind::ProtocolError(answer) if *answer.kind() == refused)
}

/// The address, with the heartbeat.
fn address(url: &str, heartbeat_s: u16) -> Result<AMQPUri, BrokerError> {
    let mut address: AMQPUri = with_heartbeat(url, heartbeat_s).parse().map_err(|_| BrokerError::Address)?;
    // The parser does not take an IPv6 address for a host, and would connect to localhost.
    if let Some(host) = ipv6_host(url) {
        host.clone_into(&mut address.authority.host);
    }
    Ok(address)
}

/// The IPv6 address that a URL names as its host, without its brackets.
fn ipv6_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit('@').next()?;
    host.strip_prefix('[')?.split_once(']').map(|(address, _)| address)
}

/// Requests the heartbeat through the URL, unless the URL already has one.
fn with_heartbeat(url: &str, heartbeat_s: u16) -> String {
    if url.contains("heartbeat=") {
        return url.to_owned();
    }
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}heartbeat={heartbeat_s}")
}

#[cfg(test)]
mod tests {
    use super::{address, with_heartbeat};

    #[test]
    fn an_ipv6_address_is_one_that_a_resolver_understands() {
        let found = address("amqp://fleet:fleet@[::1]:5673/v", 10).unwrap();
        assert_eq!((found.authority.host.as_str(), found.authority.port, found.vhost.as_str()), ("::1", 5673, "v"));
        assert_eq!(address("amqp://h", 10).unwrap().authority.host, "h");
        assert!(address("amqp//h", 10).is_err());
    }

    #[test]
    fn the_heartbeat_joins_the_url() {
        assert_eq!(with_heartbeat("amqp://h", 10), "amqp://h?heartbeat=10");
        assert_eq!(with_heartbeat("amqp://h/v?frame_max=9", 10), "amqp://h/v?frame_max=9&heartbeat=10");
        assert_eq!(with_heartbeat("amqp://h/v?heartbeat=3", 10), "amqp://h/v?heartbeat=3");
    }
}
