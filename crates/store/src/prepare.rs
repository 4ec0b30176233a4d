//! What a process does with the database before it serves: the schema, and the models that it knows.

use std::time::Duration;

use domain::ModelManifest;

use crate::connect::Store;
use crate::error::Result;

/// Pause between two tries while the database is away.
const AGAIN: Duration = Duration::from_millis(500);

impl Store {
    /// Brings the schema up to this release if `migrate` says that this is the process's to do, and registers the models.
    /// Waits out a database that is still starting, or dies meanwhile: all of it may be done twice. `false` when `stopped`
    /// came during such a wait; what is under way is never cut off.
    ///
    /// # Errors
    /// As [`Store::migrate`], and the database's; never that it is away.
    pub async fn prepare<'a>(
        &self,
        migrate: bool,
        manifests: impl Iterator<Item = &'a ModelManifest> + Clone,
        stopped: impl Future<Output = ()>,
    ) -> Result<bool> {
        tokio::pin!(stopped);
        loop {
            match self.prepare_once(migrate, manifests.clone()).await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_unavailable() => tracing::warn!(%error, "waiting for the database"),
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = &mut stopped => return Ok(false),
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn prepare_once<'a>(&self, migrate: bool, manifests: impl Iterator<Item = &'a ModelManifest>) -> Result<()> {
        if migrate {
            // Boxed: the driver's future is large, and every caller would carry it.
            Box::pin(self.migrate()).await?;
        }
        for manifest in manifests {
            self.upsert_model(manifest).await?;
        }
        Ok(())
    }
}
