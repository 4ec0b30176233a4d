//! `GET /api/workers`: pages of workers and their jobs.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{FieldError, JobId, WorkerId};
use serde::{Deserialize, Serialize};
use store::jobs::Scope;
use store::worker_list::WorkerPosition;
use store::workers::WorkerStatus;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::auth::Caller;
use crate::extract::QueryString;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::AppState;

/// Workers per page if the request does not set `limit`.
const PAGE_DEFAULT: u32 = 50;

/// Position of a page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WorkersQuery {
    /// Most workers on the page; default 50.
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// One page of workers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerListView {
    /// Sorted by name. Workers that signed off or whose heartbeats stopped are not included.
    pub workers: Vec<WorkerView>,
    /// Send this as `cursor` to get the next page; null on the last page.
    pub next_cursor: Option<String>,
    /// Number of workers on all pages.
    pub total: u64,
    /// Number of jobs that the workers on all pages are rendering and that the caller may see.
    pub running: u64,
}

/// One worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerView {
    /// Id of the worker process; a restarted worker has a new one.
    pub worker_id: Uuid,
    /// Name to show to people.
    pub name: String,
    /// Its pool: model, memory class and number of devices.
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
    /// Number of jobs it can begin at once. Jobs that it renders together use one slot.
    pub slots: u32,
    /// Most jobs that it renders together; 1 if it renders one after the other.
    pub batch_max: u32,
    /// Number of devices that compute each of its videos together.
    pub devices: u32,
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
pub(crate) struct MergedView {
    /// blake3 of its file.
    pub fingerprint: String,
    /// The caller's name for it; null for an adapter that the caller cannot use.
    pub name: Option<String>,
    /// How strongly it acts.
    pub scale: f64,
}

/// Lists workers with the jobs that they are rendering.
#[utoipa::path(
    get, path = "/api/workers", tag = "fleet", params(WorkersQuery),
    responses(
        (status = 200, body = WorkerListView),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid"),
    )
)]
pub(crate) async fn workers(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<WorkersQuery>,
) -> Answer<Json<WorkerListView>> {
    let limit_max = app.settings.limits.page_max;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT.min(limit_max));
    let mut wrong = Vec::new();
    if limit == 0 || limit > limit_max {
        wrong.push(FieldError::new("limit", format!("must be between 1 and {limit_max}")));
    }
    let after = query.cursor.as_deref().map(position);
    if after == Some(None) {
        wrong.push(FieldError::new("cursor", "must be the next_cursor of a previous page"));
    }
    if !wrong.is_empty() {
        return Err(Problem::fields(wrong));
    }
    let unavailable = |error| Problem::from_store(&error);
    // One more than asked for shows whether a page follows.
    let mut page = app.store.workers(after.flatten().as_ref(), limit + 1).await.map_err(unavailable)?;
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let next_cursor = page.last().filter(|_| more).map(|last| format!("{}{}", last.info.id.0, last.info.name));
    let counts = app.store.count_workers(caller.scope()).await.map_err(unavailable)?;
    let held: Vec<JobId> = page.iter().flat_map(|worker| worker.job_ids.iter().copied()).collect();
    let visible: HashSet<JobId> = match caller.scope() {
        Scope::Fleet => held.into_iter().collect(),
        scope @ Scope::Tenant(_) => {
            let own = app.store.get_many(scope, &held).await.map_err(unavailable)?;
            own.into_iter().map(|job| job.id).collect()
        }
    };
    let names = names(&app, &caller, &page).await?;
    let sees = Sees { jobs: visible, names, all: caller.scope() == Scope::Fleet };
    let workers = page.into_iter().map(|worker| view(worker, &sees)).collect();
    Ok(Json(WorkerListView { workers, next_cursor, total: counts.workers, running: counts.running }))
}

/// What the caller may see of the workers.
struct Sees {
    jobs: HashSet<JobId>,
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

/// Reads a cursor: the id of the last worker, then its name. `None` for anything else.
fn position(cursor: &str) -> Option<WorkerPosition> {
    let (id, name) = cursor.split_at_checked(Uuid::nil().to_string().len())?;
    let id = WorkerId(id.parse().ok()?);
    (!name.contains('\0')).then(|| WorkerPosition { name: name.to_owned(), id })
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
        batch_max: info.batch_max,
        devices: info.devices,
        state: worker.state.to_string(),
        silent_s: worker.silent_s,
        registered_at: worker.registered_at,
        running: worker.job_ids.len(),
        job_ids: worker.job_ids.iter().filter(|id| sees.jobs.contains(id)).map(|id| id.0).collect(),
        adapters: worker.adapters.split(',').filter_map(merged).collect(),
        adapters_cached: worker.adapters_cached.into_iter().filter(|one| sees.adapter(one)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_holds_any_name() {
        let id = Uuid::from_u128(7);
        for name in ["", "worker 1", "Ünïcode & more", "a/b?c"] {
            let read = position(&format!("{id}{name}")).expect("a position");
            assert_eq!((read.id.0, read.name.as_str()), (id, name));
        }
        for wrong in ["", "7", "00000000-0000-0000-0000-00000000000", "x0000000-0000-0000-0000-000000000000a"] {
            assert_eq!(position(wrong), None, "{wrong}");
        }
    }
}
