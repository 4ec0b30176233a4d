//! What a process does with the database before it serves: migrate the schema and register the models.

use std::time::Duration;

use domain::ModelManifest;

use crate::connect::Store;
use crate::error::Result;

/// Pause between two tries while the database is unavailable.
const AGAIN: Duration = Duration::from_millis(500);

impl Store {
    /// Migrates the schema to this release if `migrate` says that this process is responsible, and registers the models.
    /// Waits for a database that is still starting or fails meanwhile; every step may be repeated. `false` when `stopped`
    /// resolved during such a wait; a step in progress is never interrupted.
    ///
    /// # Errors
    /// As [`Store::migrate`], and the database's errors, except that it is unavailable.
    pub async fn prepare<'a>(
        &self,
        migrate: bool,
        manifests: impl Iterator<Item = &'a ModelManifest> + Clone,
        stopped: impl Future<Output = ()>,
    ) -> Result<bool> {
        tokio::pin!(stopped);
        let mut said = String::new();
        loop {
            match self.prepare_once(migrate, manifests.clone()).await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_unavailable() => {
                    // Once for each reason: the next try is half a second away.
                    let reason = error.to_string();
                    if reason != said {
                        tracing::warn!(%error, "waiting for the database");
                        said = reason;
                    }
                }
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
            // Boxed, because the driver's future is large and every caller's future would contain it.
            Box::pin(self.migrate()).await?;
        }
        for manifest in manifests {
            self.upsert_model(manifest).await?;
        }
        Ok(())
    }
}
