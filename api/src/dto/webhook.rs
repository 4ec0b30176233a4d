//! Webhooks as JSON.

use chrono::{DateTime, Utc};
use domain::JobEventKind;
use serde::{Deserialize, Serialize};
use store::webhooks::{DeliveryRecord, WebhookEndpoint, WebhookSecret};
use utoipa::ToSchema;
use uuid::Uuid;
use webhooks::SigningSecret;

/// A receiver of the events of all jobs of the caller's tenant.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://example.com/fleet", "events": ["completed", "failed"]}))]
pub(crate) struct PutWebhook {
    /// Where deliveries are sent.
    pub url: String,
    /// The kinds of events that it receives; completed, failed and cancelled when null.
    #[serde(default)]
    pub events: Option<Vec<String>>,
    /// Only events of jobs that are submitted with the caller's key; default false.
    #[serde(default)]
    pub own_jobs_only: bool,
}

/// All receivers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookListView {
    /// Oldest first.
    pub webhooks: Vec<WebhookView>,
}

/// A receiver.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookView {
    /// Its id.
    pub webhook_id: Uuid,
    /// Where deliveries are sent.
    pub url: String,
    /// The kinds of events that it receives.
    pub events: Vec<String>,
    /// Id of the API key whose jobs it is about; null for all jobs of the tenant.
    pub key_id: Option<Uuid>,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
    /// Time at which it responded with 410 Gone. Nothing more is sent until the same URL is created again.
    pub disabled_at: Option<DateTime<Utc>>,
}

impl From<WebhookEndpoint> for WebhookView {
    fn from(endpoint: WebhookEndpoint) -> Self {
        Self {
            webhook_id: endpoint.id,
            url: endpoint.url,
            events: endpoint.events.iter().map(JobEventKind::to_string).collect(),
            key_id: endpoint.key_id.map(|key| key.0),
            created_at: endpoint.created_at,
            disabled_at: endpoint.disabled_at,
        }
    }
}

/// The secret that receivers verify signatures with.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookSecretView {
    /// The current secret: `whsec_` and base64, as the libraries of Standard Webhooks take it.
    pub secret: String,
    /// Time until which deliveries are signed with the secret before the last rotation, too; null when that is over.
    pub previous_until: Option<DateTime<Utc>>,
}

impl WebhookSecretView {
    /// Creates the view.
    #[must_use]
    pub(crate) fn new(secret: WebhookSecret, now: DateTime<Utc>) -> Self {
        Self {
            secret: SigningSecret::from_bytes(secret.current).reveal(),
            previous_until: secret.previous.map(|(_, until)| until).filter(|until| *until > now),
        }
    }
}

/// Deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryListView {
    /// Newest event first.
    pub deliveries: Vec<DeliveryView>,
    /// Send this as `cursor` to get the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// The delivery of one event to one receiver.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// Its id: the `webhook-id` header of every attempt.
    pub delivery_id: Uuid,
    /// The job.
    pub job_id: Uuid,
    /// Kind of the event.
    pub kind: String,
    /// Time of the event.
    pub at: DateTime<Utc>,
    /// The receiver; null for the job's own `webhook`.
    pub webhook_id: Option<Uuid>,
    /// Where it is sent.
    pub url: String,
    /// `pending`, `delivered` or `failed` (given up).
    pub state: String,
    /// Number of attempts.
    pub attempts: i32,
    /// Earliest time of the next attempt; null unless pending.
    pub next_at: Option<DateTime<Utc>>,
    /// HTTP status of the last response.
    pub last_status: Option<i32>,
    /// What was wrong with the last attempt.
    pub last_error: Option<String>,
    /// Time at which it was delivered or given up.
    pub ended_at: Option<DateTime<Utc>>,
}

impl From<DeliveryRecord> for DeliveryView {
    fn from(record: DeliveryRecord) -> Self {
        Self {
            delivery_id: record.id,
            job_id: record.job_id.0,
            kind: record.kind,
            at: record.at,
            webhook_id: record.endpoint_id,
            url: record.url,
            state: record.state.to_string(),
            attempts: record.attempts,
            next_at: record.ended_at.is_none().then_some(record.next_at),
            last_status: record.last_status,
            last_error: record.last_error,
            ended_at: record.ended_at,
        }
    }
}
