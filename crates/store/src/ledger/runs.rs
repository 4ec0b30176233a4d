//! The runs of one job.

use chrono::{DateTime, Utc};
use domain::JobId;

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;

/// One run of a job, from its claim to the end of the lease.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRun {
    /// Number of the claim.
    pub attempt: i32,
    /// Name of the worker.
    pub worker: String,
    /// Its device.
    pub device: String,
    /// `completed`, `drafted`, `failed`, `cancelled`, `retrying` or `handed_back`.
    pub outcome: String,
    /// The worker was lost; its GPU seconds are an estimate.
    pub lost: bool,
    /// An earlier run of the job ended in a fault.
    pub repeated: bool,
    /// Steps that the next run had to compute again.
    pub lost_steps: i32,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// GPU seconds.
    pub gpu_seconds: f64,
    /// Their price, US dollars.
    pub cost_usd: f64,
}

impl Store {
    /// The ended runs of a job, oldest first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn job_runs(&self, scope: Scope, job_id: JobId) -> Result<Vec<JobRun>> {
        let runs = sqlx::query_as!(
            JobRun,
            "-- job_runs
             SELECT attempt, worker, device, outcome, lost, repeated, lost_steps, started_at, ended_at, gpu_seconds, cost_usd
             FROM job_runs WHERE job_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY started_at, ended_at",
            job_id.0,
            scope.tenant()
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(runs)
    }
}
