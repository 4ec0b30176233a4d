//! The connection pool and its options.
//!
//! Rule: no call holds a connection while it waits for anything other than Postgres.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::error::{Result, StoreError};
use crate::pool::{Pool, Pooler, SETTINGS_IGNORED, Suspicion};

/// How much longer than its statement timeout a response may take. After that the connection is considered dead.
const ANSWER_SLACK: Duration = Duration::from_secs(2);

/// How to reach the database. Every value is a setting.
#[derive(Clone, PartialEq)]
pub struct StoreOptions {
    /// `postgres://user:password@host:port/database?sslmode=...`. Never shown by `Debug`.
    pub url: String,
    /// Most connections of this process. Postgres only queues more than it can serve at once.
    pub connections_max: u32,
    /// Connections kept open while idle, so that a burst does not begin with handshakes.
    pub connections_min: u32,
    /// Longest wait for a free connection, milliseconds; the call then fails as unavailable.
    pub acquire_timeout_ms: u64,
    /// Longest run of one statement, milliseconds, enforced by Postgres. 0 means no limit. A connection without a response
    /// for a little longer than this is closed.
    pub statement_timeout_ms: u64,
    /// Longest wait for a row that another transaction has locked, milliseconds, enforced by Postgres. 0 means no limit.
    pub lock_timeout_ms: u64,
    /// Idle connections are closed after this time, seconds.
    pub idle_timeout_s: u64,
    /// Shown in `pg_stat_activity`: `api`, `scheduler`, `worker`.
    pub application_name: String,
}

impl StoreOptions {
    /// Options with the defaults that `configuration/base.toml` documents.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections_max: 16,
            connections_min: 1,
            acquire_timeout_ms: 3_000,
            statement_timeout_ms: 30_000,
            lock_timeout_ms: 5_000,
            idle_timeout_s: 300,
            application_name: "fleet".to_owned(),
        }
    }

    /// Settings of every session.
    fn session_settings(&self) -> [(&'static str, String); 5] {
        [
            ("statement_timeout", self.statement_timeout_ms.to_string()),
            ("lock_timeout", self.lock_timeout_ms.to_string()),
            // A process that was stopped in the middle of a transaction must not hold its rows forever.
            ("idle_in_transaction_session_timeout", self.statement_timeout_ms.to_string()),
            ("timezone", "UTC".to_owned()),
            // Compiling a plan pays off in statements that run for seconds. With millions of jobs Postgres mistakes a release for one: it
            // took 210 ms with compilation and 30 to 45 without (docs/scale.md).
            ("jit", "off".to_owned()),
        ]
    }

    fn pool(&self, suspicion: &Suspicion, connections_min: u32) -> PgPoolOptions {
        let checked = suspicion.clone();
        PgPoolOptions::new()
            .before_acquire(move |_, connection| {
                let usable = checked.clears(connection.age);
                Box::pin(async move { Ok(usable) })
            })
            .max_connections(self.connections_max)
            .min_connections(connections_min.min(self.connections_max))
            .acquire_timeout(Duration::from_millis(self.acquire_timeout_ms))
            .idle_timeout(Duration::from_secs(self.idle_timeout_s))
    }

    fn answer_max(&self) -> Duration {
        match self.statement_timeout_ms {
            0 => Duration::MAX,
            ms => Duration::from_millis(ms) + ANSWER_SLACK,
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("url", &"[redacted]")
            .field("connections_max", &self.connections_max)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

/// Begins a transaction with these settings, in one round trip. What a client before us prepared on the pooler's connection
/// may have our names.
fn begin(settings: &[(&'static str, String)]) -> String {
    let set = settings.iter().map(|(name, value)| format!("; SET LOCAL {name} = '{value}'"));
    format!("BEGIN{}; DEALLOCATE ALL", set.collect::<String>())
}

/// Handle to everything in Postgres. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: Pool,
}

impl Store {
    /// Opens the pool and checks that the database responds.
    ///
    /// # Errors
    /// [`StoreError::Options`] for an invalid URL, [`StoreError::Unavailable`] when the database does not respond.
    pub async fn connect(options: &StoreOptions) -> Result<Self> {
        let store = Self::connect_lazy(options)?;
        store.ping().await?;
        Ok(store)
    }

    /// Opens the pool without connecting, for a process that must start while Postgres is unavailable.
    ///
    /// # Errors
    /// [`StoreError::Options`] for an invalid URL.
    pub fn connect_lazy(options: &StoreOptions) -> Result<Self> {
        if options.connections_max == 0 {
            return Err(StoreError::Options("database.pool_max must be at least 1".to_owned()));
        }
        let connect = PgConnectOptions::from_str(&options.url)
            // The parser's message may quote the URL, and with it the password.
            .map_err(|_| {
                StoreError::Options("database.url must be postgres://user:password@host:port/database".to_owned())
            })?
            .application_name(&options.application_name)
            // Postgres' own default is as exact, and poolers refuse the parameter.
            .extra_float_digits(None)
            .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1));
        // The URL's parser keeps the brackets of an IPv6 address, which no resolver understands.
        let bare = connect.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
        let connect = if let Some(host) = bare { connect.host(&host) } else { connect };
        let settings = options.session_settings();
        let suspicion = Suspicion::default();
        let pool = options.pool(&suspicion, 0);
        let pooler = Pooler {
            connections: pool.connect_lazy_with(connect.clone().statement_cache_capacity(0)),
            begin: begin(&settings),
            recognised: OnceLock::new(),
        };
        let wanted = options.statement_timeout_ms.to_string();
        let direct = options
            .pool(&suspicion, options.connections_min)
            .after_connect(move |connection, _| {
                let wanted = wanted.clone();
                Box::pin(async move {
                    let query = "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'";
                    let found = sqlx::raw_sql(query).fetch_one(connection).await?;
                    let found: String = sqlx::Row::try_get(&found, 0)?;
                    if found == wanted { Ok(()) } else { Err(sqlx::Error::Protocol(SETTINGS_IGNORED.to_owned())) }
                })
            })
            .connect_lazy_with(connect.options(settings));
        Ok(Self { pool: Pool::new(direct, pooler, options.answer_max(), suspicion) })
    }

    /// Checks that the database responds, in one round trip.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not respond.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Checks that the database accepts writes, in one round trip that changes nothing. A standby passes [`Store::ping`]
    /// and fails here. Needs the rights of the API or the scheduler.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping_writable(&self) -> Result<()> {
        sqlx::query("UPDATE leader SET one = one WHERE false").execute(&self.pool).await?;
        Ok(())
    }

    /// Open connections, and how many of them are in use, for metrics.
    #[must_use]
    pub fn pool_usage(&self) -> PoolUsage {
        let open = self.pool.connections().size();
        let idle = u32::try_from(self.pool.connections().num_idle()).unwrap_or(u32::MAX);
        PoolUsage { open, used: open.saturating_sub(idle) }
    }

    /// Closes the pool once the running calls have finished.
    pub async fn close(&self) {
        self.pool.connections().close().await;
    }
}

/// Use of the connection pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// Open connections.
    pub open: u32,
    /// How many of them are running a statement.
    pub used: u32,
}
