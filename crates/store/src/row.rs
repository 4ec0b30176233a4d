//! Converts a row of `jobs` into a [`Job`], and single values for all queries.

use chrono::{DateTime, Utc};
use domain::model::RenderShape;
use domain::{
    CheckpointRef, Choice, DraftRecord, Failure, GroupId, Job, JobId, Plan, PreviewRef, Rendered, RunRecord, TenantId,
    WorkerId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Display;
use std::str::FromStr;
use uuid::Uuid;

use crate::document::read_request;
use crate::error::{Result, StoreError};
use crate::readable::left_out;

/// The columns of a row that a [`Job`] or a claim shows.
#[derive(Debug, Clone)]
pub(crate) struct JobRow {
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) request: Value,
    pub(crate) seed_drawn: bool,
    pub(crate) width: i32,
    pub(crate) height: i32,
    pub(crate) frames: i32,
    pub(crate) fps: f64,
    pub(crate) status: String,
    pub(crate) not_before: Option<DateTime<Utc>>,
    pub(crate) plan: Option<Value>,
    pub(crate) worker_id: Option<Uuid>,
    pub(crate) attempts_total: i32,
    pub(crate) stage: Option<String>,
    pub(crate) step: i32,
    pub(crate) steps_skipped: i32,
    pub(crate) checkpoint_key: Option<String>,
    pub(crate) checkpoint_step: i32,
    pub(crate) checkpoint_checksum: Option<String>,
    pub(crate) checkpoint_resumes: i32,
    pub(crate) preview_key: Option<String>,
    pub(crate) preview_step: Option<i32>,
    pub(crate) draft_until: Option<i32>,
    pub(crate) draft: Option<Value>,
    pub(crate) group_id: Option<Uuid>,
    pub(crate) choice: Option<Value>,
    pub(crate) cancel_requested: bool,
    pub(crate) video_key: Option<String>,
    pub(crate) poster_key: Option<String>,
    pub(crate) video_bytes: Option<i64>,
    pub(crate) record: Option<Value>,
    pub(crate) failure_code: Option<String>,
    pub(crate) failure_reason: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) origin: Option<Value>,
    pub(crate) replays: Option<Uuid>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    // Not part of a Job: what a claim needs in addition, and what distinguishes a replay from a reused key.
    pub(crate) dispatch_no: i32,
    pub(crate) batch_key: Option<String>,
    pub(crate) lease_token: Option<Uuid>,
    pub(crate) lease_remaining_s: Option<f64>,
    pub(crate) attempts: i32,
    pub(crate) gpu_seconds: f64,
    pub(crate) payload_hash: Vec<u8>,
}

impl JobRow {
    /// Converts the row.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`], which names the column.
    pub(crate) fn into_job(self) -> Result<Job> {
        let id = self.id;
        let shape = RenderShape {
            width: count(id, "width", self.width)?,
            height: count(id, "height", self.height)?,
            frames: count(id, "frames", self.frames)?,
            fps: self.fps,
        };
        let checkpoint = match (self.checkpoint_key, self.checkpoint_checksum) {
            (Some(key), Some(checksum)) => Some(CheckpointRef {
                key,
                checksum,
                step: count(id, "checkpoint_step", self.checkpoint_step)?,
                resumes: count(id, "checkpoint_resumes", self.checkpoint_resumes)?,
            }),
            _ => None,
        };
        let rendered = match (self.video_key, self.poster_key, self.video_bytes) {
            (Some(video_key), Some(poster_key), Some(video_bytes)) => {
                Some(Rendered { video_key, poster_key, video_bytes })
            }
            _ => None,
        };
        let preview = match (self.preview_key, self.preview_step) {
            (Some(key), Some(step)) => Some(PreviewRef { key, step: count(id, "preview_step", step)? }),
            _ => None,
        };
        let failure = self.failure_code.map(|code| Failure { code, reason: self.failure_reason.unwrap_or_default() });
        Ok(Job {
            id: JobId(id),
            tenant_id: TenantId(self.tenant_id),
            request: read_request(id, self.request)?,
            seed_drawn: self.seed_drawn,
            shape,
            status: word(id, "status", &self.status)?,
            plan: self.plan.map(|value| from_json::<Plan>(id, "plan", value)).transpose()?,
            not_before: self.not_before,
            queue_position: None,
            worker_id: self.worker_id.map(WorkerId),
            attempts_total: self.attempts_total,
            stage: self.stage.map(|text| word(id, "stage", &text)).transpose()?,
            step: count(id, "step", self.step)?,
            steps_skipped: count(id, "steps_skipped", self.steps_skipped)?,
            checkpoint,
            preview,
            draft_until: self.draft_until.map(|step| count(id, "draft_until", step)).transpose()?,
            // What another release measured is worth less than the job.
            draft: self
                .draft
                .and_then(|value| left_out(from_json::<DraftRecord>(id, "draft", value)).transpose())
                .transpose()?,
            group_id: self.group_id.map(GroupId),
            choice: self
                .choice
                .and_then(|value| left_out(from_json::<Choice>(id, "choice", value)).transpose())
                .transpose()?,
            gpu_seconds: self.gpu_seconds,
            cancel_requested: self.cancel_requested,
            rendered,
            // A record is for statistics: a job without it is worth more than an error.
            record: self
                .record
                .and_then(|value| left_out(from_json::<RunRecord>(id, "record", value)).transpose())
                .transpose()?,
            failure,
            traceparent: self.traceparent,
            origin: self.origin.map(|value| from_json(id, "origin", value)).transpose()?,
            replays: self.replays.map(JobId),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            deleted_at: self.deleted_at,
        })
    }
}

/// A word of a closed set.
pub(crate) fn word<T>(row: impl ToString, column: &'static str, text: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| StoreError::unreadable("jobs", column, row, error))
}

/// A number that is never negative.
pub(crate) fn count(row: impl ToString, column: &'static str, value: i32) -> Result<u32> {
    u32::try_from(value).map_err(|error| StoreError::unreadable("jobs", column, row, error))
}

/// A value stored as JSON.
pub(crate) fn from_json<T: DeserializeOwned>(row: impl ToString, column: &'static str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| StoreError::unreadable("jobs", column, row, error))
}

/// A value to store as JSON.
pub(crate) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| StoreError::Unstorable { what, reason: error.to_string() })
}

/// A number for a Postgres `integer`.
pub(crate) fn int(what: &'static str, value: u32) -> Result<i32> {
    i32::try_from(value)
        .map_err(|_| StoreError::Unstorable { what, reason: format!("{value} is above the limit of {}", i32::MAX) })
}

/// A number for a Postgres `bigint`.
pub(crate) fn bigint(what: &'static str, value: u64) -> Result<i64> {
    i64::try_from(value)
        .map_err(|_| StoreError::Unstorable { what, reason: format!("{value} is above the limit of {}", i64::MAX) })
}
