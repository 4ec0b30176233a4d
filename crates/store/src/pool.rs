//! Connections with a time limit on every response.
//!
//! A peer that disappears silently (a cut network, a frozen host) leaves connections on which nothing ever arrives; the
//! operating system notices after a quarter of an hour. So every call has a time limit here. A connection whose call did
//! not finish, because of the limit or because its caller was dropped, is closed and not returned to the pool: it would
//! read the response to another query, or keep its place in the pool until it could.
//!
//! A pooler in front of Postgres that lends connections for a transaction at a time (pgbouncer in transaction mode) keeps no
//! settings and no prepared statements between two transactions. It is recognised by its refusal of our settings, and then each
//! call runs in a transaction of its own, which begins with them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgQueryResult, PgRow, PgStatement, PgTransactionManager, PgTypeInfo};
use sqlx::{AssertSqlSafe, Describe, Either, Error, Execute, Executor, PgConnection, Postgres, SqlSafeStr, SqlStr};
use sqlx_core::transaction::TransactionManager;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::error::StoreError;

/// The connections of a store.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    direct: PgPool,
    pooler: Arc<Pooler>,
    answer_max: Duration,
    suspicion: Suspicion,
}

/// How to use a pooler in transaction mode, if that is where the URL leads.
#[derive(Debug)]
pub(crate) struct Pooler {
    /// Connections without settings and without prepared statements that outlast a transaction.
    pub(crate) connections: PgPool,
    /// Begins a transaction with our settings.
    pub(crate) begin: String,
    /// Set as soon as the pooler has refused our settings.
    pub(crate) recognised: OnceLock<()>,
}

impl Pooler {
    fn recognise(&self) {
        if self.recognised.set(()).is_ok() {
            tracing::info!("database.url leads to a connection pooler; each statement gets a transaction of its own");
        }
    }
}

impl Pool {
    pub(crate) fn new(direct: PgPool, pooler: Pooler, answer_max: Duration, suspicion: Suspicion) -> Self {
        Self { direct, pooler: Arc::new(pooler), answer_max, suspicion }
    }

    /// The pool in use, for metrics and for closing it.
    pub(crate) fn connections(&self) -> &PgPool {
        self.recognised().map_or(&self.direct, |pooler| &pooler.connections)
    }

    fn recognised(&self) -> Option<&Pooler> {
        self.pooler.recognised.get().map(|()| &*self.pooler)
    }

    /// A connection to Postgres itself, for calls that need a session: with locks or settings that outlast a transaction.
    ///
    /// # Errors
    /// [`StoreError::Options`] if there is a pooler in between.
    pub(crate) async fn session(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        match self.direct.acquire().await {
            Err(error) if is_pooler(&error) => Err(StoreError::Options(
                "database.url leads to a connection pooler, through which the schema cannot be migrated and no machine can \
                 join. Run `api migrate` or `api workers` with a database.url that leads to Postgres itself, and set \
                 database.migrate_on_start to false for the fleet"
                    .to_owned(),
            )),
            other => Ok(other?),
        }
    }

    /// A connection for several calls: run them with [`Pool::in_time`], then [`Borrowed::settle`].
    pub(crate) async fn acquire(&self) -> Result<Borrowed, Error> {
        if let Some(pooler) = self.recognised() {
            return self.begin(pooler).await;
        }
        match self.direct.acquire().await {
            Ok(connection) => Ok(self.borrow(connection, false)),
            Err(error) if is_pooler(&error) => {
                self.pooler.recognise();
                self.begin(&self.pooler).await
            }
            Err(error) => Err(error),
        }
    }

    async fn begin(&self, pooler: &Pooler) -> Result<Borrowed, Error> {
        let mut borrowed = self.borrow(pooler.connections.acquire().await?, true);
        let begin = AssertSqlSafe(pooler.begin.clone()).into_sql_str();
        let begun = self.in_time(PgTransactionManager::begin(&mut borrowed, Some(begin))).await;
        begun.unwrap_or_else(|_| Err(late()))?;
        Ok(borrowed)
    }

    fn borrow(&self, connection: PoolConnection<Postgres>, in_transaction: bool) -> Borrowed {
        let end_max = in_transaction.then_some(self.answer_max);
        Borrowed { connection, answered: false, end_max, suspicion: self.suspicion.clone() }
    }

