//! `GET /api/workers`: the workers and their jobs.

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
    Ok(Json(WorkerListView { workers: all.into_iter().map(|worker| view(worker, &visible)).collect() }))
}

fn view(worker: WorkerStatus, visible: &[JobId]) -> WorkerView {
    let info = worker.info;
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
        job_ids: worker.job_ids.iter().filter(|id| visible.contains(id)).map(|id| id.0).collect(),
    }
}
