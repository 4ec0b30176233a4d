//! The log of deliveries, and sending one again on request.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::JobId;
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::jobs::Scope;

/// State of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent, perhaps again.
    Pending,
    /// The receiver accepted it.
    Delivered,
    /// Given up.
    Failed,
}

impl DeliveryState {
    /// The spelling in the database and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Pending, Self::Delivered, Self::Failed];
        let found = all.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("'{text}' is not one of pending, delivered, failed"))
    }
}

/// One delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRecord {
    /// Its id: the `webhook-id` of every attempt.
    pub id: Uuid,
    /// The job.
    pub job_id: JobId,
    /// Number of the event; also the position in the list.
    pub seq: i64,
    /// The kind of event.
    pub kind: String,
    /// When the event happened.
    pub at: DateTime<Utc>,
    /// The receiver; `None` for the job's own webhook.
    pub endpoint_id: Option<Uuid>,
    /// Where it is sent.
    pub url: String,
    /// Its state.
    pub state: DeliveryState,
    /// Number of attempts.
    pub attempts: i32,
    /// When it is sent next; meaningful while pending.
    pub next_at: DateTime<Utc>,
    /// HTTP status of the last attempt.
    pub last_status: Option<i32>,
    /// What was wrong with the last attempt.
    pub last_error: Option<String>,
    /// When it was delivered or given up.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Which deliveries a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only those of this job.
    pub job_id: Option<JobId>,
    /// Only those in this state.
    pub state: Option<DeliveryState>,
    /// Only those of events with a lower number.
    pub before: Option<i64>,
}

struct DeliveryRow {
    id: Uuid,
    job_id: Uuid,
    seq: i64,
    kind: String,
    at: DateTime<Utc>,
    endpoint_id: Option<Uuid>,
    url: String,
    state: String,
    attempts: i32,
    next_at: DateTime<Utc>,
    last_status: Option<i32>,
    last_error: Option<String>,
    ended_at: Option<DateTime<Utc>>,
}

fn into_record(row: DeliveryRow) -> Result<DeliveryRecord> {
    let unreadable = |error: String| StoreError::unreadable("webhook_deliveries", "state", row.id, error);
    Ok(DeliveryRecord {
        state: row.state.parse().map_err(unreadable)?,
        id: row.id,
        job_id: JobId(row.job_id),
        seq: row.seq,
        kind: row.kind,
        at: row.at,
        endpoint_id: row.endpoint_id,
        url: row.url,
        attempts: row.attempts,
        next_at: row.next_at,
        last_status: row.last_status,
        last_error: row.last_error,
        ended_at: row.ended_at,
    })
}

impl Store {
    /// Deliveries, newest event first. A page ends between two events, never within one.
    ///
    /// # Errors
    /// The database's error.
    pub async fn deliveries(&self, scope: Scope, filter: DeliveryFilter, limit: u32) -> Result<Vec<DeliveryRecord>> {
        let rows = sqlx::query_as!(
            DeliveryRow,
            r#"-- list_deliveries
             SELECT id AS "id!", job_id AS "job_id!", seq AS "seq!", kind AS "kind!", at AS "at!", endpoint_id, url AS "url!",
                 state AS "state!", attempts AS "attempts!", next_at AS "next_at!", last_status, last_error, ended_at
             FROM (
                 -- One branch per index; the conditions on the arguments leave one of them.
                 (SELECT * FROM webhook_deliveries
                 WHERE $2::uuid IS NOT NULL AND job_id = $2 AND ($1::uuid IS NULL OR tenant_id = $1)
                     AND ($3::text IS NULL OR state = $3) AND seq < COALESCE($4::bigint, 9223372036854775807)
                 ORDER BY seq DESC FETCH FIRST $5 ROWS WITH TIES)
                 UNION ALL
                 (SELECT * FROM webhook_deliveries
                 WHERE $2 IS NULL AND tenant_id = $1
                     AND ($3 IS NULL OR state = $3) AND seq < COALESCE($4, 9223372036854775807)
                 ORDER BY seq DESC FETCH FIRST $5 ROWS WITH TIES)
                 UNION ALL
                 (SELECT * FROM webhook_deliveries
                 WHERE $2 IS NULL AND $1 IS NULL
                     AND ($3 IS NULL OR state = $3) AND seq < COALESCE($4, 9223372036854775807)
                 ORDER BY seq DESC FETCH FIRST $5 ROWS WITH TIES)
             ) AS log
             ORDER BY seq DESC FETCH FIRST $5 ROWS WITH TIES"#,
            scope.tenant(),
            filter.job_id.map(|job_id| job_id.0),
            filter.state.map(DeliveryState::as_str),
            filter.before,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(into_record).collect()
    }

    /// Sends a delivery again that was delivered or given up, with the same id; `false` when the caller has none with this id.
    ///
    /// # Errors
    /// The database's error.
    pub async fn redeliver(&self, scope: Scope, id: Uuid) -> Result<bool> {
        let again = sqlx::query!(
            "-- redeliver
             UPDATE webhook_deliveries SET state = 'pending', attempts = CASE state WHEN 'pending' THEN attempts ELSE 0 END,
                 ended_at = NULL, since = clock_timestamp(), next_at = clock_timestamp()
             WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)",
            id,
            scope.tenant()
        )
        .execute(&self.pool)
        .await?;
        Ok(again.rows_affected() == 1)
    }
}
