//! A job as JSON: its status, what the optimisations did, and where to fetch its video.

use chrono::{DateTime, Utc};
use domain::model::RenderShape;
use domain::plan::FactorScore;
use domain::{
    CacheMatch, Choice, Complexity, DraftRecord, Failure, Job, JobStatus, Plan, ProgressivePlan, RunRecord, Stage,
    StepCachePlan, StepsReason, Tier, VideoRequest,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::image::JobImageView;
use super::prompt::PromptTokensView;

/// A job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobView {
    /// Id of the job and of its video.
    pub job_id: Uuid,
    /// State of the job.
    pub status: JobStatus,
    /// The request with `seed` and `model` filled in. Sending it again produces the same video.
    pub request: VideoRequest,
    /// What the model's text encoders read of the prompt and of the negative prompt; null while the API does not have the model's
    /// tokenizers.
    pub prompt_tokens: Option<Vec<PromptTokensView>>,
    /// Whether the fleet chose the seed at random.
    pub seed_drawn: bool,
    /// Size, length and frame rate that the model renders for the request.
    pub shape: RenderShape,
    /// Seconds of playback.
    pub duration_s: f64,
    /// What the optimisations planned and did.
    pub optimization: OptimizationView,
    /// Number of jobs that will start before this one on the same kind of worker; null unless the job is waiting.
    pub queue_position: Option<i64>,
    /// Estimated seconds until a worker starts it; null unless the job is waiting and a suitable worker is available.
    pub queue_wait_s: Option<f64>,
    /// The picture that the video begins from; null for text alone.
    pub image: Option<JobImageView>,
    /// Progress; null unless the job is running.
    pub progress: Option<ProgressView>,
    /// What the video will probably look like; null before the first preview.
    pub preview: Option<PreviewView>,
    /// The draft, once the job has paused after its first steps.
    pub draft: Option<DraftRecord>,
    /// The job that this one renders again, to compare the bytes; null for all others.
    pub replays: Option<Uuid>,
    /// Group of candidates that the job belongs to; null for a video by itself.
    pub group_id: Option<Uuid>,
    /// How the job was chosen among the candidates of its group; null unless it was.
    pub choice: Option<Choice>,
    /// Estimated GPU seconds that cancelling the job saved; null unless it was cancelled after it had started.
    pub stopping_saved_s: Option<f64>,
    /// Number of attempts by workers since the job was submitted or last retried.
    pub attempts: i32,
    /// Whether a cancellation was requested that has not taken effect yet.
    pub cancel_requested: bool,
    /// Earliest time of the next attempt after a failed one.
    pub not_before: Option<DateTime<Utc>>,
    /// The worker that is rendering it or rendered it.
    pub worker_id: Option<Uuid>,
    /// The video; null until completed.
    pub video: Option<VideoView>,
    /// Measurements of the run; null until completed.
    pub record: Option<RunRecord>,
    /// Why the job failed; null unless it did.
    pub failure: Option<Failure>,
    /// Paths of related resources and actions.
    pub links: Links,
    /// Time of submission.
    pub created_at: DateTime<Utc>,
    /// Time at which a worker first started it since it was submitted or last retried.
    pub started_at: Option<DateTime<Utc>>,
    /// Time at which it completed, failed or was cancelled.
    pub finished_at: Option<DateTime<Utc>>,
    /// Time at which its owner deleted it. It can be restored until the retention period ends.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// What the optimisations planned, and what they did during the run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OptimizationView {
    /// Whether the prompt's embeddings came from the cache; null until completed.
    pub cache_hit: Option<bool>,
    /// Complexity class of the prompt.
    pub complexity: Option<Complexity>,
    /// Planned number of denoising steps.
    pub final_steps: Option<u32>,
    /// Estimated duration of the run in minutes, without queueing.
    pub estimated_time: Option<f64>,
    /// The tier in which the job runs. `auto` is resolved to a tier.
    pub quality_tier: Option<Tier>,
    /// False until the scheduler has planned the job. The values are then a forecast of the API, made with the same rules.
    pub planned: bool,
    /// Reason for the number of steps.
    pub steps_reason: Option<StepsReason>,
    /// Complexity score of the prompt: the sum of the factors.
    pub score: Option<f64>,
    /// The factors of the score, each with the words of the prompt that contributed to it.
    pub factors: Vec<FactorScore>,
    /// Planned step caching.
    pub step_cache: Option<StepCachePlan>,
    /// How many times as many frames per second interpolation makes; null for none.
    pub interpolate: Option<u32>,
    /// Early steps at half the size; null for none.
    pub progressive: Option<ProgressivePlan>,
    /// Whether the embeddings came from an identical prompt, from a similar prompt or from the encoder.
    pub cache_match: Option<CacheMatch>,
    /// Similarity of the prompt whose embeddings were used, 0 to 1; null unless a similar prompt was used.
    pub cache_score: Option<f64>,
    /// Number of steps that ran through the transformer.
    pub steps_computed: Option<u32>,
    /// Number of steps that the step cache replaced.
    pub steps_skipped: Option<u32>,
    /// Actual duration of the run in minutes.
    pub actual_time: Option<f64>,
    /// Cost of the run in US dollars.
    pub cost_usd: Option<f64>,
    /// Seconds saved compared with the model's default steps and no caches.
    pub saved_s: Option<f64>,
    /// US dollars saved compared with the model's default steps and no caches.
    pub saved_usd: Option<f64>,
}

