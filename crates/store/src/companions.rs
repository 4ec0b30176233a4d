//! Jobs that are rendered together with one that a worker holds.

use domain::{BatchKey, JobId, PoolId, WorkerId};

use crate::connect::Store;
use crate::dispatch::Released;
use crate::error::Result;

impl Store {
    /// Released jobs of a pool that no worker has claimed yet and whose forward passes the holder of `lead` can share: those that
    /// were released to accompany it, then, while no worker of the pool is idle, others with its key; oldest release first. Each is
    /// claimed like any job.
    ///
    /// # Errors
    /// The database's error.
    pub async fn companions(
        &self,
        pool: &PoolId,
        worker_id: WorkerId,
        lead: JobId,
        key: &BatchKey,
        limit: u32,
    ) -> Result<Vec<Released>> {
        let rows = sqlx::query!(
            "-- companions
             SELECT id, dispatch_no FROM jobs
             WHERE status = 'scheduled' AND pool = $1 AND batch_key = $2 AND id <> $3
                 AND (requires IS NULL OR requires = (SELECT w.identity FROM workers AS w WHERE w.id = $4))
                 AND (batch_lead = $3 OR NOT EXISTS (
                     -- What is released for a worker that is idle goes to that worker.
                     SELECT FROM workers AS idle
                     WHERE idle.pool = $1 AND idle.state = 'ready' AND idle.id <> $4
                         AND idle.last_seen_at > clock_timestamp() - make_interval(secs => 30)
                         AND NOT EXISTS (SELECT FROM jobs AS held WHERE held.worker_id = idle.id AND held.status = 'running')
                 ))
             ORDER BY batch_lead IS NOT DISTINCT FROM $3::uuid DESC, scheduled_at LIMIT $5",
            pool.as_str(),
            key.as_str(),
            lead.0,
            worker_id.0,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        let released = |id, dispatch_no| Released { job_id: JobId(id), dispatch_no, pool: pool.clone() };
        Ok(rows.into_iter().map(|row| released(row.id, row.dispatch_no)).collect())
    }
}
