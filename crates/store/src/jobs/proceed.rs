//! Continuing a draft, which among candidates is also the choice: the others end in the same transaction.

use domain::{Choice, GroupId, Job, JobId, JobStatus, Plan};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::edit::{cancel, status_of};
use crate::jobs::{CancelOutcome, Scope};
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::row::{bigint, int, to_json};
use crate::transition::transition;

/// How a draft goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Continuation {
    /// The plan of the whole run: the draft's own, or one that continues it in a higher tier.
    pub plan: Plan,
    /// What the rest of the run counts against its tenant's share, seconds.
    pub share_s: f64,
    /// How the job was chosen among candidates; `None` for a draft by itself.
    pub choice: Option<Choice>,
    /// The scheduler that chose, and must still lead; `None` for a person's decision.
    pub epoch: Option<Epoch>,
}

/// Result of continuing a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContinueOutcome {
    /// Back in the backlog. Of its fellow candidates these ended, or were asked to when they ran.
    Continued {
        /// The others that had not ended.
        others: Vec<(JobId, CancelOutcome)>,
    },
    /// Only drafts can be continued; the job is in this state.
    NotDrafted(JobStatus),
    /// The job does not exist in this scope, or it is deleted.
    NotFound,
}

impl Store {
    /// Continues a draft to its end. If it is one of several candidates, the others are cancelled in the same transaction.
    ///
    /// # Errors
    /// The database's error.
    pub async fn continue_draft(&self, scope: Scope, job_id: JobId, how: &Continuation) -> Result<ContinueOutcome> {
        on_conflict(|| async {
            let mut connection = self.pool.acquire().await?;
            let outcome = self.pool.in_time(proceed(&mut connection, scope, job_id, how)).await;
            connection.settle(outcome).await
        })
        .await
    }

    /// All candidates of one request that are not purged, in the order of their submission.
    ///
    /// # Errors
    /// The database's error.
    pub async fn group(&self, scope: Scope, group_id: GroupId) -> Result<Vec<Job>> {
        let ids = sqlx::query_scalar!(
            "-- jobs_of_group
             SELECT id FROM jobs WHERE group_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) ORDER BY id",
            group_id.0,
            scope.tenant()
        )
        .fetch_all(&self.pool)
        .await?;
        let ids: Vec<JobId> = ids.into_iter().map(JobId).collect();
        self.get_many(scope, &ids).await
    }
}

async fn proceed(
    connection: &mut PgConnection,
    scope: Scope,
    job_id: JobId,
    how: &Continuation,
) -> Result<ContinueOutcome> {
    let mut transaction = connection.begin().await?;
    let fellows = lock_group(&mut transaction, scope, job_id).await?;
    if !moved_on(&mut transaction, scope, job_id, how).await? {
        transaction.rollback().await?;
        return Ok(match status_of(connection, scope, job_id).await? {
            Some((status, false)) => ContinueOutcome::NotDrafted(status),
            _ => ContinueOutcome::NotFound,
        });
    }
    let mut others = Vec::new();
    for fellow in fellows.into_iter().map(JobId).filter(|fellow| *fellow != job_id) {
        let outcome = cancel(&mut transaction, scope, fellow).await?;
        if matches!(outcome, CancelOutcome::Cancelled | CancelOutcome::Requested) {
            others.push((fellow, outcome));
        }
    }
    transaction.commit().await?;
    Ok(ContinueOutcome::Continued { others })
}

/// Locks the job and its fellow candidates, always in the same order, so that two choices wait for each other.
async fn lock_group(connection: &mut PgConnection, scope: Scope, job_id: JobId) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        "-- lock_group
         SELECT id FROM jobs
         WHERE (id = $1 OR group_id = (SELECT group_id FROM jobs WHERE id = $1))
             AND ($2::uuid IS NULL OR tenant_id = $2)
         ORDER BY id FOR UPDATE",
        job_id.0,
        scope.tenant()
    )
    .fetch_all(connection)
    .await?;
    Ok(ids)
}

async fn moved_on(connection: &mut PgConnection, scope: Scope, job_id: JobId, how: &Continuation) -> Result<bool> {
    let plan = &how.plan;
    let choice = how.choice.as_ref().map(|choice| to_json("choice", choice)).transpose()?;
    let moved = transition!(
        r#"-- continue_job
        WITH moved AS (
            UPDATE jobs SET status = 'queued', attempts = 0, attempts_total = 0, not_before = NULL, worker_id = NULL,
                plan = $3, tier = $4, final_steps = $5, estimate_s = $6, estimate_cached_s = $7, memory_bytes = $8,
                share_s = $9, choice = COALESCE($10, choice), batch_key = NULL
            WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND deleted_at IS NULL AND status = 'drafted'
                AND ($11::bigint IS NULL OR EXISTS (
                    SELECT FROM leader WHERE epoch = $11 AND expires_at > clock_timestamp()))
            RETURNING id, tenant_id, model_id, tier, complexity, status, 'queued' AS kind,
                jsonb_build_object('continued', true, 'tier', tier, 'steps', final_steps) AS detail,
                'continued' AS counter, false AS lost, NULL::text AS dropped
        )"#,
        job_id.0,
        scope.tenant(),
        to_json("plan", plan)?,
        plan.tier.as_str(),
        int("steps", plan.steps)?,
        plan.estimate_s,
        plan.estimate_cached_s,
        bigint("memory_bytes", plan.memory_bytes)?,
        how.share_s,
        choice,
        how.epoch.map(|epoch| epoch.0)
    )
    .fetch_optional(connection)
    .await?;
    Ok(moved.is_some())
}
