//! Moving a waiting job within its owner's queue.
//!
//! A place is a time (`order_at`), so a job moves between two others by getting a time between theirs. Other tenants notice
//! nothing: the order between tenants does not depend on these times.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{JobId, JobStatus};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;
use crate::jobs::edit::status_of;
use crate::retry::on_conflict;

/// Where a job is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveTo {
    /// Before all other jobs of its owner and model.
    Front,
    /// After all of them.
    Back,
    /// Directly before this job of the same owner and model.
    Before(JobId),
}

/// Result of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOutcome {
    /// It is there.
    Moved,
    /// Only planned jobs that wait in the queue can be moved; the job is in this state.
    NotWaiting(JobStatus),
    /// The other job does not wait in the same queue.
    NotInQueue,
    /// There is no time between the two places, and more than a thousand jobs would have to make way.
    TooManyToShift,
    /// The job does not exist in this scope, or it is deleted.
    NotFound,
}

/// Most jobs that make way for one that is moved between two others without a time between theirs.
const SHIFT_MAX: i64 = 1_000;

/// The precision of a place in Postgres.
const TICK: TimeDelta = TimeDelta::microseconds(1);

/// A place in a queue.
#[derive(Debug, Clone, Copy)]
struct Place {
    tenant_id: Uuid,
    order_at: DateTime<Utc>,
    memory_bytes: i64,
    id: Uuid,
}

impl Store {
    /// Moves a queued job within its owner's queue. If it has a deadline, the new place replaces the one that the deadline gave.
    ///
    /// # Errors
    /// The database's error.
    pub async fn move_queued(&self, scope: Scope, job_id: JobId, to: MoveTo) -> Result<MoveOutcome> {
        on_conflict(|| async {
            let mut connection = self.pool.acquire().await?;
            let outcome = self.pool.in_time(move_queued(&mut connection, scope, job_id, to)).await;
            connection.settle(outcome).await
        })
        .await
    }
}

