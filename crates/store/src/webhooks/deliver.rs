//! The sender's side of the outbox: claim, then report what the receiver responded.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{JobId, TenantId};
use serde_json::Value;
use uuid::Uuid;

use crate::connect::Store;
use crate::error::Result;

/// A delivery that the caller may send until its lease expires.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedDelivery {
    /// Its id, the same in every attempt.
    pub id: Uuid,
    /// The owner of the job.
    pub tenant_id: TenantId,
    /// The job.
    pub job_id: JobId,
    /// The kind of event. Text, because another release may have written it.
    pub kind: String,
    /// The event's small facts.
    pub detail: Value,
    /// When the event happened.
    pub at: DateTime<Utc>,
    /// Where to send it.
    pub url: String,
    /// Number of attempts, including this one.
    pub attempts: i32,
}

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver accepted it.
    Delivered {
        /// Status of the response.
        status: u16,
    },
    /// To be sent again.
    Again {
        /// Status of the response, if there was one.
        status: Option<u16>,
        /// What was wrong.
        error: String,
        /// The pause that the receiver asked for.
        wait: Option<Duration>,
    },
    /// The receiver wants nothing more (410): its endpoint is disabled.
    Gone,
}

/// When deliveries are sent again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySchedule {
    /// First pause, seconds; doubled with each attempt, and varied by a quarter.
    pub backoff_s: f64,
    /// Longest pause, seconds.
    pub backoff_max_s: f64,
    /// Time after which a delivery is given up, seconds.
    pub give_up_s: f64,
}

impl Store {
    /// Claims due deliveries for `lease_s` seconds: the first unsent event of each job and receiver. At most `per_url` of one receiver and
    /// `per_tenant` of one tenant are sent at a time, and tenants take turns, so that slow receivers delay nobody else's.
    ///
    /// # Errors
    /// The database's error.
    pub async fn claim_deliveries(
        &self,
        token: Uuid,
        lease_s: f64,
        limit: u32,
        per_url: u32,
        per_tenant: u32,
    ) -> Result<Vec<ClaimedDelivery>> {
        let rows = sqlx::query!(
            r#"-- claim_deliveries
            WITH due AS (
                -- 1. Due heads of line, those being sent first, so that they count towards the limit of their receiver.
                SELECT id, tenant_id, seq, next_at, held,
                    row_number() OVER (PARTITION BY url ORDER BY held DESC, next_at, seq) AS place
                FROM webhook_deliveries AS d,
                    LATERAL (SELECT COALESCE(lease_expires_at > clock_timestamp(), false) AS held) AS h
                WHERE state = 'pending' AND next_at <= statement_timestamp()
                    AND NOT EXISTS (
                        SELECT FROM webhook_deliveries AS e
                        WHERE e.job_id = d.job_id AND e.url = d.url AND e.state = 'pending' AND e.seq < d.seq)
            ), turns AS (
                -- 2. Their places among those of their tenant, by which tenants take turns.
                SELECT id, next_at, held, row_number() OVER (PARTITION BY tenant_id ORDER BY held DESC, next_at, seq) AS turn
                FROM due WHERE held OR place <= $4
            ), taken AS MATERIALIZED (
                -- 3. Lock those that no other process has taken meanwhile.
                SELECT id FROM webhook_deliveries
                WHERE id = ANY(ARRAY(SELECT id FROM turns WHERE NOT held AND turn <= $5 ORDER BY turn, next_at LIMIT $3))
                    AND state = 'pending' AND (lease_expires_at IS NULL OR lease_expires_at <= clock_timestamp())
                FOR UPDATE SKIP LOCKED
            )
            UPDATE webhook_deliveries AS d SET lease_token = $1, attempts = attempts + 1,
                lease_expires_at = clock_timestamp() + make_interval(secs => $2)
            FROM taken WHERE d.id = taken.id
            RETURNING d.id, d.tenant_id, d.job_id, d.kind, d.detail, d.at, d.url, d.attempts"#,
            token,
            lease_s,
            i64::from(limit),
            i64::from(per_url),
            i64::from(per_tenant)
        )
        .fetch_all(&self.pool)
        .await?;
        let claimed = rows.into_iter().map(|row| ClaimedDelivery {
            id: row.id,
            tenant_id: TenantId(row.tenant_id),
            job_id: JobId(row.job_id),
            kind: row.kind,
            detail: row.detail,
            at: row.at,
            url: row.url,
            attempts: row.attempts,
        });
        Ok(claimed.collect())
    }

    /// Records the outcome of an attempt. `false` when the lease had expired and another process has taken the delivery.
    ///
    /// # Errors
    /// The database's error. Repeating the call is harmless; without it the delivery is sent again after its lease.
    pub async fn end_attempt(
        &self,
        id: Uuid,
        token: Uuid,
        outcome: &DeliveryOutcome,
        retries: RetrySchedule,
    ) -> Result<bool> {
        let (word, status, error, wait) = match outcome {
            DeliveryOutcome::Delivered { status } => ("delivered", Some(*status), None, None),
            DeliveryOutcome::Gone => ("failed", Some(410), Some("the receiver is gone"), None),
            DeliveryOutcome::Again { status, error, wait } => ("pending", *status, Some(error.as_str()), *wait),
        };
        let ended = sqlx::query!(
            "-- end_attempt
             WITH ended AS (
                 UPDATE webhook_deliveries AS d SET
                     state = n.state, last_status = $4, last_error = $5, lease_token = NULL, lease_expires_at = NULL,
                     next_at = clock_timestamp() + make_interval(secs => n.pause),
                     ended_at = CASE WHEN n.state <> 'pending' THEN clock_timestamp() END
                 FROM (
                     SELECT w.id, p.pause, CASE
                         WHEN $3 = 'pending' AND clock_timestamp() + make_interval(secs => p.pause)
                             > w.since + make_interval(secs => $9) THEN 'failed'
                         ELSE $3 END AS state
                     FROM webhook_deliveries AS w,
                         LATERAL (SELECT LEAST($8, GREATEST($6,
                             LEAST($8, $7 * power(2, LEAST(w.attempts, 40) - 1)) * (0.75 + random() / 2))) AS pause) AS p
                     WHERE w.id = $1) AS n
                 WHERE d.id = n.id AND d.lease_token = $2
                 RETURNING d.endpoint_id
             ), disabled AS (
                 UPDATE webhook_endpoints SET disabled_at = clock_timestamp()
                 WHERE $10 AND disabled_at IS NULL AND id IN (SELECT endpoint_id FROM ended)
             )
             SELECT endpoint_id FROM ended",
            id,
            token,
            word,
            status.map(i32::from),
            error,
            wait.unwrap_or_default().as_secs_f64(),
            retries.backoff_s,
            retries.backoff_max_s,
            retries.give_up_s,
            *outcome == DeliveryOutcome::Gone
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(!ended.is_empty())
    }

    /// Forgets deliveries that ended more than `keep_s` seconds ago; returns how many.
    ///
    /// # Errors
    /// The database's error.
    pub async fn purge_deliveries(&self, keep_s: f64, limit: u32) -> Result<u64> {
        let purged = sqlx::query!(
            "-- purge_deliveries
             DELETE FROM webhook_deliveries WHERE id = ANY(ARRAY(
                 SELECT id FROM webhook_deliveries
                 WHERE ended_at < statement_timestamp() - make_interval(secs => $1) ORDER BY ended_at LIMIT $2))",
            keep_s,
            i64::from(limit)
        )
        .execute(&self.pool)
        .await?;
        Ok(purged.rows_affected())
    }
}
