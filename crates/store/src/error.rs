//! What can go wrong with the store, sorted by what a caller can do about it.

use domain::JobId;

/// A failed call. Guards that did not hold are values of the call's own outcome type wherever the caller has a choice;
/// the two that always mean "stop what you are doing" are errors: [`StoreError::LeaseLost`], [`StoreError::NotLeader`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres cannot be reached, is starting, stopping or out of connections. The outcome of a write is unknown: read
    /// back by token or key, or repeat what is idempotent.
    #[error("the database does not answer; try again shortly")]
    Unavailable(#[source] sqlx::Error),
    /// Two statements waited for each other, or one waited too long, more often than is retried. Nothing was written.
    #[error("the database was too busy with conflicting changes; try again")]
    Conflict(#[source] sqlx::Error),
    /// Another lease holds the job, or none. Nothing was written; the caller must stop writing anywhere.
    #[error("the lease on job {job_id} is lost; its work belongs to another worker now")]
    LeaseLost {
        /// The job.
        job_id: JobId,
    },
    /// Another scheduler leads. Nothing was written.
    #[error("epoch {epoch} does not lead any more")]
    NotLeader {
        /// The caller's epoch.
        epoch: i64,
    },
    /// A row holds what this release cannot read: written by a newer one, or by hand.
    #[error("{table} {row}: column {column} is not readable: {reason}")]
    Unreadable {
        /// Table.
        table: &'static str,
        /// Its key.
        row: String,
        /// Column.
        column: &'static str,
        /// What was wrong with it.
        reason: String,
    },
    /// A value given by the caller cannot be stored.
    #[error("{what} cannot be stored: {reason}")]
    Unstorable {
        /// Which value.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The options make no sense.
    #[error("database settings: {0}")]
    Options(String),
    /// A migration failed or the database is newer than this release.
    #[error("the database could not be migrated; a database newer than this release needs the newer release")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// Postgres refused the statement: a bug, or a schema that is not migrated.
    #[error("the database refused the statement; has it been migrated?")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the database itself is the trouble, so that waiting may help.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether repeating the same transaction at once may succeed; nothing of it was written.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers hand over ids and errors they are done with")]
    pub(crate) fn unreadable(
        table: &'static str,
        column: &'static str,
        row: impl ToString,
        reason: impl ToString,
    ) -> Self {
        Self::Unreadable { table, column, row: row.to_string(), reason: reason.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
        match &error {
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => {
                Self::Unavailable(error)
            }
            // 40001 serialization, 40P01 deadlock, 55P03 lock timeout.
            E::Database(_) if ["40001", "40P01", "55P03"].contains(&code.as_str()) => Self::Conflict(error),
            // Class 08 connection, 53 resources, 57 operator intervention (shutdown, start-up, cancelled), 58 system;
            // 25006: a standby that is not promoted yet.
            E::Database(_)
                if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "25006" =>
            {
                Self::Unavailable(error)
            }
            _ => Self::Refused(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as M;
        match error {
            // A database that goes away in the middle is no other than one that is not there yet.
            M::Execute(cause) | M::ExecuteMigration(cause, _) => Self::from(cause),
            other => Self::Migrate(other),
        }
    }
}

/// Shorthand of the crate.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