async fn move_queued(connection: &mut PgConnection, scope: Scope, job_id: JobId, to: MoveTo) -> Result<MoveOutcome> {
    let mut transaction = connection.begin().await?;
    let Some((mine, model_id)) = lock_place(&mut transaction, scope, job_id).await? else {
        transaction.rollback().await?;
        return Ok(match status_of(connection, scope, job_id).await? {
            Some((status, false)) => MoveOutcome::NotWaiting(status),
            _ => MoveOutcome::NotFound,
        });
    };
    let order_at = match to {
        MoveTo::Front => {
            end_of(&mut transaction, mine, &model_id, true).await?.map(|first| first - TimeDelta::seconds(1))
        }
        MoveTo::Back => {
            end_of(&mut transaction, mine, &model_id, false).await?.map(|last| last + TimeDelta::seconds(1))
        }
        MoveTo::Before(other) if other == job_id => None,
        MoveTo::Before(other) => match lock_place(&mut transaction, Scope::Fleet, other).await? {
            Some((place, model)) if place.tenant_id == mine.tenant_id && model == model_id => {
                match room_before(&mut transaction, mine, place, &model_id).await? {
                    Some(order_at) => Some(order_at),
                    None => return Ok(MoveOutcome::TooManyToShift),
                }
            }
            _ => return Ok(MoveOutcome::NotInQueue),
        },
    };
    // The only job of its queue, or moved before itself: it stays where it is.
    if let Some(order_at) = order_at {
        sqlx::query!(
            "-- move_queued_job
             UPDATE jobs SET order_at = $2::timestamptz,
                 plain_order_at = CASE WHEN plain_order_at IS NOT NULL THEN $2::timestamptz END
             WHERE id = $1 AND status = 'queued' AND plan IS NOT NULL",
            job_id.0,
            order_at
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(MoveOutcome::Moved)
}

/// The place of a planned job that waits in the queue, locked, and its model.
async fn lock_place(connection: &mut PgConnection, scope: Scope, job_id: JobId) -> Result<Option<(Place, String)>> {
    let row = sqlx::query!(
        r#"-- lock_place
        SELECT id, tenant_id, model_id, order_at AS "order_at!", memory_bytes AS "memory_bytes!" FROM jobs
        WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND deleted_at IS NULL
            AND status = 'queued' AND plan IS NOT NULL
        FOR UPDATE"#,
        job_id.0,
        scope.tenant()
    )
    .fetch_optional(connection)
    .await?;
    let place = |id, tenant_id, order_at, memory_bytes| Place { tenant_id, order_at, memory_bytes, id };
    Ok(row.map(|row| (place(row.id, row.tenant_id, row.order_at, row.memory_bytes), row.model_id)))
}

/// The first or last place of the other jobs of the queue.
async fn end_of(
    connection: &mut PgConnection,
    mine: Place,
    model_id: &str,
    first: bool,
) -> Result<Option<DateTime<Utc>>> {
    let found = sqlx::query_scalar!(
        r#"-- end_of_queue
        SELECT CASE WHEN $4 THEN min(order_at) ELSE max(order_at) END AS "order_at" FROM (
            (SELECT order_at FROM jobs
            WHERE model_id = $1 AND tenant_id = $2 AND status = 'queued' AND plan IS NOT NULL AND id <> $3
            ORDER BY order_at, memory_bytes, id LIMIT 1)
            UNION ALL
            (SELECT order_at FROM jobs
            WHERE model_id = $1 AND tenant_id = $2 AND status = 'queued' AND plan IS NOT NULL AND id <> $3
            ORDER BY order_at DESC, memory_bytes DESC, id DESC LIMIT 1)
        ) AS ends"#,
        model_id,
        mine.tenant_id,
        mine.id,
        first
    )
    .fetch_one(connection)
    .await?;
    Ok(found)
}

/// A time directly before `place`; makes one by shifting the jobs before it if there is none. `None` when those are too many.
async fn room_before(
    connection: &mut PgConnection,
    mine: Place,
    place: Place,
    model_id: &str,
) -> Result<Option<DateTime<Utc>>> {
    let previous = sqlx::query_scalar!(
        r#"-- place_before
        SELECT order_at AS "order_at!" FROM jobs
        WHERE model_id = $1 AND tenant_id = $2 AND status = 'queued' AND plan IS NOT NULL AND id <> $6
            AND (order_at, memory_bytes, id) < ($3, $4, $5)
        ORDER BY order_at DESC, memory_bytes DESC, id DESC LIMIT 1"#,
        model_id,
        place.tenant_id,
        place.order_at,
        place.memory_bytes,
        place.id,
        mine.id
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(previous) = previous else { return Ok(Some(place.order_at - TimeDelta::seconds(1))) };
    let gap = place.order_at - previous;
    if gap > TICK {
        return Ok(Some(previous + gap / 2));
    }
    let before = sqlx::query!(
        r#"-- make_way
        WITH before AS MATERIALIZED (
            SELECT id FROM jobs
            WHERE model_id = $1 AND tenant_id = $2 AND status = 'queued' AND plan IS NOT NULL AND id <> $6
                AND (order_at, memory_bytes, id) < ($3, $4, $5)
            ORDER BY id LIMIT $7::bigint + 1 FOR UPDATE
        )
        UPDATE jobs SET order_at = order_at - interval '1 second', plain_order_at = plain_order_at - interval '1 second'
        FROM before WHERE jobs.id = before.id AND (SELECT count(*) FROM before) <= $7::bigint"#,
        model_id,
        place.tenant_id,
        place.order_at,
        place.memory_bytes,
        place.id,
        mine.id,
        SHIFT_MAX
    )
    .execute(&mut *connection)
    .await?;
    Ok((before.rows_affected() > 0).then(|| place.order_at - TimeDelta::milliseconds(500)))
}
