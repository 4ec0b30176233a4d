//! The test's side of the gates of `gated-worker` (see `worker/examples/gated_worker`): points at which its model waits.

use std::path::{Path, PathBuf};

use crate::eventually_seen;

/// The gates of one worker. Points are `encode`, `step-N` (before the Nth step), `raise-SEED` (at the change of resolution of the run
/// with this seed), `pause-SEED` (at the end of this draft) and `decode`.
#[derive(Debug, Clone)]
pub struct Gates {
    folder: PathBuf,
}

impl Gates {
    /// Gates in a separate folder.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder for the gates");
        Self { folder: folder.to_owned() }
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The model waits at this point until [`Gates::open`].
    pub fn hold(&self, point: &str) {
        self.forget(point);
        self.write(&format!("hold-{point}"));
    }

    /// The model hangs at this point and ignores stop requests until [`Gates::open`].
    pub fn wedge(&self, point: &str) {
        self.forget(point);
        self.write(&format!("wedge-{point}"));
    }

    /// The device breaks at this point (a step), as often as a model comes there.
    pub fn break_device(&self, point: &str) {
        self.write(&format!("break-{point}"));
    }

    /// The result of this step is not finite, as often as a model comes there.
    pub fn not_finite(&self, point: &str) {
        self.write(&format!("nan-{point}"));
    }

    /// Lets the model pass.
    pub fn open(&self, point: &str) {
        for kind in ["hold", "wedge", "break", "nan"] {
            // Only one of them exists.
            drop(std::fs::remove_file(self.folder.join(format!("{kind}-{point}"))));
        }
    }

    /// An earlier run may have reached this point.
    fn forget(&self, point: &str) {
        drop(std::fs::remove_file(self.folder.join(format!("reached-{point}"))));
    }

    /// Whether the model has reached this point.
    #[must_use]
    pub fn is_reached(&self, point: &str) -> bool {
        self.folder.join(format!("reached-{point}")).exists()
    }

    /// Resolves when the model has reached this point.
    pub async fn until_reached(&self, point: &str) {
        eventually_seen(&format!("the model reaches {point}"), || async {
            if self.is_reached(point) { Ok(()) } else { Err("it has not".to_owned()) }
        })
        .await;
    }

    fn write(&self, name: &str) {
        std::fs::write(self.folder.join(name), []).expect("a gate can be set");
    }
}
