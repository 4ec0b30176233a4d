//! Sessions of signed-in pages: a cookie that represents a key.

use chrono::{DateTime, Utc};
use domain::{KeyId, TenantId};

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::keys::Role;

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The key that it represents.
    pub key_id: KeyId,
    /// That key's tenant.
    pub tenant_id: TenantId,
    /// That key's role.
    pub role: Role,
    /// That key's label.
    pub label: String,
    /// The token that changing requests must send back.
    pub csrf: String,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

/// Keys and sessions that no longer give access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndedAccess {
    /// Revoked keys.
    pub keys: Vec<KeyId>,
    /// Hashes of sessions that were closed, have expired, or whose key was revoked.
    pub sessions: Vec<[u8; 32]>,
}

impl Store {
    /// Opens a session for `ttl_s` seconds; `id_hash` is the hash of the cookie's value.
    ///
    /// # Errors
    /// The database's error.
    pub async fn open_session(&self, id_hash: &[u8], key_id: KeyId, csrf: &str, ttl_s: f64) -> Result<DateTime<Utc>> {
        let expires_at = sqlx::query_scalar!(
            "-- open_session
             INSERT INTO sessions (id_hash, key_id, csrf, expires_at)
             VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4)) RETURNING expires_at",
            id_hash,
            key_id.0,
            csrf,
            ttl_s
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(expires_at)
    }

    /// The session of a cookie, unless it has expired or its key is revoked.
    ///
    /// # Errors
    /// The database's error.
    pub async fn find_session(&self, id_hash: &[u8]) -> Result<Option<Session>> {
        let row = sqlx::query!(
            "-- find_session
             SELECT key_id, tenant_id, role, label, csrf, expires_at
             FROM sessions JOIN api_keys ON api_keys.id = key_id
             WHERE id_hash = $1 AND expires_at > clock_timestamp() AND revoked_at IS NULL",
            id_hash
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let wrong = |reason: String| StoreError::unreadable("api_keys", "role", row.key_id, reason);
        Ok(Some(Session {
            key_id: KeyId(row.key_id),
            tenant_id: TenantId(row.tenant_id),
            role: row.role.parse().map_err(wrong)?,
            label: row.label,
            csrf: row.csrf,
            expires_at: row.expires_at,
        }))
    }

    /// Closes a session.
    ///
    /// # Errors
    /// The database's error.
    pub async fn close_session(&self, id_hash: &[u8]) -> Result<()> {
        sqlx::query!("-- close_session\nDELETE FROM sessions WHERE id_hash = $1", id_hash).execute(&self.pool).await?;
        Ok(())
    }

    /// Which of these keys and sessions no longer give access: revoked, signed out or expired.
    ///
    /// # Errors
    /// The database's error.
    pub async fn ended_access(&self, keys: &[KeyId], sessions: &[[u8; 32]]) -> Result<EndedAccess> {
        let keys: Vec<_> = keys.iter().map(|key| key.0).collect();
        let sessions: Vec<_> = sessions.iter().map(|hash| hash.to_vec()).collect();
        let row = sqlx::query!(
            r#"-- ended_access
            SELECT
                ARRAY(SELECT asked FROM unnest($1::uuid[]) AS asked WHERE NOT EXISTS (
                    SELECT FROM api_keys WHERE id = asked AND revoked_at IS NULL
                )) AS "keys!",
                ARRAY(SELECT asked FROM unnest($2::bytea[]) AS asked WHERE NOT EXISTS (
                    SELECT FROM sessions JOIN api_keys ON api_keys.id = key_id
                    WHERE id_hash = asked AND expires_at > clock_timestamp() AND revoked_at IS NULL
                )) AS "sessions!""#,
            &keys,
            &sessions
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(EndedAccess {
            keys: row.keys.into_iter().map(KeyId).collect(),
            sessions: row.sessions.into_iter().filter_map(|hash| hash.try_into().ok()).collect(),
        })
    }

    /// Deletes expired sessions; returns how many.
    ///
    /// # Errors
    /// The database's error.
    pub async fn purge_sessions(&self) -> Result<u64> {
        let purged = sqlx::query!("-- purge_sessions\nDELETE FROM sessions WHERE expires_at < statement_timestamp()")
            .execute(&self.pool)
            .await?;
        Ok(purged.rows_affected())
    }
}
