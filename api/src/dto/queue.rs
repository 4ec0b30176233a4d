//! A tenant's queue and a key's quota, as JSON.

use chrono::{DateTime, Utc};
use domain::JobId;
use serde::{Deserialize, Serialize};
use store::keys::ApiKey;
use store::quotas::{Quota, QuotaState};
use utoipa::ToSchema;
use uuid::Uuid;

/// The queue of the caller's tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// Whether none of the tenant's jobs is started.
    pub(crate) paused: bool,
    /// Since when; null while the queue runs.
    pub(crate) paused_at: Option<DateTime<Utc>>,
}

/// Where a job is moved to within its owner's queue: name exactly one of `before` and `to`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": "front"}))]
pub(crate) struct MoveBody {
    /// Directly before this job, which must wait in the same queue: same owner and same model.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    pub(crate) before: Option<JobId>,
    /// Before or behind all other jobs of the queue.
    #[serde(default)]
    pub(crate) to: Option<QueueEnd>,
}

/// An end of a queue.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QueueEnd {
    /// Started first.
    Front,
    /// Started last.
    Back,
}

/// Limits of a key for each day (UTC); null sets no limit.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuotaBody {
    /// GPU seconds.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub(crate) gpu_seconds_per_day: Option<f64>,
    /// US dollars, at the price of `cost.gpu_hour_usd`.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub(crate) usd_per_day: Option<f64>,
}

impl From<Quota> for QuotaBody {
    fn from(quota: Quota) -> Self {
        Self { gpu_seconds_per_day: quota.gpu_s, usd_per_day: quota.usd }
    }
}

/// The quota of the caller's key and how much of it is taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaView {
    /// The limits.
    pub(crate) quota: QuotaBody,
    /// GPU seconds that jobs of this key have used since the day began, including runs without a video.
    pub(crate) used_gpu_seconds: f64,
    /// Estimated GPU seconds of its unfinished jobs; 0 without a quota.
    pub(crate) reserved_gpu_seconds: f64,
    /// Price of the used seconds, US dollars.
    pub(crate) used_usd: f64,
    /// When the next day begins.
    pub(crate) renews_at: DateTime<Utc>,
}

impl QuotaView {
    pub(crate) fn new(state: &QuotaState, gpu_hour_usd: f64) -> Self {
        Self {
            quota: state.quota.into(),
            used_gpu_seconds: state.used_s,
            reserved_gpu_seconds: state.reserved_s,
            used_usd: optimizer::price_usd(state.used_s, gpu_hour_usd),
            renews_at: state.renews_at,
        }
    }
}

/// All keys of the fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyListView {
    /// The keys, by tenant and time.
    pub(crate) keys: Vec<KeyView>,
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// Id of the key.
    pub(crate) key_id: Uuid,
    /// Name of its tenant.
    pub(crate) tenant: String,
    /// `user` or `admin`.
    pub(crate) role: &'static str,
    /// The label that its owner chose.
    pub(crate) label: String,
    /// First characters of the key.
    pub(crate) prefix: String,
    /// Its quota.
    pub(crate) quota: QuotaBody,
    /// When it was issued.
    pub(crate) created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub(crate) last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub(crate) revoked_at: Option<DateTime<Utc>>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.id.0,
            tenant: key.tenant_name,
            role: key.role.as_str(),
            label: key.label,
            prefix: key.prefix,
            quota: key.quota.into(),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}
