//! Joining the fleet: a worker registers, and is refused when its weights are not the model's.

use std::time::Duration;

use anyhow::{Context, bail};
use domain::worker::WorkerInfo;
use store::workers::RegisterOutcome;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Pause between attempts while the database or the model's registration does not exist yet.
const PAUSE: Duration = Duration::from_millis(500);

/// Registers, waiting for a fleet that is still starting.
///
/// # Errors
/// Other weights are registered under this model's id; a stop came first; the database refuses.
pub(super) async fn register(
    store: &Store,
    broker_user: &str,
    info: &WorkerInfo,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut said = String::new();
    loop {
        let registered = match store.register_worker(info).await {
            Ok(RegisterOutcome::Registered) if !broker_user.is_empty() => {
                store.set_broker_user(info.id, broker_user).await.map(|()| RegisterOutcome::Registered)
            }
            other => other,
        };
        match registered {
            Ok(RegisterOutcome::Registered) => {
                info!(worker.id = %info.id, pool = %info.pool, device = info.device, "worker registered");
                return Ok(());
            }
            Ok(RegisterOutcome::OtherFingerprint { expected }) => bail!(
                "the fleet serves model '{}' with weights {expected}, but this worker has {}; give both the same model \
                 folder, or set another id in this worker's fleet.toml",
                info.model_id,
                info.model_fingerprint
            ),
            Ok(RegisterOutcome::UnknownModel) => {
                let reason = "the fleet does not know the model yet; waiting for the API or the scheduler";
                once(&mut said, reason.to_owned());
            }
            // Refused too: the tables may not be there yet.
            Err(error @ (StoreError::Conflict(_) | StoreError::Refused(_))) => once(&mut said, error.to_string()),
            Err(error) if error.is_unavailable() => once(&mut said, error.to_string()),
            Err(error) => return Err(error).context("register with the fleet"),
        }
        tokio::select! {
            () = stop.cancelled() => bail!("stopped before the worker was registered"),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Logs a reason when it is another than the last one.
fn once(said: &mut String, reason: String) {
    if *said != reason {
        warn!(reason, "cannot register yet");
        *said = reason;
    }
}
