//! What the fleet has learned about the steps that prompts need: one document that the leader updates and admins freeze or
//! reset.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::leader::Epoch;
use crate::row::to_json;

/// The document and its progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Learning<T> {
    /// What was learned.
    pub learned: T,
    /// Finish time up to which runs have been evaluated; `None` when none has been.
    pub taught_until: Option<DateTime<Utc>>,
    /// Number of changes.
    pub version: i64,
}

impl Store {
    /// What has been learned so far.
    ///
    /// # Errors
    /// The database's error, or [`StoreError::Unreadable`] for a document of another release.
    pub async fn learning<T: DeserializeOwned>(&self) -> Result<Learning<T>> {
        let row = sqlx::query!(
            r#"-- learning
            SELECT learned, CASE WHEN isfinite(taught_until) THEN taught_until END AS "taught_until?", version FROM learning"#
        )
        .fetch_one(&self.pool)
        .await?;
        let learned = parse(row.learned)?;
        Ok(Learning { learned, taught_until: row.taught_until, version: row.version })
    }

    /// Replaces the document by its successor; `false` when it was changed since it was read, or when the epoch does not
    /// lead.
    ///
    /// # Errors
    /// The database's error.
    pub async fn save_learning<T: Serialize + Sync>(&self, next: &Learning<T>, epoch: Epoch) -> Result<bool> {
        let learned = to_json("learned", &next.learned)?;
        let saved = sqlx::query!(
            "-- save_learning
             UPDATE learning SET learned = $1, taught_until = COALESCE($2::timestamptz, '-infinity'), version = version + 1
             WHERE version = $3
                 AND EXISTS (SELECT FROM leader WHERE epoch = $4 AND expires_at > clock_timestamp() FOR SHARE)",
            learned,
            next.taught_until,
            next.version,
            epoch.0
        )
        .execute(&self.pool)
        .await?;
        Ok(saved.rows_affected() == 1)
    }

    /// Stops or resumes learning; what was learned remains in effect.
    ///
    /// # Errors
    /// The database's error.
    pub async fn freeze_learning(&self, frozen: bool) -> Result<()> {
        sqlx::query!(
            "-- freeze_learning
             UPDATE learning SET learned = jsonb_set(learned, '{frozen}', to_jsonb($1::boolean)), version = version + 1",
            frozen
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets what was learned about one model, or about all. Only runs from now on are evaluated again.
    ///
    /// # Errors
    /// The database's error.
    pub async fn reset_learning(&self, model_id: Option<&str>) -> Result<()> {
        sqlx::query!(
            "-- reset_learning
             UPDATE learning SET version = version + 1, taught_until = clock_timestamp(), learned = jsonb_set(learned, '{groups}',
                 COALESCE((SELECT jsonb_agg(lesson) FROM jsonb_array_elements(learned -> 'groups') AS lessons (lesson)
                           WHERE lesson ->> 'model_id' <> $1), '[]'))",
            model_id
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn parse<T: DeserializeOwned>(document: Value) -> Result<T> {
    serde_json::from_value(document).map_err(|error| StoreError::Unreadable {
        table: "learning",
        row: "the only one".to_owned(),
        column: "learned",
        reason: error.to_string(),
    })
}
