//! The common end of every transition: the statement that moves a job also writes its event and its statistics.

use domain::JobStatus;
use uuid::Uuid;

use crate::error::Result;
use crate::row::word;

/// A row that a transition changed.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) id: Uuid,
    pub(crate) status: String,
    /// An object that no row points to any more; the caller deletes it.
    pub(crate) dropped: Option<String>,
}

impl Moved {
    pub(crate) fn status(&self) -> Result<JobStatus> {
        word(self.id, "status", &self.status)
    }
}

/// Completes a statement that begins `WITH ... moved AS (UPDATE jobs ... RETURNING ...)`.
///
/// `moved` returns `id, tenant_id, model_id, tier, complexity, status` of the row, and `kind` (of the event), `detail`
/// (jsonb), `counter` (a column of `stats_hourly`, or NULL), `lost` (whether a lease was lost) and `dropped` (an object
/// key, or NULL). Statistics rows are written in the same order everywhere, so that two transactions that count the same
/// jobs wait for each other instead of deadlocking.
macro_rules! transition {
    ($moved:tt $($args:tt)*) => {
        sqlx::query_as!(
            $crate::transition::Moved,
            $moved + r#"
            , told AS (
                INSERT INTO job_events (job_id, tenant_id, kind, detail)
                SELECT id, tenant_id, kind, detail FROM moved
            ), counted AS (
                INSERT INTO stats_hourly AS s
                    (tenant_id, bucket, model_id, tier, complexity, shard,
                     failed, cancelled, retried, requeued, handed_back, preempted, continued, leases_lost)
                SELECT tenant_id, bucket, model_id, COALESCE(tier, ''), COALESCE(complexity, ''), pg_backend_pid() % 8,
                    count(*) FILTER (WHERE counter = 'failed'), count(*) FILTER (WHERE counter = 'cancelled'),
                    count(*) FILTER (WHERE counter = 'retried'), count(*) FILTER (WHERE counter = 'requeued'),
                    count(*) FILTER (WHERE counter = 'handed_back'),
                    count(*) FILTER (WHERE counter = 'preempted'),
                    count(*) FILTER (WHERE counter = 'continued'), count(*) FILTER (WHERE lost)
                FROM moved, (VALUES (date_trunc('hour', clock_timestamp(), 'UTC')), ('-infinity')) AS b (bucket)
                WHERE counter IS NOT NULL OR lost
                GROUP BY tenant_id, bucket, model_id, tier, complexity
                ORDER BY tenant_id, bucket, model_id, tier, complexity
                ON CONFLICT (tenant_id, bucket, model_id, tier, complexity, shard) DO UPDATE SET
                    failed = s.failed + EXCLUDED.failed,
                    cancelled = s.cancelled + EXCLUDED.cancelled,
                    retried = s.retried + EXCLUDED.retried,
                    requeued = s.requeued + EXCLUDED.requeued,
                    handed_back = s.handed_back + EXCLUDED.handed_back,
                    preempted = s.preempted + EXCLUDED.preempted,
                    continued = s.continued + EXCLUDED.continued,
                    leases_lost = s.leases_lost + EXCLUDED.leases_lost
            )
            SELECT id AS "id!", status AS "status!", dropped FROM moved"#
            $($args)*
        )
    };
}
pub(crate) use transition;
