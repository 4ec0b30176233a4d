//! `GET /api/workers`: who renders.

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
    /// By name; those that said goodbye or fell silent are left out.
    pub workers: Vec<WorkerView>,
}

/// One worker.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerView {
    /// This life of its process.
    pub worker_id: Uuid,
    /// A name for people.
    pub name: String,
    /// Its ready queue: model and memory class.
    pub pool: String,
    /// The model it holds.
    pub model: String,
    /// `cpu`, or the GPU's name.
    pub device: String,
    /// Version of the worker and of libtorch.
    pub build: String,
    /// The attention kernel in use: `cudnn`, `flash`, `efficient` or `math`; null on a CPU.
    pub attention: Option<String>,
    /// Threads that the model computes with.
    pub threads: u32,
    /// Usable device memory, bytes.
    pub memory_bytes: u64,
    /// Jobs it renders at once.
    pub slots: u32,
    /// `ready`, `busy` or `draining`.
    pub state: String,
    /// Seconds since it was last heard of.
    pub silent_s: f64,
    /// When it registered.
    pub registered_at: DateTime<Utc>,
    /// What it renders, as far as the caller may see it.
    pub job_ids: Vec<Uuid>,
    /// Jobs it renders, whoever's they are.
    pub running: usize,
}

/// Lists the workers and what each is doing.
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
