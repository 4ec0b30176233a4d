//! `GET /api/workers`: the workers and their jobs.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::JobId;
use serde::Serialize;
use store::jobs::Scope;
use store::workers::WorkerStatus;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Caller;
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// All workers.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerListView {
    /// Sorted by name. Workers that signed off or whose heartbeats stopped are not included.
    pub workers: Vec<WorkerView>,
}

/// One worker.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerView {
    /// Id of the worker process; a restarted worker has a new one.
    pub worker_id: Uuid,
    /// Name to show to people.
    pub name: String,
    /// Its pool: model and memory class.
    pub pool: String,
    /// Id of the model it has loaded.
    pub model: String,
    /// `cpu`, or the name of the GPU.
    pub device: String,
    /// Versions of the worker and of libtorch.
    pub build: String,
    /// The attention kernel in use: `cudnn`, `flash`, `efficient` or `math`; null on a CPU.
    pub attention: Option<String>,
    /// Number of threads that the model computes with.
    pub threads: u32,
    /// Usable device memory in bytes.
    pub memory_bytes: u64,
    /// Number of jobs it can render at once.
    pub slots: u32,
    /// `ready`, `busy` or `draining`.
    pub state: String,
    /// Seconds since its last heartbeat.
    pub silent_s: f64,
    /// Time at which it registered.
    pub registered_at: DateTime<Utc>,
    /// Jobs it is rendering that the caller may see.
    pub job_ids: Vec<Uuid>,
    /// Number of jobs it is rendering, including those of other tenants.
    pub running: usize,
    /// The adapters (LoRA) in its weights, or being merged into them. Of other tenants' adapters only an admin sees any.
    pub adapters: Vec<MergedView>,
    /// Fingerprints of the adapters whose files its machine keeps, as far as the caller may see them.
    pub adapters_cached: Vec<String>,
}

/// An adapter in a worker's weights.
#[derive(Debug, Serialize, ToSchema)]
pub struct MergedView {
    /// blake3 of its file.
    pub fingerprint: String,
    /// The caller's name for it; null for an adapter that the caller cannot use.
    pub name: Option<String>,
    /// How strongly it acts.
    pub scale: f64,
}

/// Lists the workers with the jobs that they are rendering.
#[utoipa::path(get, path = "/api/workers", tag = "fleet", responses((status = 200, body = WorkerListView)))]
pub async fn workers(State(app): State<AppState>, caller: Caller) -> Answer<Json<WorkerListView>> {
    let all = app.store.workers().await.map_err(|error| Problem::from_store(&error))?;
    let held: Vec<JobId> = all.iter().flat_map(|worker| worker.job_ids.iter().copied()).collect();
    let visible: Vec<JobId> = match caller.scope() {
        Scope::Fleet => held,
        scope @ Scope::Tenant(_) => {
            let own = app.store.get_many(scope, &held).await.map_err(|error| Problem::from_store(&error))?;
            own.into_iter().map(|job| job.id).collect()
        }
    };
    let names = names(&app, &caller, &all).await?;
    let sees = Sees { jobs: visible, names, all: caller.scope() == Scope::Fleet };
    Ok(Json(WorkerListView { workers: all.into_iter().map(|worker| view(worker, &sees)).collect() }))
}

/// What the caller may see of the workers.
struct Sees {
    jobs: Vec<JobId>,
    /// The caller's names of adapters, by fingerprint.
    names: HashMap<String, String>,
    /// Whether other tenants' adapters are shown.
    all: bool,
}

impl Sees {
    fn adapter(&self, fingerprint: &str) -> bool {
        self.all || self.names.contains_key(fingerprint)
    }
}

/// The caller's names of the adapters that workers hold.
async fn names(app: &AppState, caller: &Caller, workers: &[WorkerStatus]) -> Answer<HashMap<String, String>> {
    if workers.iter().all(|worker| worker.adapters.is_empty() && worker.adapters_cached.is_empty()) {
        return Ok(HashMap::new());
    }
    let loras = app.store.loras(caller.tenant_id, None).await.map_err(|error| Problem::from_store(&error))?;
    // In reverse, since the caller's own come first and their names count.
    Ok(loras.into_iter().rev().map(|stored| (stored.lora.fingerprint, stored.lora.name)).collect())
}

fn view(worker: WorkerStatus, sees: &Sees) -> WorkerView {
    let info = worker.info;
    let merged = |key: &str| {
        let (fingerprint, scale) = key.split_once('@')?;
        let name = sees.names.get(fingerprint).cloned();
        let view = MergedView { fingerprint: fingerprint.to_owned(), name, scale: scale.parse().ok()? };
        sees.adapter(fingerprint).then_some(view)
    };
    WorkerView {
        worker_id: info.id.0,
        name: info.name,
        pool: info.pool.to_string(),
        model: info.model_id,
        device: info.device,
        build: info.build,
        attention: info.attention,
        threads: info.threads,
        memory_bytes: info.memory_bytes,
        slots: info.slots,
        state: worker.state.to_string(),
        silent_s: worker.silent_s,
        registered_at: worker.registered_at,
        running: worker.job_ids.len(),
        job_ids: worker.job_ids.iter().filter(|id| sees.jobs.contains(id)).map(|id| id.0).collect(),
        adapters: worker.adapters.split(',').filter_map(merged).collect(),
        adapters_cached: worker.adapters_cached.into_iter().filter(|one| sees.adapter(one)).collect(),
    }
}
