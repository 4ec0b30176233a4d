//! Gates: files with which a test makes the model wait at a point and sees that it has reached it.
//!
//! Points are `encode`, `step-N` (before the Nth step), `raise-SEED` (at the change of resolution of the run with this seed),
//! `pause-SEED` (at the end of this draft, before it is handed over) and `decode`. At each point the renderer writes `reached-POINT`, then
//! waits while `hold-POINT` exists, obeying a stop like a model between two blocks; while `wedge-POINT` exists it ignores
//! stops, like a GPU that hangs. If `break-POINT` exists, the renderer fails as with a broken GPU; if `nan-POINT` exists, its
//! result is not finite.

use std::path::PathBuf;
use std::time::Duration;

use worker::engine::Control;

/// Pause between two polls of a gate.
const PAUSE: Duration = Duration::from_millis(5);

/// The folder of the gates, if any.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    folder: Option<PathBuf>,
}

impl Gates {
    /// The folder that the test named.
    pub(crate) fn from_environment() -> Self {
        Self { folder: std::env::var_os("FLEET_TEST_GATES").map(PathBuf::from) }
    }

    /// Whether the test wants this fault (`break` or `nan`) at a point.
    pub(crate) fn wants(&self, fault: &str, point: &str) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.join(format!("{fault}-{point}")).exists())
    }

    /// Passes a point; `false` when a stop was asked for.
    pub(crate) fn pass(&self, point: &str, control: &Control) -> bool {
        let Some(folder) = &self.folder else { return control.check().is_ok() };
        let (held, wedged) = (folder.join(format!("hold-{point}")), folder.join(format!("wedge-{point}")));
        if let Err(error) = std::fs::write(folder.join(format!("reached-{point}")), []) {
            tracing::warn!(point, %error, "the test's folder does not exist");
        }
        while wedged.exists() {
            std::thread::sleep(PAUSE);
        }
        while held.exists() && !control.is_cancelled() {
            control.beat();
            std::thread::sleep(PAUSE);
        }
        control.check().is_ok()
    }
}
