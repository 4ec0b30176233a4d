//! Waits for the model, with a limit.
//!
//! While the model has a command its heartbeat is watched (see [`super::heart`]); while the job is being fetched, uploaded
//! or waits for another worker's embedding it is not, since the model has nothing to do then. A model that was asked to
//! stop and does not heed it is wedged: no thread can be ended from outside, so it is given up, its job goes elsewhere at
//! once, and the worker leaves, for its supervisor to start another.

use super::Fleet;
use super::assignment::Ended;
use super::heart::{HeldLease, Interrupt};
use crate::engine::RenderError;

/// The model's result of a command.
///
/// # Errors
/// The model's error; or that the work was interrupted and the model did not notice.
pub(super) async fn answer<T>(
    fleet: &Fleet,
    lease: &HeldLease,
    command: impl Future<Output = Result<T, RenderError>>,
) -> Result<T, Ended> {
    let _watched = lease.watch_model();
    let _works = fleet.metrics.model_works();
    tokio::pin!(command);
    let why = tokio::select! {
        answered = &mut command => return answered.map_err(Ended::from),
        why = lease.until_interrupted() => why,
    };
    // A model that passed no check for that long will not respond now.
    let patience = if why == Interrupt::Stalled { std::time::Duration::ZERO } else { fleet.heart.stall() };
    match tokio::time::timeout(patience, command).await {
        Ok(answered) => answered.map_err(Ended::from),
        Err(_) => {
            fleet.engine.give_up();
            Err(Ended::Interrupted { checkpoint: None })
        }
    }
}
