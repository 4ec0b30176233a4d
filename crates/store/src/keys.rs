//! API keys. Only a hash is stored; the caller computes it.

use chrono::{DateTime, Utc};
use domain::{KeyId, TenantId};
use std::fmt;
use std::str::FromStr;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::quotas::Quota;

/// What a key gives access to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The tenant's own jobs.
    User,
    /// The whole fleet.
    Admin,
}

impl Role {
    /// The spelling in the database and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "user" => Ok(Self::User),
            "admin" => Ok(Self::Admin),
            other => Err(format!("'{other}' is not one of user, admin")),
        }
    }
}

/// A key that is about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its role.
    pub role: Role,
    /// A label that its owner chose.
    pub label: String,
    /// First characters of the key, to recognise it.
    pub prefix: String,
    /// Hash of the whole key.
    pub hash: Vec<u8>,
}

/// A key as listed; never the key itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// That tenant's name.
    pub tenant_name: String,
    /// Its role.
    pub role: Role,
    /// The label that its owner chose.
    pub label: String,
    /// First characters of the key.
    pub prefix: String,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// How much GPU time it may use in a day.
    pub quota: Quota,
}

#[derive(Debug)]
struct KeyRow {
    id: uuid::Uuid,
    tenant_id: uuid::Uuid,
    tenant_name: String,
    role: String,
    label: String,
    prefix: String,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    quota_gpu_s: Option<f64>,
    quota_usd: Option<f64>,
}

impl Store {
    /// Stores a key.
    ///
    /// # Errors
    /// The database's error.
    pub async fn issue_key(&self, key: &NewKey) -> Result<()> {
        sqlx::query!(
            "-- issue_key
             INSERT INTO api_keys (id, tenant_id, role, label, prefix, hash) VALUES ($1, $2, $3, $4, $5, $6)",
            key.id.0,
            key.tenant_id.0,
            key.role.as_str(),
            key.label,
            key.prefix,
            key.hash
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The key with this hash, unless it is revoked. Records its use, at most once a minute.
    ///
    /// # Errors
    /// The database's error.
    pub async fn find_key(&self, hash: &[u8]) -> Result<Option<ApiKey>> {
        let row = sqlx::query_as!(
            KeyRow,
            r#"-- find_key
            WITH used AS (
                UPDATE api_keys SET last_used_at = clock_timestamp()
                WHERE hash = $1 AND revoked_at IS NULL
                    AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')
            )
            SELECT k.id, tenant_id, t.name AS tenant_name, role, label, prefix, k.created_at, last_used_at, revoked_at,
                quota_gpu_s, quota_usd
            FROM api_keys AS k JOIN tenants AS t ON t.id = tenant_id
            WHERE hash = $1 AND revoked_at IS NULL"#,
            hash
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(into_key).transpose()
    }

    /// Every key of one tenant or of all, including revoked ones.
    ///
    /// # Errors
    /// The database's error.
    pub async fn list_keys(&self, tenant_id: Option<TenantId>) -> Result<Vec<ApiKey>> {
        let rows = sqlx::query_as!(
            KeyRow,
            r#"-- list_keys
            SELECT k.id, tenant_id, t.name AS tenant_name, role, label, prefix, k.created_at, last_used_at, revoked_at,
                quota_gpu_s, quota_usd
            FROM api_keys AS k JOIN tenants AS t ON t.id = tenant_id
            WHERE $1::uuid IS NULL OR tenant_id = $1
            ORDER BY t.name, k.created_at"#,
            tenant_id.map(|tenant| tenant.0)
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(into_key).collect()
    }

    /// Revokes the key; its sessions stop working immediately. `false` when the key does not exist or was revoked before.
    ///
    /// # Errors
    /// The database's error.
    pub async fn revoke_key(&self, id: KeyId) -> Result<bool> {
        let revoked = sqlx::query!(
            "-- revoke_key
             UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL",
            id.0
        )
        .execute(&self.pool)
        .await?;
        Ok(revoked.rows_affected() == 1)
    }
}

fn into_key(row: KeyRow) -> Result<ApiKey> {
    Ok(ApiKey {
        id: KeyId(row.id),
        tenant_id: TenantId(row.tenant_id),
        tenant_name: row.tenant_name,
        role: row.role.parse().map_err(|reason: String| StoreError::unreadable("api_keys", "role", row.id, reason))?,
        label: row.label,
        prefix: row.prefix,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        revoked_at: row.revoked_at,
        quota: Quota { gpu_s: row.quota_gpu_s, usd: row.quota_usd },
    })
}