/// Progress of a running job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProgressView {
    /// Current stage.
    pub stage: Option<Stage>,
    /// Number of denoising steps done.
    pub step: u32,
    /// Total number of denoising steps.
    pub steps: u32,
}

/// The latest preview.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PreviewView {
    /// Path of the animated WebP.
    pub url: String,
    /// Number of denoising steps done when it was made.
    pub step: u32,
}

/// A finished video.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VideoView {
    /// Path of the MP4; supports byte ranges.
    pub url: String,
    /// Path of its middle frame, a JPEG.
    pub poster_url: String,
    /// Size of the MP4 in bytes.
    pub bytes: i64,
    /// Frames of the MP4; more than `shape` says where the video was interpolated.
    pub frames: u32,
    /// Frames per second of the MP4.
    pub fps: f64,
}

/// Paths of a job's related resources and actions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Links {
    /// The job.
    #[serde(rename = "self")]
    pub this: String,
    /// Stream of its events (server-sent events).
    pub events: String,
    /// POST here to cancel the job; null when it has ended.
    pub cancel: Option<String>,
    /// POST here to continue the job; null unless it is drafted.
    #[serde(rename = "continue")]
    pub proceed: Option<String>,
    /// All candidates of its group; null for a video by itself.
    pub group: Option<String>,
    /// POST here to retry the job; null unless it failed or was cancelled.
    pub retry: Option<String>,
    /// POST here to render the job again and compare the bytes; null until completed.
    pub replay: Option<String>,
    /// The MP4; null until completed.
    pub video: Option<String>,
}

impl Links {
    fn of(job: &Job) -> Self {
        let this = format!("/api/jobs/{}", job.id);
        let retryable = matches!(job.status, JobStatus::Failed | JobStatus::Cancelled);
        Self {
            events: format!("{this}/events"),
            cancel: (!job.status.is_terminal()).then(|| format!("{this}/cancel")),
            proceed: (job.status == JobStatus::Drafted).then(|| format!("{this}/continue")),
            group: job.group_id.map(|group| format!("/api/groups/{group}")),
            retry: retryable.then(|| format!("{this}/retry")),
            replay: job.rendered.is_some().then(|| format!("{this}/replay")),
            video: job.rendered.is_some().then(|| format!("/api/videos/{}", job.id)),
            this,
        }
    }
}

impl OptimizationView {
    /// From the job's own plan, or from the forecast while it has none.
    fn of(job: &Job, forecast: Option<&Plan>) -> Self {
        let plan = job.plan.as_ref().or(forecast);
        let record = job.record.as_ref();
        let hit = record.map(|record| record.cache_match.is_hit());
        let estimate_s = plan.map(|plan| if hit == Some(true) { plan.estimate_cached_s } else { plan.estimate_s });
        Self {
            cache_hit: hit,
            complexity: plan.map(|plan| plan.complexity),
            final_steps: plan.map(|plan| plan.steps),
            estimated_time: estimate_s.map(minutes),
            quality_tier: plan.map(|plan| plan.tier),
            planned: job.plan.is_some(),
            steps_reason: plan.map(|plan| plan.steps_reason),
            score: plan.map(|plan| plan.score),
            factors: plan.map(|plan| plan.factors.clone()).unwrap_or_default(),
            step_cache: plan.map(|plan| plan.step_cache),
            interpolate: plan.and_then(|plan| plan.interpolate),
            progressive: plan.and_then(|plan| plan.progressive),
            cache_match: record.map(|record| record.cache_match),
            cache_score: record.and_then(|record| record.cache_score),
            steps_computed: record.map(|record| record.steps_computed),
            steps_skipped: record.map(|record| record.steps_skipped),
            actual_time: record.map(|record| minutes(record.stages.total_s())),
            cost_usd: record.map(|record| record.cost_usd),
            saved_s: record.map(|record| record.saved_s),
            saved_usd: record.map(|record| record.saved_usd),
        }
    }
}

