//! A whole job as the API and the page read it.

use chrono::{DateTime, Utc};

use crate::checkpoint::CheckpointRef;
use crate::event::Stage;
use crate::ids::{JobId, TenantId, WorkerId};
use crate::lifecycle::JobStatus;
use crate::model::RenderShape;
use crate::plan::Plan;
use crate::record::{Failure, RunRecord};
use crate::request::VideoRequest;

/// A finished video.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Object key of the MP4.
    pub video_key: String,
    /// Object key of the poster (JPEG).
    pub poster_key: String,
    /// Size of the MP4, bytes.
    pub video_bytes: i64,
}

/// One job, everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// The request, with `seed` and `model` filled in.
    pub request: VideoRequest,
    /// Whether the seed was drawn by the fleet.
    pub seed_drawn: bool,
    /// What is or will be rendered.
    pub shape: RenderShape,
    /// Where it is.
    pub status: JobStatus,
    /// Decided by the scheduler; `None` until then.
    pub plan: Option<Plan>,
    /// Not before this time (backoff after a failure).
    pub not_before: Option<DateTime<Utc>>,
    /// Jobs of the same pool that go first; only while waiting, and only when it was asked for.
    pub queue_position: Option<i64>,
    /// Who renders it.
    pub worker_id: Option<WorkerId>,
    /// Claims in all.
    pub attempts_total: i32,
    /// What it is doing, while running.
    pub stage: Option<Stage>,
    /// Denoising steps done.
    pub step: u32,
    /// Of `step`, how many were answered by the step cache.
    pub steps_skipped: u32,
    /// Where it could resume.
    pub checkpoint: Option<CheckpointRef>,
    /// A stop was asked for and has not taken effect.
    pub cancel_requested: bool,
    /// The video, when completed.
    pub rendered: Option<Rendered>,
    /// What the run was like, when completed.
    pub record: Option<RunRecord>,
    /// Why it failed, when failed.
    pub failure: Option<Failure>,
    /// W3C traceparent of the submission.
    pub traceparent: Option<String>,
    /// Submission.
    pub created_at: DateTime<Utc>,
    /// First claim of the current try.
    pub started_at: Option<DateTime<Utc>>,
    /// Terminal state reached.
    pub finished_at: Option<DateTime<Utc>>,
    /// Hidden by its owner.
    pub deleted_at: Option<DateTime<Utc>>,
}
