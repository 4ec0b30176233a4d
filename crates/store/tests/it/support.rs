//! A fresh migrated database per test, and jobs in every state.

use domain::lifecycle::AttemptLimits;
use domain::model::RenderShape;
use domain::worker::WorkerInfo;
use domain::{
    CacheMatch, CheckpointRef, Complexity, DraftRecord, DraftScores, Job, JobId, LeaseToken, Plan, PoolId, Rendered,
    RunRecord, StageSeconds, StepCacheMode, StepCachePlan, StepsReason, TenantId, Tier, VideoRequest, WorkerId,
};
use sqlx::PgPool;
use store::jobs::{Continuation, InsertOutcome, NewJob, Scope};
use store::leases::{ClaimOutcome, ClaimedJob, RetryPolicy};
use store::planning::PlannedJob;
use store::{Epoch, Lease, Store, StoreOptions};
use uuid::Uuid;

/// Model and pool of all jobs here; 1 GiB is enough for [`plan`].
pub(crate) const MODEL: &str = "default";
/// How long before its latest start a job with a deadline is placed, seconds.
pub(crate) const LEAD_S: f64 = 3_600.0;
pub(crate) const LIMITS: AttemptLimits = AttemptLimits { attempts_max: 3, attempts_total_max: 6 };
/// No backoff, so that tests do not have to wait.
pub(crate) const POLICY: RetryPolicy = RetryPolicy { limits: LIMITS, backoff_s: 0.0, backoff_max_s: 0.0 };

/// A separate database, with this process as its leader.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    /// The same database, for inspecting rows and for plain statements.
    pub(crate) pool: PgPool,
    pub(crate) epoch: Epoch,
    pub(crate) tenant: TenantId,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let url = testkit::postgres::database().await;
        let mut options = StoreOptions::new(&url);
        options.connections_max = 12;
        let store = Store::connect(&options).await.expect("connect");
        let pool = PgPool::connect(&url).await.expect("connect");
        let epoch = store.try_lead(Uuid::new_v4(), 3_600.0).await.expect("lead").expect("no other leader");
        Self { store, pool, epoch, tenant: TenantId::DEFAULT }
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::Tenant(self.tenant)
    }

    /// A queued job without a plan.
    pub(crate) async fn queued(&self) -> Job {
        self.insert(new_job(self.tenant, MODEL)).await
    }

    pub(crate) async fn insert(&self, job: NewJob) -> Job {
        match self.store.insert(&job).await.expect("insert") {
            InsertOutcome::Created(job) => *job,
            other => panic!("not created: {other:?}"),
        }
    }

    /// A job that may be released.
    pub(crate) async fn planned(&self) -> JobId {
        let job = self.queued().await;
        self.plan_all(&[job.id], plan()).await;
        job.id
    }

    pub(crate) async fn plan_all(&self, jobs: &[JobId], plan: Plan) {
        let share_s = plan.estimate_s;
        self.plan_sharing(jobs, plan, share_s).await;
    }

    /// Plans jobs that count `share_s` seconds against their tenant's share, whatever their estimate.
    pub(crate) async fn plan_sharing(&self, jobs: &[JobId], plan: Plan, share_s: f64) {
        let planned = |job_id: &JobId| PlannedJob {
            job_id: *job_id,
            plan: plan.clone(),
            order_delay_s: 0.0,
            deadline_lead_s: LEAD_S,
            share_s,
            adapters: String::new(),
            batch_key: None,
        };
        let plans: Vec<_> = jobs.iter().map(planned).collect();
        let saved = self.store.save_plans(&plans, self.epoch).await.expect("save plans");
        assert_eq!(saved.len(), jobs.len());
    }

    /// A planned job of the tenant that must start within a minute and 40 seconds.
    pub(crate) async fn urgent(&self, model_id: &str) -> JobId {
        let mut job = new_job(self.tenant, model_id);
        job.request.deadline_s = Some(110);
        let job = self.insert(job).await;
        self.plan_all(&[job.id], plan()).await;
        job.id
    }

    /// A job that waits for a claim under the returned number; the only one of its pool.
    pub(crate) async fn scheduled(&self) -> (JobId, i32) {
        let job_id = self.planned().await;
        let released = self.store.release(&pool(), 100, self.epoch).await.expect("release");
        let this = released.iter().find(|released| released.job_id == job_id).expect("released");
        (job_id, this.dispatch_no)
    }

    pub(crate) async fn claim(&self, job_id: JobId, dispatch_no: i32, lease_s: f64) -> ClaimedJob {
        let (token, worker) = (LeaseToken::fresh(), WorkerId::fresh());
        match self.store.claim(job_id, dispatch_no, token, worker, lease_s).await.expect("claim") {
            ClaimOutcome::Claimed(claimed) => *claimed,
            other => panic!("not claimed: {other:?}"),
        }
    }

    /// A job held by the returned lease, which is valid for an hour.
    pub(crate) async fn running(&self) -> Lease {
        let (job_id, dispatch_no) = self.scheduled().await;
        self.claim(job_id, dispatch_no, 3_600.0).await.lease
    }

    /// A draft whose checkpoint reaches the step at which it pauses, held by the returned lease.
    pub(crate) async fn running_draft(&self, step: u32) -> Lease {
        let job = self.queued().await;
        self.plan_all(&[job.id], draft_plan(step)).await;
        self.drafting(job.id, step).await
    }

    /// The same for a planned job.
    pub(crate) async fn drafting(&self, job_id: JobId, step: u32) -> Lease {
        let released = self.store.release(&pool(), 100, self.epoch).await.expect("release");
        let this = released.iter().find(|released| released.job_id == job_id).expect("released");
        let lease = self.claim(job_id, this.dispatch_no, 3_600.0).await.lease;
        let key = format!("{}/{}/checkpoint-{step}.safetensors", lease.job_id, lease.token);
        let checkpoint = CheckpointRef { key, step, checksum: "c".into(), resumes: 0 };
        self.store.save_checkpoint(lease, &checkpoint).await.expect("save");
        lease
    }

    /// A draft that waits to be continued.
    pub(crate) async fn drafted(&self) -> JobId {
        let lease = self.running_draft(4).await;
        self.store.pause(lease, &draft(4), 2.5).await.expect("pause");
        lease.job_id
    }

    pub(crate) async fn completed(&self) -> JobId {
        let lease = self.running().await;
        self.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
        lease.job_id
    }

    /// Registers the model of all jobs here, whose weights are those of [`worker_info`].
    pub(crate) async fn model(&self) {
        sqlx::query(
            "INSERT INTO models (id, manifest, weights_fingerprint, encoders_fingerprint)
             VALUES ('default', '{}', 'w', 'e') ON CONFLICT DO NOTHING",
        )
        .execute(&self.pool)
        .await
        .expect("model");
    }

    pub(crate) async fn get(&self, job_id: JobId) -> Job {
        self.store.get(Scope::Fleet, job_id).await.expect("get").expect("there")
    }

    pub(crate) async fn event_kinds(&self, job_id: JobId) -> Vec<String> {
        let kinds = sqlx::query_scalar("SELECT kind FROM job_events WHERE job_id = $1 ORDER BY seq").bind(job_id.0);
        kinds.fetch_all(&self.pool).await.expect("events")
    }
}

