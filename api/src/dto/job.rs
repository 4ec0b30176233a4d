//! A job as JSON: where it is, what the optimisations did, and where its video lies.

use chrono::{DateTime, Utc};
use domain::model::RenderShape;
use domain::plan::FactorScore;
use domain::{
    CacheMatch, Complexity, Failure, Job, JobStatus, Plan, RunRecord, Stage, StepCachePlan, StepsReason, Tier,
    VideoRequest,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// One job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobView {
    /// Its id; also the video's.
    pub job_id: Uuid,
    /// Where it is.
    pub status: JobStatus,
    /// The request with `seed` and `model` filled in: sent again it gives the same video.
    pub request: VideoRequest,
    /// Whether the seed was drawn by the fleet.
    pub seed_drawn: bool,
    /// What is rendered for the request by its model.
    pub shape: RenderShape,
    /// Seconds of playback.
    pub duration_s: f64,
    /// What the optimisations decided and did.
    pub optimization: OptimizationView,
    /// Jobs of the same kind of worker that go first; only while it waits.
    pub queue_position: Option<i64>,
    /// Estimated seconds until a worker takes it; only while it waits and a worker is there.
    pub queue_wait_s: Option<f64>,
    /// How far it is; only while running.
    pub progress: Option<ProgressView>,
    /// Claims by workers since it was last submitted.
    pub attempts: i32,
    /// A stop was asked for and has not taken effect.
    pub cancel_requested: bool,
    /// Not before this time: it failed and waits before the next try.
    pub not_before: Option<DateTime<Utc>>,
    /// The worker that renders or rendered it.
    pub worker_id: Option<Uuid>,
    /// The video, once completed.
    pub video: Option<VideoView>,
    /// What the run was like, once completed.
    pub record: Option<RunRecord>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Where to go from here.
    pub links: Links,
    /// Submission.
    pub created_at: DateTime<Utc>,
    /// First claim of the current try.
    pub started_at: Option<DateTime<Utc>>,
    /// A terminal state was reached.
    pub finished_at: Option<DateTime<Utc>>,
    /// Hidden by its owner; can be restored until the retention ends.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// What the optimisations decided (from the plan) and did (from the run).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OptimizationView {
    /// Whether the prompt's embeddings came from the cache; null until the run is over.
    pub cache_hit: Option<bool>,
    /// The prompt's class.
    pub complexity: Option<Complexity>,
    /// Planned denoising steps.
    pub final_steps: Option<u32>,
    /// Estimated minutes of the run alone, without waiting in the queue.
    pub estimated_time: Option<f64>,
    /// The tier that the job runs in, after `auto` was decided.
    pub quality_tier: Option<Tier>,
    /// False while the scheduler has not decided yet: the values above are then the API's forecast by the same rules.
    pub planned: bool,
    /// Why the steps are as many as they are.
    pub steps_reason: Option<StepsReason>,
    /// Sum of the prompt's factors.
    pub score: Option<f64>,
    /// The prompt's factors and the words that gave them.
    pub factors: Vec<FactorScore>,
    /// The step cache as planned.
    pub step_cache: Option<StepCachePlan>,
    /// How the embeddings were found.
    pub cache_match: Option<CacheMatch>,
    /// Similarity of the prompt whose embeddings were used, 0 to 1.
    pub cache_score: Option<f64>,
    /// Steps that went through the transformer.
    pub steps_computed: Option<u32>,
    /// Steps that the step cache answered.
    pub steps_skipped: Option<u32>,
    /// Minutes the run really took.
    pub actual_time: Option<f64>,
    /// Price of the run, US dollars.
    pub cost_usd: Option<f64>,
    /// Seconds saved against fixed steps without caches.
    pub saved_s: Option<f64>,
    /// Dollars saved against fixed steps without caches.
    pub saved_usd: Option<f64>,
}

/// How far a running job is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProgressView {
    /// What it is doing.
    pub stage: Option<Stage>,
    /// Denoising steps done.
    pub step: u32,
    /// Denoising steps in all.
    pub steps: u32,
}

/// A finished video.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VideoView {
    /// The MP4; answers byte ranges.
    pub url: String,
    /// Its first frame, JPEG.
    pub poster_url: String,
    /// Size of the MP4, bytes.
    pub bytes: i64,
}

/// Paths that go with a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Links {
    /// The job.
    #[serde(rename = "self")]
    pub this: String,
    /// Its events, as a stream.
    pub events: String,
    /// Where a POST stops it; null when it has ended.
    pub cancel: Option<String>,
    /// Where a POST tries it again; null unless it failed or was cancelled.
    pub retry: Option<String>,
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
            retry: retryable.then(|| format!("{this}/retry")),
            video: job.rendered.is_some().then(|| format!("/api/videos/{}", job.id)),
            this,
        }
    }
}

impl OptimizationView {
    /// From the job's own plan, or the forecast while it has none.
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
    /// Builds the view. `forecast` stands in for a plan that the scheduler has not made yet.
    #[must_use]
    pub fn new(job: Job, forecast: Option<&Plan>, queue_wait_s: Option<f64>) -> Self {
        let optimization = OptimizationView::of(&job, forecast);
        let links = Links::of(&job);
        let running = job.status == JobStatus::Running;
        let waiting = matches!(job.status, JobStatus::Queued | JobStatus::Scheduled);
        let steps = job.plan.as_ref().map_or(0, |plan| plan.steps);
        Self {
            job_id: job.id.0,
            status: job.status,
            seed_drawn: job.seed_drawn,
            shape: job.shape,
            duration_s: job.shape.duration_s(),
            optimization,
            queue_position: job.queue_position.filter(|_| waiting),
            queue_wait_s: queue_wait_s.filter(|_| waiting),
            progress: running.then_some(ProgressView { stage: job.stage, step: job.step, steps }),
            attempts: job.attempts_total,
            cancel_requested: job.cancel_requested && !job.status.is_terminal(),
            not_before: job.not_before.filter(|_| waiting),
            worker_id: job.worker_id.map(|id| id.0),
            video: job.rendered.map(|rendered| VideoView {
                url: format!("/api/videos/{}", job.id),
                poster_url: format!("/api/videos/{}/poster", job.id),
                bytes: rendered.video_bytes,
            }),
            record: job.record,
            failure: job.failure,
            links,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            deleted_at: job.deleted_at,
            request: job.request,
        }
    }
}

/// Seconds as the API's minutes: a hundredth is finer than any estimate, except for models that finish in a second.
#[must_use]
pub fn minutes(seconds: f64) -> f64 {
    let minutes = seconds / 60.0;
    if minutes >= 1.0 { (minutes * 10.0).round() / 10.0 } else { (minutes * 1000.0).round() / 1000.0 }
}

#[cfg(test)]
mod tests {
    use super::minutes;

    #[test]
    fn minutes_are_rounded_as_finely_as_they_mean_something() {
        assert_eq!(minutes(312.0), 5.2);
        assert_eq!(minutes(270.0), 4.5);
        assert_eq!(minutes(2.0), 0.033);
        assert_eq!(minutes(0.0), 0.0);
    }
}
