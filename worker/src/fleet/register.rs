//! Joining the fleet: a worker says what it is, and is refused when its weights are not the model's.

use std::time::Duration;

use anyhow::{Context, bail};
use domain::worker::WorkerInfo;
use store::workers::RegisterOutcome;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Pause between two tries while the database or the model's registration is not there yet.
const PAUSE: Duration = Duration::from_millis(500);

/// Registers, waiting for a fleet that is still starting.
///
/// # Errors
/// Other weights are registered under this model's id; a stop came first; the database refuses.
pub(super) async fn register(store: &Store, info: &WorkerInfo, stop: &CancellationToken) -> anyhow::Result<()> {
    loop {
        match store.register_worker(info).await {
            Ok(RegisterOutcome::Registered) => {
                info!(worker.id = %info.id, pool = %info.pool, device = info.device, "worker registered");
                return Ok(());
            }
            Ok(RegisterOutcome::OtherFingerprint { expected }) => bail!(
                "the fleet serves model '{}' with weights {expected}, but this worker has {}; give both the same model \
                 folder, or the other one an id of its own",
                info.model_id,
                info.model_fingerprint
            ),
            Ok(RegisterOutcome::UnknownModel) => {
                warn!(
                    model = info.model_id,
                    "the fleet does not know the model yet; waiting for the API or the scheduler"
                );
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Refused(_))) => {
                // Refused too: the tables may not be there yet.
                warn!(%error, "cannot register yet");
            }
            Err(error) => return Err(error).context("register with the fleet"),
        }
        tokio::select! {
            () = stop.cancelled() => bail!("stopped before the worker was registered"),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