pub(crate) fn shape() -> RenderShape {
    RenderShape { width: 96, height: 64, frames: 17, fps: 8.0 }
}

pub(crate) fn new_job(tenant: TenantId, model: &str) -> NewJob {
    NewJob::new(tenant, VideoRequest::new("a red ball rolls down a hill"), model, shape())
}

pub(crate) fn keyed(tenant: TenantId, key: &str, prompt: &str) -> NewJob {
    let mut job = NewJob::new(tenant, VideoRequest::new(prompt), MODEL, shape());
    job.idempotency_key = Some(key.to_owned());
    job
}

pub(crate) fn plan() -> Plan {
    Plan {
        tier: Tier::Standard,
        complexity: Complexity::Moderate,
        score: 1.5,
        factors: Vec::new(),
        steps: 25,
        steps_reason: StepsReason::Fixed,
        step_cache: StepCachePlan { mode: StepCacheMode::Off, threshold: 0.0 },
        flow_shift: None,
        guidance: None,
        interpolate: None,
        progressive: None,
        estimate_s: 10.0,
        estimate_cached_s: 8.0,
        memory_bytes: 1 << 20,
        draft_steps: None,
        continues: None,
    }
}

/// A plan that pauses after some steps.
pub(crate) fn draft_plan(draft_steps: u32) -> Plan {
    Plan { draft_steps: Some(draft_steps), ..plan() }
}

/// A draft of `step` steps.
pub(crate) fn draft(step: u32) -> DraftRecord {
    let scores = DraftScores { motion: 0.1, flicker: 0.01, sharpness: 0.002, contrast: 0.2 };
    DraftRecord { step, scores: Some(scores), gpu_seconds: 2.5, cost_usd: 0.002 }
}

/// How a draft goes on with its own plan.
pub(crate) fn same_plan() -> Continuation {
    Continuation { plan: plan(), share_s: 7.5, choice: None, epoch: None }
}

pub(crate) fn pool() -> PoolId {
    PoolId::of_worker(MODEL, 1 << 30)
}

/// A worker of [`pool`], which is not registered yet.
pub(crate) fn worker_info() -> WorkerInfo {
    let id = WorkerId::fresh();
    WorkerInfo {
        id,
        name: id.to_string(),
        pool: pool(),
        model_id: MODEL.into(),
        model_fingerprint: "w".into(),
        device: "cpu".into(),
        device_class: "cpu-avx2".into(),
        build: "test".into(),
        threads: 1,
        attention: None,
        memory_bytes: 1 << 30,
        slots: 1,
        formats: "f32/f32/f32".into(),
        gpu_hour_usd: 3.6,
        batch_max: 1,
        batch_tokens: 0,
        devices: 1,
    }
}

pub(crate) fn rendered(lease: Lease) -> Rendered {
    let prefix = format!("{}/{}", lease.job_id, lease.token);
    Rendered {
        video_key: format!("{prefix}/video.mp4"),
        poster_key: format!("{prefix}/poster.jpg"),
        video_bytes: 9_000,
    }
}

pub(crate) fn record() -> RunRecord {
    RunRecord {
        cache_match: CacheMatch::Identical,
        cache_score: None,
        steps_computed: 20,
        steps_skipped: 5,
        stages: StageSeconds {
            encode_s: 0.5,
            adapters_s: 0.0,
            denoise_s: 8.0,
            decode_s: 1.0,
            interpolate_s: 0.0,
            deliver_s: 0.5,
        },
        interpolation: None,
        progressive: None,
        batch: None,
        devices: 1,
        device: "cpu".into(),
        build: "test".into(),
        resumed_from: None,
        restarted_because: None,
        adapters: Vec::new(),
        convergence: vec![0.5, 0.25],
        gpu_seconds: 10.0,
        cost_usd: 0.01,
        saved_s: 4.0,
        saved_usd: 0.004,
        savings: domain::Savings::default(),
        reproduction: None,
    }
}