    /// Runs calls within the time limit.
    pub(crate) async fn in_time<T>(&self, calls: impl Future<Output = T>) -> Result<T, Elapsed> {
        timeout(self.answer_max, calls).await
    }
}

/// Whether the server is a pooler that refuses our settings, or was found to ignore them.
fn is_pooler(error: &Error) -> bool {
    match error {
        Error::Database(error) => error.message().contains("unsupported startup parameter"),
        Error::Protocol(text) => text == SETTINGS_IGNORED,
        _ => false,
    }
}

/// The error of a new connection whose settings did not arrive.
pub(crate) const SETTINGS_IGNORED: &str = "the server ignores our settings";

fn late() -> Error {
    let reason = "Postgres did not respond in time";
    Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, reason))
}

/// When a connection was last found to lead to the wrong server. After a failover, open connections lead to what is now a
/// standby, and would do so as long as they are used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Suspicion(Arc<Mutex<Option<Instant>>>);

impl Suspicion {
    /// Marks every currently open connection to be closed instead of being used again.
    fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        tracing::warn!("a connection leads to a Postgres that accepts no writes; opening new connections");
    }

    /// Whether a connection of this age was opened after the last suspicion.
    pub(crate) fn clears(&self, age: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|raised| raised.elapsed() > age)
    }
}

/// Errors that may mean that this server accepts no writes.
pub(crate) trait MayBeWrongServer {
    /// Whether this error does.
    fn is_wrong_server(&self) -> bool;
}

impl MayBeWrongServer for Error {
    /// 25006 read_only_sql_transaction: every statement of ours that can cause it writes.
    fn is_wrong_server(&self) -> bool {
        self.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "25006")
    }
}

impl MayBeWrongServer for StoreError {
    fn is_wrong_server(&self) -> bool {
        match self {
            Self::Unavailable(cause) => cause.is_wrong_server(),
            _ => false,
        }
    }
}

/// A connection that is closed when it is dropped before it was settled.
pub(crate) struct Borrowed {
    connection: PoolConnection<Postgres>,
    answered: bool,
    /// The transaction that its calls run in has to end within this time, if there is one.
    end_max: Option<Duration>,
    suspicion: Suspicion,
}

impl Borrowed {
    /// Returns the connection to the pool if its calls finished, and returns their result.
    pub(crate) async fn settle<T, E: From<Error> + MayBeWrongServer>(
        mut self,
        outcome: Result<Result<T, E>, Elapsed>,
    ) -> Result<T, E> {
        let Ok(mut answer) = outcome else { return Err(late().into()) };
        if let Some(limit) = self.end_max {
            let keep = answer.is_ok();
            let ended = timeout(limit, async {
                if keep {
                    PgTransactionManager::commit(&mut self.connection).await
                } else {
                    PgTransactionManager::rollback(&mut self.connection).await
                }
            });
            match ended.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if keep => answer = Err(error.into()),
                Ok(Err(_)) => return answer,
                Err(_) => return Err(late().into()),
            }
        }
        match answer {
            Err(error) if error.is_wrong_server() => {
                self.suspicion.raise();
                Err(error)
            }
            answer => {
                self.answered = true;
                answer
            }
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Borrowed {
    type Target = PgConnection;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

/// For single statements. Results are collected before they are returned; none of ours is large.
impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let gathered = async move {
            let mut connection = pool.acquire().await?;
            let outcome = pool.in_time(connection.fetch_many(query).try_collect::<Vec<_>>()).await;
            let answer: Vec<Either<PgQueryResult, PgRow>> = connection.settle(outcome).await?;
            Ok::<_, Error>(futures::stream::iter(answer.into_iter().map(Ok::<_, Error>)))
        };
        gathered.try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let answered = async move {
            let mut connection = pool.acquire().await?;
            let outcome = pool.in_time(connection.fetch_optional(query)).await;
            connection.settle(outcome).await
        };
        answered.boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        let prepared = async move {
            let mut connection = pool.acquire().await?;
            let outcome = pool.in_time(connection.prepare_with(sql, parameters)).await;
            connection.settle(outcome).await
        };
        prepared.boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        let described = async move {
            let mut connection = pool.acquire().await?;
            let outcome = pool.in_time(connection.describe(sql)).await;
            connection.settle(outcome).await
        };
        described.boxed()
    }
}