impl JobView {
    /// Creates the view, without `prompt_tokens`. `forecast` is used while the scheduler has not planned the job.
    #[must_use]
    pub fn new(job: Job, forecast: Option<&Plan>, queue_wait_s: Option<f64>) -> Self {
        let optimization = OptimizationView::of(&job, forecast);
        let links = Links::of(&job);
        let running = job.status == JobStatus::Running;
        let waiting = matches!(job.status, JobStatus::Queued | JobStatus::Scheduled);
        let steps = job.plan.as_ref().map_or(0, |plan| plan.steps);
        let stopping_saved_s = stopping_saved_s(&job);
        let interpolated = job.record.as_ref().and_then(|record| record.interpolation.as_ref());
        let delivered = job.shape.interpolated(interpolated.map_or(1, |done| done.factor));
        Self {
            job_id: job.id.0,
            status: job.status,
            seed_drawn: job.seed_drawn,
            shape: job.shape,
            duration_s: job.shape.duration_s(),
            optimization,
            image: job.request.image.as_ref().and_then(|image| Some(JobImageView::new(image.stored()?, &job.shape))),
            queue_position: job.queue_position.filter(|_| waiting),
            queue_wait_s: queue_wait_s.filter(|_| waiting),
            progress: running.then_some(ProgressView { stage: job.stage, step: job.step, steps }),
            preview: job.preview.map(|preview| PreviewView {
                url: format!("/api/jobs/{}/preview?step={}", job.id, preview.step),
                step: preview.step,
            }),
            draft: job.draft,
            replays: job.replays.map(|original| original.0),
            group_id: job.group_id.map(|group| group.0),
            choice: job.choice,
            stopping_saved_s,
            attempts: job.attempts_total,
            cancel_requested: job.cancel_requested && !job.status.is_terminal(),
            not_before: job.not_before.filter(|_| waiting),
            worker_id: job.worker_id.map(|id| id.0),
            video: job.rendered.map(|rendered| VideoView {
                url: format!("/api/videos/{}", job.id),
                poster_url: format!("/api/videos/{}/poster", job.id),
                bytes: rendered.video_bytes,
                frames: delivered.frames,
                fps: delivered.fps,
            }),
            record: job.record,
            failure: job.failure,
            links,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            deleted_at: job.deleted_at,
            request: job.request,
            prompt_tokens: None,
        }
    }
}

/// The part of the estimate that a cancelled job did not use, by its steps. What it had started counts as used.
fn stopping_saved_s(job: &Job) -> Option<f64> {
    let plan = job.plan.as_ref()?;
    if job.status != JobStatus::Cancelled || job.started_at.is_none() || plan.steps == 0 {
        return None;
    }
    Some(plan.estimate_s * (1.0 - plan.done(job.step.min(plan.steps))))
}

/// Converts seconds to minutes as the API shows them: to a tenth, which is finer than any estimate, or to a thousandth below one
/// minute, for small models that finish within seconds.
#[must_use]
pub fn minutes(seconds: f64) -> f64 {
    let minutes = seconds / 60.0;
    if minutes >= 1.0 { (minutes * 10.0).round() / 10.0 } else { (minutes * 1000.0).round() / 1000.0 }
}

#[cfg(test)]
mod tests {
    use super::minutes;

    #[test]
    fn minutes_keep_only_meaningful_digits() {
        assert_eq!(minutes(312.0), 5.2);
        assert_eq!(minutes(270.0), 4.5);
        assert_eq!(minutes(2.0), 0.033);
        assert_eq!(minutes(0.0), 0.0);
    }
}
