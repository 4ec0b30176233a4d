//! Usage and runs as JSON.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use store::ledger::{JobRun, SavedBy, UsageRow, WorkerUsage};
use utoipa::ToSchema;
use uuid::Uuid;

/// Usage in a range of days.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageView {
    /// First day (UTC).
    pub from: NaiveDate,
    /// Last day, included.
    pub to: NaiveDate,
    /// What the rows are grouped by.
    pub group_by: Vec<&'static str>,
    /// One row per group.
    pub rows: Vec<UsageRowView>,
    /// The rows added up.
    pub total: UsageSumsView,
    /// Time of workers, grouped by those of `day`, `month`, `model` and `worker` that were asked for. Null for users, because
    /// workers serve all tenants.
    pub workers: Option<Vec<WorkerUsageView>>,
}

/// Usage of one group. The fields by which the rows are not grouped are absent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageRowView {
    /// Day such as `2026-11-28`, or month such as `2026-11` (UTC), in which the runs ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// Name of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Id of the API key; absent for jobs that were submitted without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Uuid>,
    /// Label of the API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Id of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The numbers.
    #[serde(flatten)]
    pub sums: UsageSumsView,
}

/// Numbers of usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct UsageSumsView {
    /// Number of runs that ended. A job has several if it was drafted, handed back or repeated.
    pub runs: i64,
    /// Number of videos.
    pub videos: i64,
    /// GPU seconds of all runs, also of those without a video.
    pub gpu_seconds: f64,
    /// Price of the GPU seconds in US dollars.
    pub cost_usd: f64,
    /// Of the runs, those that repeated a job after a fault.
    pub repeated_runs: i64,
    /// GPU seconds of the repeated runs.
    pub repeated_gpu_seconds: f64,
    /// Price of the repeated runs in US dollars.
    pub repeated_cost_usd: f64,
    /// Number of denoising steps that had to be computed again.
    pub lost_steps: i64,
    /// What each optimisation saved, by the cost model.
    pub saved: SavedView,
}

/// Savings by optimisation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct SavedView {
    /// Fewer steps than the model's default, because the prompts need no more.
    pub adaptive_steps: AmountView,
    /// Steps that the step cache replaced.
    pub step_cache: AmountView,
    /// Prompts whose embeddings were cached.
    pub embedding_cache: AmountView,
    /// Steps of drafts that nobody continued.
    pub drafts: AmountView,
}

/// GPU time and its price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct AmountView {
    /// GPU seconds; negative if more was used than saved.
    pub gpu_seconds: f64,
    /// Price in US dollars.
    pub usd: f64,
}

/// Time of workers in one group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerUsageView {
    /// Day or month (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
    /// Name of the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Id of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Seconds from registration to the last heartbeat; up to a minute of a live worker may be missing.
    pub online_s: f64,
    /// Price of the time online in US dollars.
    pub online_usd: f64,
    /// Seconds with a job. A run counts on the day on which it ends.
    pub busy_s: f64,
    /// Seconds without a job.
    pub idle_s: f64,
    /// Price of the time without a job in US dollars.
    pub idle_usd: f64,
    /// Number of runs that ended.
    pub runs: i64,
    /// Number of videos.
    pub videos: i64,
    /// Of the runs, those that repeated a job after a fault.
    pub repeated_runs: i64,
    /// GPU seconds of the repeated runs.
    pub repeated_gpu_seconds: f64,
    /// Price of the repeated runs in US dollars.
    pub repeated_cost_usd: f64,
    /// Number of denoising steps that had to be computed again.
    pub lost_steps: i64,
}

impl From<UsageRow> for UsageRowView {
    fn from(row: UsageRow) -> Self {
        let sums = UsageSumsView {
            runs: row.runs,
            videos: row.videos,
            gpu_seconds: row.gpu_seconds,
            cost_usd: row.cost_usd,
            repeated_runs: row.repeated_runs,
            repeated_gpu_seconds: row.repeated_gpu_seconds,
            repeated_cost_usd: row.repeated_cost_usd,
            lost_steps: row.lost_steps,
            saved: row.saved.into(),
        };
        Self {
            period: row.period,
            tenant: row.tenant,
            key_id: row.key_id.filter(|id| !id.is_nil()),
            key: row.key_label,
            model: row.model,
            tier: row.tier,
            sums,
        }
    }
}

