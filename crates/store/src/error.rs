//! Errors of the store, grouped by what a caller can do about them.

use domain::JobId;

/// The foreign key from jobs to their pictures.
const IMAGE_REFERENCE: &str = "jobs_image_id_fkey";

/// A failed call. Where the caller has a choice, a failed guard is a value of the call's outcome type. The two guards that
/// always mean "stop what you are doing" are errors: [`StoreError::LeaseLost`] and [`StoreError::NotLeader`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres cannot be reached, is starting, stopping or out of connections. The outcome of a write is unknown: read
    /// back by token or key, or repeat the call if it is idempotent.
    #[error("the database is unavailable; try again shortly")]
    Unavailable(#[source] sqlx::Error),
    /// Postgres, or what is in front of it, rejects our connections until somebody changes something.
    #[error("Postgres rejects the connection: {remedy}")]
    Rejected {
        /// The reason and what to do.
        remedy: String,
        /// The rejection.
        #[source]
        cause: sqlx::Error,
    },
    /// Statements deadlocked, or one waited too long for a lock, more often than is retried. Nothing was written.
    #[error("too many conflicting changes in the database; try again")]
    Conflict(#[source] sqlx::Error),
    /// Another lease holds the job, or none does. Nothing was written; the caller must stop writing anywhere.
    #[error("the lease on job {job_id} is lost; stop working on it")]
    LeaseLost {
        /// The job.
        job_id: JobId,
    },
    /// Another scheduler leads. Nothing was written.
    #[error("epoch {epoch} is no longer the leader")]
    NotLeader {
        /// The caller's epoch.
        epoch: i64,
    },
    /// A row holds a value that this release cannot read: a newer release wrote it, or it was edited by hand.
    #[error("cannot read column {column} of {table} {row}: {reason}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// The column.
        column: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
    /// A value given by the caller cannot be stored.
    #[error("{what} cannot be stored: {reason}")]
    Unstorable {
        /// The value.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A job names a picture that does not exist any more, or a picture that a job uses was to be deleted. Nothing was written.
    #[error("the picture does not exist any more, or a job uses it")]
    ImageReference(#[source] sqlx::Error),
    /// The options are invalid.
    #[error("invalid setting: {0}")]
    Options(String),
    /// A migration failed or the database is newer than this release.
    #[error("the database could not be migrated; if it is newer than this release, run the newer release")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// Postgres refused the statement: a bug, or a schema that is not migrated.
    #[error("the database refused the statement; check that it has been migrated")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the database itself is unavailable, so that waiting may help.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Rejected { .. })
    }

    /// Whether repeating the same transaction immediately may succeed; nothing of it was written.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers no longer need these ids and errors")]
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
        if let Some(remedy) = remedy(&error, &code) {
            return Self::Rejected { remedy, cause: error };
        }
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
            E::Database(refused) if refused.constraint() == Some(IMAGE_REFERENCE) => Self::ImageReference(error),
            _ => Self::Refused(error),
        }
    }
}

/// What to do about a rejected connection; `None` for every other error.
fn remedy(error: &sqlx::Error, code: &str) -> Option<String> {
    if let sqlx::Error::Tls(reason) = error {
        let advice =
            "check the server's certificate (PGSSLROOTCERT names another authority) and sslmode in database.url";
        return Some(format!("TLS cannot be set up: {reason}; {advice}"));
    }
    let said = error.as_database_error()?.message();
    let advice = match code {
        "28P01" => "correct the user or the password in database.url",
        "28000" => "allow it in pg_hba.conf, or correct the user in database.url",
        "3D000" => "create it with createdb, or correct the name in database.url",
        // Poolers say it so, for whatever they do not understand.
        "08P01" => "correct database.url, or the pooler that it leads to",
        _ => return None,
    };
    Some(format!("{said}; {advice}"))
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as M;
        match error {
            // Losing the connection during a migration is treated like failing to connect.
            M::Execute(cause) | M::ExecuteMigration(cause, _) => Self::from(cause),
            other => Self::Migrate(other),
        }
    }
}

/// Result of a store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
