//! Adapters: who may use which file under which name.

use chrono::{DateTime, Utc};
use domain::{LoraSampling, TenantId};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::jobs::Scope;
use crate::row::to_json;

/// An adapter that is about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLora {
    /// Its owner.
    pub tenant_id: TenantId,
    /// The model that it was checked against.
    pub model_id: String,
    /// What requests call it.
    pub name: String,
    /// blake3 of the file, hex.
    pub fingerprint: String,
    /// Size of the file.
    pub bytes: u64,
    /// Largest rank of its factors.
    pub rank: u32,
    /// Layers that it changes.
    pub layers: u32,
    /// For people.
    pub description: String,
    /// What it was trained for.
    pub sampling: LoraSampling,
    /// Whether every tenant may use it.
    pub shared: bool,
}

/// A stored adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLora {
    /// Its id.
    pub id: Uuid,
    /// What was stored.
    pub lora: NewLora,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// What a tenant's adapters take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoraUsage {
    /// Their number.
    pub count: u64,
    /// Their files, bytes.
    pub bytes: u64,
}

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    model_id: String,
    name: String,
    fingerprint: String,
    bytes: i64,
    rank: i32,
    layers: i32,
    description: String,
    sampling: Option<serde_json::Value>,
    shared: bool,
    created_at: DateTime<Utc>,
}

impl Row {
    fn into_lora(self) -> Result<StoredLora> {
        let sampling = self.sampling.map(serde_json::from_value).transpose();
        let sampling = sampling.map_err(|error| StoreError::unreadable("loras", "sampling", self.id, error))?;
        let lora = NewLora {
            tenant_id: TenantId(self.tenant_id),
            model_id: self.model_id,
            name: self.name,
            fingerprint: self.fingerprint,
            bytes: u64::try_from(self.bytes).unwrap_or_default(),
            rank: u32::try_from(self.rank).unwrap_or_default(),
            layers: u32::try_from(self.layers).unwrap_or_default(),
            description: self.description,
            sampling: sampling.unwrap_or_default(),
            shared: self.shared,
        };
        Ok(StoredLora { id: self.id, lora, created_at: self.created_at })
    }
}

impl Store {
    /// Stores an adapter; one of the same owner, model and name is replaced, and keeps its id. Returns its id and the file that no
    /// row names any more.
    ///
    /// # Errors
    /// The database's error.
    pub async fn put_lora(&self, id: Uuid, lora: &NewLora) -> Result<(Uuid, Option<String>)> {
        let sampling = (!lora.sampling.is_empty()).then(|| to_json("sampling", &lora.sampling)).transpose()?;
        let row = sqlx::query!(
            r#"-- put_lora
            WITH earlier AS (
                SELECT fingerprint FROM loras WHERE tenant_id = $2 AND model_id = $3 AND name = $4
            ), placed AS (
                INSERT INTO loras AS l (id, tenant_id, model_id, name, fingerprint, bytes, rank, layers, description, sampling,
                    shared)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                ON CONFLICT (tenant_id, model_id, name) DO UPDATE SET fingerprint = EXCLUDED.fingerprint,
                    bytes = EXCLUDED.bytes, rank = EXCLUDED.rank, layers = EXCLUDED.layers,
                    description = EXCLUDED.description, sampling = EXCLUDED.sampling, shared = l.shared OR EXCLUDED.shared,
                    created_at = clock_timestamp()
                RETURNING id
            )
            SELECT placed.id AS "id!", (
                SELECT earlier.fingerprint FROM earlier WHERE earlier.fingerprint <> $5 AND NOT EXISTS (
                    SELECT FROM loras AS other WHERE other.model_id = $3 AND other.fingerprint = earlier.fingerprint
                        AND (other.tenant_id, other.name) <> ($2, $4))
            ) AS unused FROM placed"#,
            id,
            lora.tenant_id.0,
            lora.model_id,
            lora.name,
            lora.fingerprint,
            i64::try_from(lora.bytes).unwrap_or(i64::MAX),
            i32::try_from(lora.rank).unwrap_or(i32::MAX),
            i32::try_from(lora.layers).unwrap_or(i32::MAX),
            lora.description,
            sampling,
            lora.shared
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.id, row.unused))
    }

    /// The adapters that a tenant may use, of one model or of all, by name; the tenant's own before shared ones.
    ///
    /// # Errors
    /// The database's error.
    pub async fn loras(&self, tenant: TenantId, model_id: Option<&str>) -> Result<Vec<StoredLora>> {
        let rows = sqlx::query_as!(
            Row,
            "-- list_loras
             SELECT id, tenant_id, model_id, name, fingerprint, bytes, rank, layers, description, sampling, shared, created_at
             FROM loras
             WHERE id = ANY(ARRAY(SELECT id FROM loras WHERE tenant_id = $1 UNION ALL SELECT id FROM loras WHERE shared))
                 AND ($2::text IS NULL OR model_id = $2)
             ORDER BY name, tenant_id <> $1, created_at, id",
            tenant.0,
            model_id
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::into_lora).collect()
    }

    /// Number and bytes of a tenant's own adapters, without the one of this model and name, which a new one would replace.
    ///
    /// # Errors
    /// The database's error.
    pub async fn lora_usage(&self, tenant: TenantId, model_id: &str, name: &str) -> Result<LoraUsage> {
        let row = sqlx::query!(
            r#"-- lora_usage
            SELECT count(*) AS "count!", COALESCE(sum(bytes), 0)::bigint AS "bytes!" FROM loras
            WHERE tenant_id = $1 AND (model_id, name) <> ($2, $3)"#,
            tenant.0,
            model_id,
            name
        )
        .fetch_one(&self.pool)
        .await?;
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(LoraUsage { count: number(row.count), bytes: number(row.bytes) })
    }

    /// Deletes an adapter of the scope. Returns its model and, if no other row names the file, the file's fingerprint; `None` when
    /// the scope does not contain the adapter.
    ///
    /// # Errors
    /// The database's error.
    pub async fn delete_lora(&self, scope: Scope, id: Uuid) -> Result<Option<(String, Option<String>)>> {
        let row = sqlx::query!(
            r#"-- delete_lora
            WITH gone AS (
                DELETE FROM loras WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
                RETURNING id, model_id, fingerprint
            )
            SELECT model_id AS "model_id!", (
                SELECT gone.fingerprint WHERE NOT EXISTS (
                    SELECT FROM loras AS other
                    WHERE other.model_id = gone.model_id AND other.fingerprint = gone.fingerprint AND other.id <> gone.id)
            ) AS unused FROM gone"#,
            id,
            tenant_of(scope)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| (row.model_id, row.unused)))
    }

    /// Lets every tenant use an adapter, or only its owner again; `false` when the adapter does not exist.
    ///
    /// # Errors
    /// The database's error.
    pub async fn share_lora(&self, id: Uuid, shared: bool) -> Result<bool> {
        let changed = sqlx::query!("-- share_lora\nUPDATE loras SET shared = $2 WHERE id = $1", id, shared)
            .execute(&self.pool)
            .await?;
        Ok(changed.rows_affected() == 1)
    }
}

fn tenant_of(scope: Scope) -> Option<Uuid> {
    match scope {
        Scope::Tenant(tenant) => Some(tenant.0),
        Scope::Fleet => None,
    }
}
