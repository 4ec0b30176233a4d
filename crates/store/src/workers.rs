//! Workers: their registration, heartbeats, and how they leave. [`crate::worker_list`] reads them.

use chrono::{DateTime, Utc};
use domain::worker::WorkerInfo;
use domain::{JobId, TenantId, WorkerId};
use std::fmt;
use std::str::FromStr;

use crate::connect::Store;
use crate::error::Result;
use crate::row::{bigint, int};

/// Whether a worker accepts jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkerState {
    /// Has a free slot.
    Ready,
    /// All slots are used.
    Busy,
    /// Accepts no new jobs.
    Draining,
    /// Signed off, or sent no heartbeat for too long.
    Gone,
}

impl WorkerState {
    /// The spelling in the database and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WorkerState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Ready, Self::Busy, Self::Draining, Self::Gone];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("'{text}' is not a worker state"))
    }
}

/// A worker as the fleet sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// What it reported about itself.
    pub info: WorkerInfo,
    /// Whether it accepts jobs.
    pub state: WorkerState,
    /// Seconds since its last heartbeat, by the database's clock.
    pub silent_s: f64,
    /// When it registered.
    pub registered_at: DateTime<Utc>,
    /// Jobs that it holds a lease on.
    pub job_ids: Vec<JobId>,
    /// The adapters in its weights, as [`domain::VideoRequest::adapters_key`] writes them.
    pub adapters: String,
    /// Fingerprints of the adapters whose files its machine keeps.
    pub adapters_cached: Vec<String>,
}

/// Result of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// It may consume.
    Registered,
    /// The fleet serves different weights under this model's id; the worker must not start.
    OtherFingerprint {
        /// The registered fingerprint.
        expected: String,
    },
    /// The API or the scheduler has not registered the model yet; try again shortly.
    UnknownModel,
}

impl Store {
    /// Registers one run of a worker process, if its weights are the model's. Repeating it is harmless.
    ///
    /// # Errors
    /// The database's error.
    pub async fn register_worker(&self, info: &WorkerInfo) -> Result<RegisterOutcome> {
        let registered = sqlx::query!(
            "-- register_worker
             INSERT INTO workers (id, name, pool, model_id, model_fingerprint, device, device_class, build, threads,
                 memory_bytes, slots, attention, state, gpu_hour_usd, identity, formats, batch_max, batch_tokens, devices)
             SELECT $1, $2, $3, models.id, $5, $6, $7, $8, $9, $10, $11, $12, 'ready', $13, $14, $15, $16, $17, $18
             FROM models WHERE models.id = $4 AND weights_fingerprint = $5
             ON CONFLICT (id) DO UPDATE SET state = 'ready', last_seen_at = clock_timestamp()",
            info.id.0,
            info.name,
            info.pool.as_str(),
            info.model_id,
            info.model_fingerprint,
            info.device,
            info.device_class,
            info.build,
            int("threads", info.threads)?,
            bigint("memory_bytes", info.memory_bytes)?,
            int("slots", info.slots)?,
            info.attention,
            info.gpu_hour_usd,
            info.identity().key(),
            info.formats,
            int("batch_max", info.batch_max)?,
            bigint("batch_tokens", info.batch_tokens)?,
            int("devices", info.devices)?
        )
        .execute(&self.pool)
        .await?;
        if registered.rows_affected() == 1 {
            return Ok(RegisterOutcome::Registered);
        }
        let expected = sqlx::query_scalar!(
            "-- fingerprint_of_model
             SELECT weights_fingerprint FROM models WHERE id = $1",
            info.model_id
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(expected.map_or(RegisterOutcome::UnknownModel, |expected| RegisterOutcome::OtherFingerprint { expected }))
    }

    /// Stores under which RabbitMQ user a worker sends its messages, so that their origin can be checked.
    ///
    /// # Errors
    /// The database's error.
    pub async fn set_broker_user(&self, id: WorkerId, user: &str) -> Result<()> {
        sqlx::query!(
            "-- set_broker_user
             UPDATE workers SET broker_user = $2 WHERE id = $1",
            id.0,
            user
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Whether a running job of this owner is held by a worker that registered under this RabbitMQ user. Without a user it is
    /// asked for workers of earlier releases, which do not sign their messages.
    ///
    /// # Errors
    /// The database's error.
    pub async fn holds_job(&self, broker_user: Option<&str>, job_id: JobId, tenant_id: TenantId) -> Result<bool> {
        Ok(sqlx::query_scalar!(
            r#"-- holds_job
            SELECT EXISTS (
                SELECT FROM jobs JOIN workers ON workers.id = jobs.worker_id
                WHERE jobs.id = $2 AND jobs.tenant_id = $3 AND jobs.status = 'running'
                    AND workers.broker_user IS NOT DISTINCT FROM $1
            ) AS "holds!""#,
            broker_user,
            job_id.0,
            tenant_id.0
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Stores a heartbeat: the worker's state, and the job that it renders (for display). `false` when the fleet does not
    /// know the worker or has given it up: register again.
    ///
    /// # Errors
    /// The database's error.
    pub async fn heartbeat(&self, id: WorkerId, state: WorkerState, job_id: Option<JobId>) -> Result<bool> {
        let beat = sqlx::query!(
            "-- heartbeat
             UPDATE workers SET state = $2, job_id = $3, last_seen_at = clock_timestamp()
             WHERE id = $1 AND state <> 'gone'",
            id.0,
            state.as_str(),
            job_id.map(|job| job.0)
        )
        .execute(&self.pool)
        .await?;
        Ok(beat.rows_affected() == 1)
    }

    /// Records that a worker leaves, and why if nobody asked it to. Its leases, if any, expire on their own.
    ///
    /// # Errors
    /// The database's error.
    pub async fn worker_gone(&self, id: WorkerId, reason: Option<&str>) -> Result<()> {
        sqlx::query!(
            "-- worker_gone
             UPDATE workers SET state = 'gone', job_id = NULL, gone_reason = $2 WHERE id = $1",
            id.0,
            reason
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Gives up workers without a heartbeat for `silent_s`, and forgets those without one for `forget_s`; returns how many
    /// were given up. Before that it adds the workers' time online to the ledger.
    ///
    /// # Errors
    /// The database's error.
    pub async fn give_up_silent_workers(&self, silent_s: f64, forget_s: f64) -> Result<u64> {
        self.account_time_online().await?;
        let given_up = sqlx::query!(
            "-- give_up_silent_workers
             WITH forgotten AS (
                 DELETE FROM workers
                 WHERE state = 'gone' AND last_seen_at < clock_timestamp() - make_interval(secs => $2)
                     -- The ledger has all of its time.
                     AND COALESCE(accounted_until, registered_at) >= last_seen_at
             )
             UPDATE workers SET state = 'gone', job_id = NULL
             WHERE state <> 'gone' AND last_seen_at < clock_timestamp() - make_interval(secs => $1)",
            silent_s,
            forget_s
        )
        .execute(&self.pool)
        .await?;
        Ok(given_up.rows_affected())
    }
}
