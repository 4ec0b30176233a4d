//! Who is notified, and the secrets that deliveries are signed with.

use chrono::{DateTime, Utc};
use domain::{JobEventKind, KeyId, TenantId};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};

/// A receiver of a tenant's events.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookEndpoint {
    /// Its id.
    pub id: Uuid,
    /// Where deliveries are sent.
    pub url: String,
    /// The events that it receives.
    pub events: Vec<JobEventKind>,
    /// The API key whose jobs it is about; `None` for all jobs of the tenant.
    pub key_id: Option<KeyId>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it responded with 410 Gone, after which nothing more is sent.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// A receiver that is about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEndpoint {
    /// Whose events it receives.
    pub tenant_id: TenantId,
    /// Where deliveries are sent.
    pub url: String,
    /// The events that it receives.
    pub events: Vec<JobEventKind>,
    /// The API key whose jobs it is about; `None` for all jobs of the tenant.
    pub key_id: Option<KeyId>,
}

/// The secrets of a tenant.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret {
    /// What receivers should verify with.
    pub current: Vec<u8>,
    /// The secret before the last rotation and when it ends, while it is still used.
    pub previous: Option<(Vec<u8>, DateTime<Utc>)>,
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSecret").finish_non_exhaustive()
    }
}

struct EndpointRow {
    id: Uuid,
    url: String,
    events: Vec<String>,
    key_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
}

struct SecretRow {
    secret: Vec<u8>,
    previous: Option<Vec<u8>>,
    previous_until: Option<DateTime<Utc>>,
}

impl Store {
    /// Stores a receiver. One with the same URL gets these events instead, and is enabled again.
    ///
    /// # Errors
    /// The database's error.
    pub async fn put_webhook(&self, endpoint: &NewEndpoint) -> Result<WebhookEndpoint> {
        let events: Vec<&str> = endpoint.events.iter().map(|kind| kind.as_str()).collect();
        let row = sqlx::query_as!(
            EndpointRow,
            "-- put_webhook
             INSERT INTO webhook_endpoints (id, tenant_id, url, events, key_id) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant_id, url) DO UPDATE SET events = EXCLUDED.events, key_id = EXCLUDED.key_id, disabled_at = NULL
             RETURNING id, url, events, key_id, created_at, disabled_at",
            Uuid::now_v7(),
            endpoint.tenant_id.0,
            endpoint.url,
            &events as _,
            endpoint.key_id.map(|key| key.0)
        )
        .fetch_one(&self.pool)
        .await?;
        into_endpoint(row)
    }

    /// A tenant's receivers, oldest first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn webhooks(&self, tenant_id: TenantId) -> Result<Vec<WebhookEndpoint>> {
        let rows = sqlx::query_as!(
            EndpointRow,
            "-- list_webhooks
             SELECT id, url, events, key_id, created_at, disabled_at FROM webhook_endpoints WHERE tenant_id = $1 ORDER BY id",
            tenant_id.0
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(into_endpoint).collect()
    }

    /// Deletes a receiver with its deliveries, sent or not; `false` when the tenant has none with this id.
    ///
    /// # Errors
    /// The database's error.
    pub async fn delete_webhook(&self, tenant_id: TenantId, id: Uuid) -> Result<bool> {
        let deleted = sqlx::query!(
            "-- delete_webhook\nDELETE FROM webhook_endpoints WHERE id = $1 AND tenant_id = $2",
            id,
            tenant_id.0
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected() == 1)
    }

    /// A tenant's secrets. `fresh` becomes its first secret if it has none.
    ///
    /// # Errors
    /// The database's error.
    pub async fn webhook_secret(&self, tenant_id: TenantId, fresh: &[u8]) -> Result<WebhookSecret> {
        let row = sqlx::query_as!(
            SecretRow,
            "-- webhook_secret
             INSERT INTO webhook_secrets AS s (tenant_id, secret) VALUES ($1, $2)
             ON CONFLICT (tenant_id) DO UPDATE SET secret = s.secret
             RETURNING secret, previous, previous_until",
            tenant_id.0,
            fresh
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(into_secret(row))
    }

    /// Replaces a tenant's secret. Deliveries are signed with the old one, too, for `overlap_s` seconds.
    ///
    /// # Errors
    /// The database's error.
    pub async fn rotate_webhook_secret(
        &self,
        tenant_id: TenantId,
        fresh: &[u8],
        overlap_s: f64,
    ) -> Result<WebhookSecret> {
        let row = sqlx::query_as!(
            SecretRow,
            "-- rotate_webhook_secret
             INSERT INTO webhook_secrets AS s (tenant_id, secret) VALUES ($1, $2)
             ON CONFLICT (tenant_id) DO UPDATE SET secret = EXCLUDED.secret, previous = s.secret,
                 previous_until = clock_timestamp() + make_interval(secs => $3)
             RETURNING secret, previous, previous_until",
            tenant_id.0,
            fresh,
            overlap_s
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(into_secret(row))
    }
}

fn into_endpoint(row: EndpointRow) -> Result<WebhookEndpoint> {
    let unreadable = |error| StoreError::unreadable("webhook_endpoints", "events", row.id, error);
    let events = row.events.iter().map(|word| word.parse().map_err(unreadable)).collect::<Result<_>>()?;
    Ok(WebhookEndpoint {
        id: row.id,
        url: row.url,
        events,
        key_id: row.key_id.map(KeyId),
        created_at: row.created_at,
        disabled_at: row.disabled_at,
    })
}

fn into_secret(row: SecretRow) -> WebhookSecret {
    WebhookSecret { current: row.secret, previous: row.previous.zip(row.previous_until) }
}
