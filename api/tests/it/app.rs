//! The API under test, and a worker's actions for tests that need a job in a later state.

use std::sync::atomic::Ordering;

use api::commands::serve::{assemble, connection_limits};
use api::overview;
use api::router::router;
use api::server::serve;
use api::state::AppState;
use domain::worker::WorkerInfo;
use domain::{CacheMatch, JobId, LeaseToken, Plan, Rendered, Reproduction, RunRecord, StageSeconds, WorkerId};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use settings::Settings;
use store::leases::ClaimOutcome;
use store::planning::PlannedJob;
use store::{Lease, Store};
use telemetry::Stop;
use tempfile::TempDir;
use testkit::rabbitmq::Vhost;
use testkit::{Services, builders, http_client, postgres, repository, services};
use uuid::Uuid;

/// A running API with its own database, virtual host and object folder.
pub(crate) struct TestApp {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) state: AppState,
    pub(crate) store: Store,
    stop: Stop,
    settings: Settings,
    vhost: Vhost,
    _folder: TempDir,
}

/// Status and body of a response.
pub(crate) type Answer = (StatusCode, Value);

impl TestApp {
    /// Starts an API with default settings.
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_| {}).await
    }

    /// Starts an API with changed settings.
    pub(crate) async fn spawn_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::spawn_on(services(), change).await
    }

    /// Starts an API on services that the test has started itself.
    pub(crate) async fn spawn_on(services: &Services, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vhost = Vhost::create_on(services).await;
        let mut settings = Settings::defaults();
        settings.database.url = settings::SecretUrl::new(postgres::database_on(services).await);
        settings.database.pool_max = 8;
        settings.broker = vhost.settings();
        settings.redis.host = services.redis_host.clone();
        settings.redis.port = services.redis_port;
        settings.artifacts.url = folder.path().join("artifacts").display().to_string();
        settings.models.dirs = vec![repository().join("models/default")];
        settings.server.sse_poll_ms = 200;
        change(&mut settings);
        Self::serve(settings, vhost, folder).await
    }

    async fn serve(settings: Settings, vhost: Vhost, folder: TempDir) -> Self {
        let stop = Stop::new();
        let state = assemble(settings.clone(), stop.clone()).await.unwrap();
        overview::start(&state);
        state.started.store(true, Ordering::Release);
        let url = listen(&state, &stop).await;
        Self {
            url,
            client: http_client().cookie_store(true).build().unwrap(),
            store: state.store.clone(),
            state,
            stop,
            settings,
            vhost,
            _folder: folder,
        }
    }

    /// Starts a second API on the same services. Returns its address.
    pub(crate) async fn replica(&self) -> String {
        let state = assemble(self.settings.clone(), self.stop.clone()).await.unwrap();
        state.started.store(true, Ordering::Release);
        listen(&state, &self.stop).await
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.call(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.call(Method::POST, path).json(body)).await
    }

    /// Submits a prompt. Returns the job's id.
    pub(crate) async fn submit(&self, prompt: &str) -> JobId {
        let (status, job) = self.post("/api/generate", &json!({ "prompt": prompt })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        id(&job)
    }

    /// The API's virtual host.
    pub(crate) fn vhost(&self) -> &Vhost {
        &self.vhost
    }

    /// Plans, releases and claims a job, as the scheduler and a worker would.
    pub(crate) async fn claim(&self, job_id: JobId) -> Lease {
        self.claim_planned(job_id, builders::plan()).await
    }

    /// The same with a plan that the caller chooses.
    pub(crate) async fn claim_planned(&self, job_id: JobId, plan: Plan) -> Lease {
        self.claim_as_worker(job_id, plan).await.0
    }

    /// The same; returns the worker as well.
    pub(crate) async fn claim_as_worker(&self, job_id: JobId, plan: Plan) -> (Lease, WorkerId) {
        let store = &self.store;
        let epoch = store.try_lead(Uuid::nil(), 60.0).await.unwrap().expect("no other scheduler leads");
        store
            .save_plans(
                &[PlannedJob {
                    job_id,
                    plan,
                    order_delay_s: 0.0,
                    deadline_lead_s: 3_600.0,
                    share_s: 10.0,
                    adapters: String::new(),
                    batch_key: None,
                }],
                epoch,
            )
            .await
            .unwrap();
        self.claim_by_new_worker(job_id).await
    }

    /// Releases and claims a job that has a plan.
    pub(crate) async fn claim_released(&self, job_id: JobId) -> Lease {
        self.claim_by_new_worker(job_id).await.0
    }

    /// A worker of the default model.
    fn worker(&self) -> WorkerInfo {
        WorkerInfo {
            id: WorkerId::fresh(),
            name: "test".to_owned(),
            pool: builders::pool(),
            model_id: "default".to_owned(),
            model_fingerprint: self.state.models.find(None).unwrap().fingerprint.weights.clone(),
            device: "cpu".to_owned(),
            device_class: "cpu".to_owned(),
            build: "test".to_owned(),
            threads: 1,
            attention: None,
            memory_bytes: 4 << 30,
            slots: 1,
            formats: "f32/f32/f32".into(),
            gpu_hour_usd: 3.6,
            batch_max: 1,
            batch_tokens: 0,
            devices: 1,
        }
    }

    async fn claim_by_new_worker(&self, job_id: JobId) -> (Lease, WorkerId) {
        let (store, worker) = (&self.store, self.worker());
        store.register_worker(&worker).await.unwrap();
        let epoch = store.try_lead(Uuid::nil(), 60.0).await.unwrap().expect("no other scheduler leads");
        let released = store.release(&worker.pool, 100, epoch).await.unwrap();
        let released = released.into_iter().find(|released| released.job_id == job_id).expect("released");
        let token = LeaseToken::fresh();
        let claimed = store.claim(job_id, released.dispatch_no, token, worker.id, 60.0).await.unwrap();
        assert!(matches!(claimed, ClaimOutcome::Claimed(_)), "{claimed:?}");
        (Lease { job_id, token }, worker.id)
    }

    /// Completes a claimed job with these bytes as its video.
    pub(crate) async fn complete(&self, lease: Lease, video: &[u8]) {
        let video_key = artifacts::keys::video(lease.job_id, lease.token);
        let poster_key = artifacts::keys::poster(lease.job_id, lease.token);
        self.state.artifacts.put(&video_key, video.to_vec().into()).await.unwrap();
        self.state.artifacts.put(&poster_key, b"poster".to_vec().into()).await.unwrap();
        let rendered = Rendered { video_key, poster_key, video_bytes: i64::try_from(video.len()).unwrap() };
        // Any hash of the bytes serves to compare them.
        let hash = blake3::hash(video).to_hex().to_string();
        let reproduction = Reproduction {
            worker: self.worker().identity(),
            embeddings: "e".to_owned(),
            encoder: "test".to_owned(),
            frames: hash.clone(),
            video_sha256: hash,
        };
        let record = RunRecord { reproduction: Some(reproduction), ..record() };
        self.store.complete(lease, &rendered, &record).await.unwrap();
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

async fn listen(state: &AppState, stop: &Stop) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = connection_limits(&state.settings);
    tokio::spawn(serve(listener, router(AppState::clone(state)), limits, stop.soft().clone()));
    format!("http://{address}")
}

/// A run of 25 steps whose embeddings were cached.
fn record() -> RunRecord {
    RunRecord {
        cache_match: CacheMatch::Identical,
        cache_score: None,
        steps_computed: 20,
        steps_skipped: 5,
        stages: StageSeconds {
            encode_s: 1.0,
            adapters_s: 0.0,
            denoise_s: 250.0,
            decode_s: 50.0,
            interpolate_s: 0.0,
            deliver_s: 11.0,
        },
        interpolation: None,
        progressive: None,
        batch: None,
        devices: 1,
        device: "cpu".to_owned(),
        build: "test".to_owned(),
        resumed_from: None,
        restarted_because: None,
        adapters: Vec::new(),
        convergence: vec![],
        gpu_seconds: 312.0,
        cost_usd: 0.19,
        saved_s: 60.0,
        saved_usd: 0.04,
        savings: domain::Savings::default(),
        reproduction: None,
    }
}

/// Sends a request. A body that is not JSON is returned as a string.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The id of a job as JSON.
pub(crate) fn id(job: &Value) -> JobId {
    job["job_id"].as_str().expect("a job").parse().unwrap()
}

/// The fields that a problem names.
pub(crate) fn blamed(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["field"].as_str()).collect()
}
