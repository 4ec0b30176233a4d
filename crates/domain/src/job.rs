//! A whole job as the API and the page read it.

use chrono::{DateTime, Utc};

use crate::checkpoint::CheckpointRef;
use crate::draft::{Choice, DraftRecord};
use crate::event::Stage;
use crate::ids::{GroupId, JobId, TenantId, WorkerId};
use crate::lifecycle::JobStatus;
use crate::model::RenderShape;
use crate::origin::Origin;
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

/// The latest preview of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewRef {
    /// Object key of the animated WebP.
    pub key: String,
    /// Denoising steps done when it was made.
    pub step: u32,
}

/// Everything known about a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// The request, with `seed` and `model` filled in.
    pub request: VideoRequest,
    /// Whether the fleet chose the seed.
    pub seed_drawn: bool,
    /// What is or will be rendered.
    pub shape: RenderShape,
    /// Its state.
    pub status: JobStatus,
    /// Decided by the scheduler; `None` until then.
    pub plan: Option<Plan>,
    /// Not released before this time (backoff after a failure).
    pub not_before: Option<DateTime<Utc>>,
    /// Jobs of the same pool that go first; only while waiting, and only when requested.
    pub queue_position: Option<i64>,
    /// The worker that renders it.
    pub worker_id: Option<WorkerId>,
    /// Claims in total.
    pub attempts_total: i32,
    /// Its stage, while running.
    pub stage: Option<Stage>,
    /// Denoising steps done.
    pub step: u32,
    /// Of `step`, how many the step cache replaced.
    pub steps_skipped: u32,
    /// Where it can resume.
    pub checkpoint: Option<CheckpointRef>,
    /// The latest preview.
    pub preview: Option<PreviewRef>,
    /// Steps after which the run pauses; `None` for a run to the end.
    pub draft_until: Option<u32>,
    /// The draft, once the job has paused.
    pub draft: Option<DraftRecord>,
    /// The request that it is a candidate of.
    pub group_id: Option<GroupId>,
    /// How it was chosen among the candidates, when it was.
    pub choice: Option<Choice>,
    /// GPU seconds of finished attempts.
    pub gpu_seconds: f64,
    /// A cancel was requested and has not taken effect yet.
    pub cancel_requested: bool,
    /// The video, when completed.
    pub rendered: Option<Rendered>,
    /// The record of the run, when completed.
    pub record: Option<RunRecord>,
    /// Why it failed, when failed.
    pub failure: Option<Failure>,
    /// W3C traceparent of the submission.
    pub traceparent: Option<String>,
    /// How it came about, if another API or an earlier job was involved.
    pub origin: Option<Origin>,
    /// The job that it renders again, to compare the bytes.
    pub replays: Option<JobId>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it was first claimed since submission or the last retry.
    pub started_at: Option<DateTime<Utc>>,
    /// When it reached a terminal state.
    pub finished_at: Option<DateTime<Utc>>,
    /// When its owner deleted it.
    pub deleted_at: Option<DateTime<Utc>>,
}
