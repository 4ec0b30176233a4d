//! What the scheduler does with drafts: groups of candidates whose drafts are complete, and drafts that nobody continued.

use domain::{GroupId, JobId};

use crate::connect::Store;
use crate::error::Result;
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::transition::transition;

impl Store {
    /// Groups that the built-in judge may decide: at least one candidate is drafted, none waits or runs any more, none was
    /// chosen before, all drafts were measured, and the request left the choice to the fleet. Oldest draft first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn groups_to_judge(&self, limit: u32) -> Result<Vec<GroupId>> {
        let ids = sqlx::query_scalar!(
            r#"-- groups_to_judge
            SELECT waiting.group_id AS "id!" FROM (
                SELECT group_id, min(drafted_at) AS since FROM jobs
                WHERE status = 'drafted' AND group_id IS NOT NULL AND request ->> 'judge' = 'measures'
                GROUP BY group_id
            ) AS waiting
            WHERE NOT EXISTS (
                SELECT FROM jobs WHERE group_id = waiting.group_id
                    AND (status IN ('queued', 'scheduled', 'running') OR choice IS NOT NULL
                        OR status = 'drafted' AND NOT COALESCE(draft ? 'scores', false))
            )
            ORDER BY since LIMIT $1"#,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(GroupId).collect())
    }

    /// Cancels drafts that nobody continued within `keep_s` seconds, oldest first; returns them. Their owners can still
    /// retry them while their checkpoints are kept.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn expire_drafts(&self, keep_s: f64, limit: u32, epoch: Epoch) -> Result<Vec<JobId>> {
        let moved = on_conflict(|| async {
            let moved = transition!(
                r#"-- expire_drafts
                WITH led AS MATERIALIZED (
                    SELECT epoch FROM leader WHERE epoch = $3 AND expires_at > clock_timestamp() FOR SHARE
                ), held AS MATERIALIZED (
                    SELECT id FROM jobs
                    WHERE status = 'drafted' AND drafted_at <= statement_timestamp() - make_interval(secs => $1)
                        AND EXISTS (SELECT FROM led)
                    ORDER BY drafted_at LIMIT $2 FOR UPDATE SKIP LOCKED
                ), moved AS (
                    UPDATE jobs SET status = 'cancelled', finished_at = clock_timestamp()
                    FROM held WHERE jobs.id = held.id
                    RETURNING jobs.id, tenant_id, model_id, tier, complexity, status, 'cancelled' AS kind,
                        '{"expired": true}'::jsonb AS detail, 'cancelled' AS counter, false AS lost,
                        NULL::text AS dropped
                )"#,
                keep_s,
                i64::from(limit),
                epoch.0
            )
            .fetch_all(&self.pool)
            .await?;
            Ok(moved)
        })
        .await?;
        if moved.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(moved.into_iter().map(|row| JobId(row.id)).collect())
    }
}
