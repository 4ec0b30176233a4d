//! Models that the fleet serves, as their folders describe them.

use domain::ModelManifest;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::row::to_json;

impl Store {
    /// Registers a model or takes over its changed description. Workers compare their weights with what is registered
    /// last.
    ///
    /// # Errors
    /// The database's.
    pub async fn upsert_model(&self, manifest: &ModelManifest) -> Result<()> {
        sqlx::query!(
            "-- upsert_model
             INSERT INTO models AS m (id, manifest, weights_fingerprint, encoders_fingerprint) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE SET manifest = EXCLUDED.manifest,
                 weights_fingerprint = EXCLUDED.weights_fingerprint,
                 encoders_fingerprint = EXCLUDED.encoders_fingerprint, updated_at = clock_timestamp()
             WHERE m.manifest <> EXCLUDED.manifest",
            manifest.id,
            to_json("manifest", manifest)?,
            manifest.fingerprint.weights,
            manifest.fingerprint.encoders
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Every registered model, by id.
    ///
    /// # Errors
    /// The database's.
    pub async fn models(&self) -> Result<Vec<ModelManifest>> {
        let rows =
            sqlx::query!("-- list_models\nSELECT id, manifest FROM models ORDER BY id").fetch_all(&self.pool).await?;
        rows.into_iter()
            .map(|row| {
                serde_json::from_value(row.manifest)
                    .map_err(|error| StoreError::unreadable("models", "manifest", row.id, error))
            })
            .collect()
    }
}
