//! Models that the fleet serves, as their folders describe them.

use chrono::{DateTime, Utc};
use domain::ModelManifest;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::row::to_json;

/// A row of `models`.
#[derive(Debug)]
pub struct RegisteredModel {
    /// The model's id.
    pub id: String,
    /// What its folder says, or why this release cannot read it. One unreadable manifest must not hide the other models.
    pub manifest: Result<ModelManifest>,
    /// Since when it accepts no new jobs; `None` while it does.
    pub retired_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Registers a model or takes over its changed description. A retired model stays retired. Workers compare their weights
    /// with what was registered last.
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
    /// The database's. A manifest that cannot be read is an error of its own row only.
    pub async fn models(&self) -> Result<Vec<RegisteredModel>> {
        let rows = sqlx::query!("-- list_models\nSELECT id, manifest, retired_at FROM models ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        let registered = |id: String, manifest, retired_at| RegisteredModel {
            manifest: serde_json::from_value(manifest)
                .map_err(|error| StoreError::unreadable("models", "manifest", &id, error)),
            id,
            retired_at,
        };
        Ok(rows.into_iter().map(|row| registered(row.id, row.manifest, row.retired_at)).collect())
    }

    /// Retires a model or, with `retired` false, restores it; returns `false` when no model has this id. Retiring a retired
    /// model again keeps the first time.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_model_retired(&self, id: &str, retired: bool) -> Result<bool> {
        let changed = sqlx::query!(
            "-- set_model_retired
             UPDATE models SET retired_at = CASE WHEN $2 THEN COALESCE(retired_at, clock_timestamp()) END WHERE id = $1",
            id,
            retired
        )
        .execute(&self.pool)
        .await?;
        Ok(changed.rows_affected() > 0)
    }
}
