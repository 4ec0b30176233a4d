//! Connections with a time limit on every response.
//!
//! A peer that disappears silently (a cut network, a frozen host) leaves connections on which nothing ever arrives; the
//! operating system notices after a quarter of an hour. So every call has a time limit here. A connection whose call did
//! not finish, because of the limit or because its caller was dropped, is closed and not returned to the pool: it would
//! read the response to another query, or keep its place in the pool until it could.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, PgConnection, Postgres, SqlStr};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::error::StoreError;

/// The connections of a store.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    connections: PgPool,
    answer_max: Duration,
    suspicion: Suspicion,
}

impl Pool {
    pub(crate) fn new(connections: PgPool, answer_max: Duration, suspicion: Suspicion) -> Self {
        Self { connections, answer_max, suspicion }
    }

    /// The pool itself, for calls with their own limits.
    pub(crate) fn connections(&self) -> &PgPool {
        &self.connections
    }

    /// A connection for several calls: run them with [`Pool::in_time`], then [`Borrowed::settle`].
    pub(crate) async fn acquire(&self) -> Result<Borrowed, Error> {
        let connection = self.connections.acquire().await?;
        Ok(Borrowed { connection, answered: false, suspicion: self.suspicion.clone() })
    }

    /// Runs calls within the time limit.
    pub(crate) async fn in_time<T>(&self, calls: impl Future<Output = T>) -> Result<T, Elapsed> {
        timeout(self.answer_max, calls).await
    }
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
    suspicion: Suspicion,
}

impl Borrowed {
    /// Returns the connection to the pool if its calls finished, and returns their result.
    pub(crate) fn settle<T, E: From<Error> + MayBeWrongServer>(
        mut self,
        outcome: Result<Result<T, E>, Elapsed>,
    ) -> Result<T, E> {
        match outcome {
            Ok(Err(error)) if error.is_wrong_server() => {
                self.suspicion.raise();
                Err(error)
            }
            Ok(answer) => {
                self.answered = true;
                answer
            }
            Err(_) => {
                let reason = "Postgres did not respond in time";
                Err(Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, reason)).into())
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
            let answer: Vec<Either<PgQueryResult, PgRow>> = connection.settle(outcome)?;
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
            connection.settle(outcome)
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
            connection.settle(outcome)
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
            connection.settle(outcome)
        };
        described.boxed()
    }
}
