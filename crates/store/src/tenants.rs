//! Tenants: the owners of jobs.

use chrono::{DateTime, Utc};
use domain::TenantId;

use crate::connect::Store;
use crate::error::Result;

/// An owner of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, unique.
    pub name: String,
    /// Its share relative to other tenants.
    pub weight: f64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

impl Store {
    /// The tenant with this name; created if it does not exist.
    ///
    /// # Errors
    /// The database's error.
    pub async fn ensure_tenant(&self, name: &str) -> Result<Tenant> {
        let row = sqlx::query!(
            "-- ensure_tenant
             INSERT INTO tenants AS t (id, name) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET name = t.name
             RETURNING id, name, weight, created_at",
            TenantId::fresh().0,
            name
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Tenant { id: TenantId(row.id), name: row.name, weight: row.weight, created_at: row.created_at })
    }

    /// Sets a tenant's weight, which must be above 0; `false` when no tenant has this name.
    ///
    /// # Errors
    /// The database's error, also for a weight that is not above 0.
    pub async fn set_tenant_weight(&self, name: &str, weight: f64) -> Result<bool> {
        let set = sqlx::query!("-- set_tenant_weight\nUPDATE tenants SET weight = $2 WHERE name = $1", name, weight)
            .execute(&self.pool)
            .await?;
        Ok(set.rows_affected() == 1)
    }

    /// Stops or resumes releasing the tenant's jobs; returns since when the queue is paused. Running and released jobs go on.
    ///
    /// # Errors
    /// The database's error.
    pub async fn pause_queue(&self, tenant: TenantId, paused: bool) -> Result<Option<DateTime<Utc>>> {
        let paused_at = sqlx::query_scalar!(
            "-- pause_queue
             UPDATE tenants SET paused_at = CASE WHEN $2 THEN COALESCE(paused_at, clock_timestamp()) END
             WHERE id = $1 RETURNING paused_at",
            tenant.0,
            paused
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(paused_at.flatten())
    }

    /// Since when the tenant's queue is paused; `None` while it runs.
    ///
    /// # Errors
    /// The database's error.
    pub async fn queue_paused_at(&self, tenant: TenantId) -> Result<Option<DateTime<Utc>>> {
        let paused_at =
            sqlx::query_scalar!("-- queue_paused_at\nSELECT paused_at FROM tenants WHERE id = $1", tenant.0)
                .fetch_optional(&self.pool)
                .await?;
        Ok(paused_at.flatten())
    }

    /// Every tenant, by name.
    ///
    /// # Errors
    /// The database's error.
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        let rows = sqlx::query!("-- list_tenants\nSELECT id, name, weight, created_at FROM tenants ORDER BY name")
            .fetch_all(&self.pool)
            .await?;
        let tenant = |id, name, weight, created_at| Tenant { id: TenantId(id), name, weight, created_at };
        Ok(rows.into_iter().map(|row| tenant(row.id, row.name, row.weight, row.created_at)).collect())
    }
}
