//! Connections with a limit on every answer.
//!
//! A peer that went away without a word (a cut network, a frozen host) leaves connections on which nothing ever comes; the
//! operating system notices after a quarter of an hour. So every call has a limit here, and a connection whose call did
//! not finish, be it for the limit or because its caller went away, is closed and not given back: it would read the
//! answer to another question, or keep its place in the pool until it could.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, PgConnection, Postgres, SqlStr};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// The connections of a store.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    connections: PgPool,
    answer_max: Duration,
}

impl Pool {
    pub(crate) fn new(connections: PgPool, answer_max: Duration) -> Self {
        Self { connections, answer_max }
    }

    /// The pool itself, for what has limits of its own.
    pub(crate) fn connections(&self) -> &PgPool {
        &self.connections
    }

    /// A connection for several calls: run them [`Pool::in_time`], then [`Borrowed::settle`].
    pub(crate) async fn acquire(&self) -> Result<Borrowed, Error> {
        Ok(Borrowed { connection: self.connections.acquire().await?, answered: false })
    }

    /// Runs calls within the limit.
    pub(crate) async fn in_time<T>(&self, calls: impl Future<Output = T>) -> Result<T, Elapsed> {
        timeout(self.answer_max, calls).await
    }
}

/// A connection that is closed when it is dropped before it was settled.
pub(crate) struct Borrowed {
    connection: PoolConnection<Postgres>,
    answered: bool,
}

impl Borrowed {
    /// Gives the connection back if its calls came to an end, and answers what they did.
    pub(crate) fn settle<T, E: From<Error>>(mut self, outcome: Result<Result<T, E>, Elapsed>) -> Result<T, E> {
        match outcome {
            Ok(answer) => {
                self.answered = true;
                answer
            }
            Err(_) => {
                let reason = "Postgres did not answer in time";
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

/// Single statements go through this. Results are gathered before they are answered; none of ours is large.
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
