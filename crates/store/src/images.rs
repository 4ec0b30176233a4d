//! Pictures that jobs begin from: who owns them, which jobs use them, and when they go.
//!
//! Rule: the file is written before the row and deleted after it, so a row always has its file. A picture that a job uses stays:
//! the foreign key of `jobs` refuses both a deletion under a job and a job with a deleted picture.

use chrono::{DateTime, Utc};
use domain::TenantId;
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::jobs::Scope;
use crate::row::int;

/// A picture that is about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// Its owner.
    pub tenant_id: TenantId,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Size of the file.
    pub bytes: u64,
}

/// A stored picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Its id.
    pub id: Uuid,
    /// What was stored.
    pub image: NewImage,
    /// When it was uploaded last.
    pub kept_since: DateTime<Utc>,
}

/// Result of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteImage {
    /// The row is gone; delete the files of this owner's picture.
    Deleted(TenantId),
    /// Jobs use it.
    InUse,
    /// The scope does not contain it.
    NotFound,
}

/// A picture's file in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// The whole key.
    pub key: String,
    /// The owner that it names.
    pub tenant_id: TenantId,
    /// The picture that it names.
    pub id: Uuid,
}

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    sha256: String,
    width: i32,
    height: i32,
    bytes: i64,
    kept_since: DateTime<Utc>,
}

impl From<Row> for StoredImage {
    fn from(row: Row) -> Self {
        let side = |value: i32| u32::try_from(value).unwrap_or_default();
        let image = NewImage {
            tenant_id: TenantId(row.tenant_id),
            sha256: row.sha256,
            width: side(row.width),
            height: side(row.height),
            bytes: u64::try_from(row.bytes).unwrap_or_default(),
        };
        Self { id: row.id, image, kept_since: row.kept_since }
    }
}

impl Store {
    /// Stores a picture under `id`. If its owner has the same one already, that one is kept longer and returned: the caller then
    /// deletes the file that it has written for `id`.
    ///
    /// # Errors
    /// The database's error.
    pub async fn put_image(&self, id: Uuid, image: &NewImage) -> Result<StoredImage> {
        let row = sqlx::query_as!(
            Row,
            "-- put_image
             INSERT INTO images AS i (id, tenant_id, sha256, width, height, bytes) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (tenant_id, sha256) DO UPDATE SET kept_since = clock_timestamp()
             RETURNING id, tenant_id, sha256, width, height, bytes, kept_since",
            id,
            image.tenant_id.0,
            image.sha256,
            int("width", image.width)?,
            int("height", image.height)?,
            i64::try_from(image.bytes).unwrap_or(i64::MAX)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(row.into())
    }

    /// The tenant's picture with this content, kept as long as a new one would be; `None` if there is none.
    ///
    /// # Errors
    /// The database's error.
    pub async fn keep_image(&self, tenant: TenantId, sha256: &str) -> Result<Option<StoredImage>> {
        let row = sqlx::query_as!(
            Row,
            "-- keep_image
             UPDATE images SET kept_since = clock_timestamp() WHERE tenant_id = $1 AND sha256 = $2
             RETURNING id, tenant_id, sha256, width, height, bytes, kept_since",
            tenant.0,
            sha256
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(StoredImage::from))
    }

    /// Those of these pictures that the scope contains.
    ///
    /// # Errors
    /// The database's error.
    pub async fn images(&self, scope: Scope, ids: &[Uuid]) -> Result<Vec<StoredImage>> {
        let rows = sqlx::query_as!(
            Row,
            "-- find_images
             SELECT id, tenant_id, sha256, width, height, bytes, kept_since FROM images
             WHERE id = ANY($1) AND ($2::uuid IS NULL OR tenant_id = $2)",
            ids,
            scope.tenant()
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(StoredImage::from).collect())
    }

    /// Bytes of a tenant's pictures.
    ///
    /// # Errors
    /// The database's error.
    pub async fn image_bytes(&self, tenant: TenantId) -> Result<u64> {
        let bytes = sqlx::query_scalar!(
            r#"-- image_bytes
            SELECT COALESCE(sum(bytes), 0)::bigint AS "bytes!" FROM images WHERE tenant_id = $1"#,
            tenant.0
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    }

    /// Deletes a picture of the scope that no job uses. A job that is being submitted with it at the same time either prevents
    /// this or is refused itself.
    ///
    /// # Errors
    /// The database's error.
    pub async fn delete_image(&self, scope: Scope, id: Uuid) -> Result<DeleteImage> {
        let gone = sqlx::query_scalar!(
            r#"-- delete_image
            DELETE FROM images WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
                AND NOT EXISTS (SELECT FROM jobs WHERE image_id = $1)
            RETURNING tenant_id"#,
            id,
            scope.tenant()
        )
        .fetch_optional(&self.pool)
        .await;
        match gone.map_err(StoreError::from) {
            Ok(Some(tenant)) => Ok(DeleteImage::Deleted(TenantId(tenant))),
            // The job committed while this statement waited for the row.
            Err(StoreError::ImageReference(_)) => Ok(DeleteImage::InUse),
            Err(error) => Err(error),
            Ok(None) if self.images(scope, &[id]).await?.is_empty() => Ok(DeleteImage::NotFound),
            Ok(None) => Ok(DeleteImage::InUse),
        }
    }

    /// Removes pictures that were uploaded more than `keep_s` seconds ago and that no job uses, oldest first. Returns them with
    /// their owners; the caller deletes their files.
    ///
    /// # Errors
    /// The database's error; [`StoreError::ImageReference`] if a job took one of them at this very moment.
    pub async fn expire_images(&self, keep_s: f64, limit: u32) -> Result<Vec<(TenantId, Uuid)>> {
        let rows = sqlx::query!(
            "-- expire_images
             WITH held AS MATERIALIZED (
                 SELECT id FROM images
                 WHERE kept_since <= statement_timestamp() - make_interval(secs => $1)
                     AND NOT EXISTS (SELECT FROM jobs WHERE jobs.image_id = images.id)
                 -- Skips a picture that a submission holds.
                 ORDER BY kept_since LIMIT $2 FOR UPDATE SKIP LOCKED
             )
             DELETE FROM images WHERE id = ANY(ARRAY(SELECT id FROM held)) RETURNING id, tenant_id",
            keep_s,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (TenantId(row.tenant_id), row.id)).collect())
    }

    /// Of these files, the keys that belong to no picture. The caller spares young ones, since the file is written before the row.
    ///
    /// # Errors
    /// The database's error.
    pub async fn orphaned_images(&self, files: &[ImageFile]) -> Result<Vec<String>> {
        let keys: Vec<&str> = files.iter().map(|file| file.key.as_str()).collect();
        let tenants: Vec<Uuid> = files.iter().map(|file| file.tenant_id.0).collect();
        let ids: Vec<Uuid> = files.iter().map(|file| file.id).collect();
        let orphans = sqlx::query_scalar!(
            r#"-- orphaned_images
            SELECT given.key AS "key!" FROM UNNEST($1::text[], $2::uuid[], $3::uuid[]) AS given (key, tenant_id, id)
            WHERE NOT EXISTS (SELECT FROM images WHERE images.id = given.id AND images.tenant_id = given.tenant_id)"#,
            &keys as _,
            &tenants,
            &ids
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(orphans)
    }
}