impl From<SavedBy> for SavedView {
    fn from(saved: SavedBy) -> Self {
        Self {
            adaptive_steps: AmountView { gpu_seconds: saved.steps_s, usd: saved.steps_usd },
            step_cache: AmountView { gpu_seconds: saved.step_cache_s, usd: saved.step_cache_usd },
            embedding_cache: AmountView { gpu_seconds: saved.embeddings_s, usd: saved.embeddings_usd },
            drafts: AmountView { gpu_seconds: saved.drafts_s, usd: saved.drafts_usd },
        }
    }
}

impl AmountView {
    fn plus(self, other: Self) -> Self {
        Self { gpu_seconds: self.gpu_seconds + other.gpu_seconds, usd: self.usd + other.usd }
    }
}

impl UsageSumsView {
    /// Both added up.
    pub(crate) fn plus(self, other: &Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            videos: self.videos + other.videos,
            gpu_seconds: self.gpu_seconds + other.gpu_seconds,
            cost_usd: self.cost_usd + other.cost_usd,
            repeated_runs: self.repeated_runs + other.repeated_runs,
            repeated_gpu_seconds: self.repeated_gpu_seconds + other.repeated_gpu_seconds,
            repeated_cost_usd: self.repeated_cost_usd + other.repeated_cost_usd,
            lost_steps: self.lost_steps + other.lost_steps,
            saved: SavedView {
                adaptive_steps: self.saved.adaptive_steps.plus(other.saved.adaptive_steps),
                step_cache: self.saved.step_cache.plus(other.saved.step_cache),
                embedding_cache: self.saved.embedding_cache.plus(other.saved.embedding_cache),
                drafts: self.saved.drafts.plus(other.saved.drafts),
            },
        }
    }
}

impl From<WorkerUsage> for WorkerUsageView {
    fn from(row: WorkerUsage) -> Self {
        Self {
            period: row.period,
            worker: row.worker,
            model: row.model,
            online_s: row.online_s,
            online_usd: row.online_usd,
            busy_s: row.busy_s,
            // A run counts as a whole on the day of its end, and the last minute of a live worker may be missing.
            idle_s: (row.online_s - row.busy_s).max(0.0),
            idle_usd: (row.online_usd - row.busy_usd).max(0.0),
            runs: row.runs,
            videos: row.videos,
            repeated_runs: row.repeated_runs,
            repeated_gpu_seconds: row.repeated_gpu_seconds,
            repeated_cost_usd: row.repeated_cost_usd,
            lost_steps: row.lost_steps,
        }
    }
}

/// The runs of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobRunsView {
    /// Runs that have ended, oldest first.
    pub runs: Vec<JobRunView>,
}

/// A run: from a worker's claim of the job to the end of its lease.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobRunView {
    /// Number of the attempt.
    pub attempt: i32,
    /// Name of the worker.
    pub worker: String,
    /// Device of the worker.
    pub device: String,
    /// How it ended: `completed`, `drafted`, `failed`, `cancelled`, `retrying` (a fault; the job is tried again) or `handed_back`
    /// (the worker stopped; the job continues elsewhere).
    pub outcome: String,
    /// Whether the worker was lost. Its GPU seconds are then an estimate.
    pub lost: bool,
    /// Whether an earlier run of the job ended in a fault, so that this one repeats work.
    pub repeated: bool,
    /// Number of denoising steps that the next run had to compute again.
    pub lost_steps: i32,
    /// Time of the claim.
    pub started_at: DateTime<Utc>,
    /// Time of its end.
    pub ended_at: DateTime<Utc>,
    /// GPU seconds.
    pub gpu_seconds: f64,
    /// Price of the GPU seconds in US dollars.
    pub cost_usd: f64,
}

impl From<JobRun> for JobRunView {
    fn from(run: JobRun) -> Self {
        Self {
            attempt: run.attempt,
            worker: run.worker,
            device: run.device,
            outcome: run.outcome,
            lost: run.lost,
            repeated: run.repeated,
            lost_steps: run.lost_steps,
            started_at: run.started_at,
            ended_at: run.ended_at,
            gpu_seconds: run.gpu_seconds,
            cost_usd: run.cost_usd,
        }
    }
}
