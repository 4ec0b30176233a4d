//! The fleet's history, which can be replayed from any position.
//!
//! Sequence numbers are assigned before transactions commit, so events become visible out of order. Readers therefore stop
//! before the oldest transaction of this database that is still open and continue in `(txid, seq)` order: no event can appear
//! behind a position that they have passed. The price is that a long write transaction in this database delays the events
//! after it. How the order outlasts a restore is in `era.rs`. Events of one job are written under its row's lock, so for them
//! `seq` alone is in order and nothing is held back.
//!
//! Where readers stop can fall back for a moment: a transaction of another database that ends while it is looked at counts as one
//! of this database. A position that one reader has passed stays safe for all others nevertheless.

use chrono::{DateTime, Utc};
use domain::{EventCursor, JobEvent, JobId, TenantId};
use serde_json::Value;
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::readable::readable;

/// Which events a stream shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventScope {
    /// Events of one job.
    Job(JobId),
    /// Events of one tenant's jobs.
    Tenant(TenantId),
    /// Events of all jobs.
    Fleet,
}

struct EventRow {
    seq: i64,
    txid: i64,
    job_id: Uuid,
    tenant_id: Uuid,
    kind: String,
    detail: Value,
    at: DateTime<Utc>,
}

impl Store {
    /// Events after `cursor`, oldest first. `EventCursor::default()` is the beginning.
    ///
    /// # Errors
    /// The database's error.
    pub async fn events_after(&self, scope: EventScope, cursor: EventCursor, limit: u32) -> Result<Vec<JobEvent>> {
        self.events_after_reader(scope, cursor, EventCursor::default(), limit).await
    }

    /// As [`Store::events_after`], and at least up to `reader`, a position that another reader of the fleet's events has passed.
    ///
    /// # Errors
    /// The database's error.
    pub async fn events_after_reader(
        &self,
        scope: EventScope,
        cursor: EventCursor,
        reader: EventCursor,
        limit: u32,
    ) -> Result<Vec<JobEvent>> {
        let limit = i64::from(limit);
        let rows = match scope {
            EventScope::Job(job) => {
                sqlx::query_as!(
                    EventRow,
                    "-- events_of_job
                     SELECT seq, txid, job_id, tenant_id, kind, detail, at FROM job_events
                     WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
                    job.0,
                    cursor.seq,
                    limit
                )
                .fetch_all(&self.pool)
                .await?
            }
            EventScope::Tenant(tenant) => {
                sqlx::query_as!(
                    EventRow,
                    "-- events_of_tenant
                     SELECT seq, txid, job_id, tenant_id, kind, detail, at FROM job_events
                     WHERE tenant_id = $1 AND (txid, seq) > ($2, $3)
                         AND txid < GREATEST((SELECT events_horizon()), $5::bigint + 1)
                     ORDER BY txid, seq LIMIT $4",
                    tenant.0,
                    cursor.txid,
                    cursor.seq,
                    limit,
                    reader.txid
                )
                .fetch_all(&self.pool)
                .await?
            }
            EventScope::Fleet => {
                sqlx::query_as!(
                    EventRow,
                    "-- events_of_fleet
                     SELECT seq, txid, job_id, tenant_id, kind, detail, at FROM job_events
                     WHERE (txid, seq) > ($1, $2) AND txid < GREATEST((SELECT events_horizon()), $4::bigint + 1)
                     ORDER BY txid, seq LIMIT $3",
                    cursor.txid,
                    cursor.seq,
                    limit,
                    reader.txid
                )
                .fetch_all(&self.pool)
                .await?
            }
        };
        readable(rows.into_iter().map(into_event))
    }

    /// Start position of a stream that only shows events from now on.
    ///
    /// # Errors
    /// The database's error.
    pub async fn events_from_now(&self) -> Result<EventCursor> {
        let txid = sqlx::query_scalar!(
            r#"-- events_from_now
            SELECT events_horizon() AS "txid!""#
        )
        .fetch_one(&self.pool)
        .await?;
        // Every transaction of this database before this one has ended, so none of their events can appear behind this cursor.
        Ok(EventCursor { txid, seq: 0 })
    }
}

fn into_event(row: EventRow) -> Result<JobEvent> {
    Ok(JobEvent {
        job_id: JobId(row.job_id),
        tenant_id: TenantId(row.tenant_id),
        cursor: EventCursor { txid: row.txid, seq: row.seq },
        kind: row.kind.parse().map_err(|error| StoreError::unreadable("job_events", "kind", row.seq, error))?,
        detail: row.detail,
        at: row.at,
    })
}
