//! Adapters as JSON.

use chrono::{DateTime, Utc};
use domain::LoraSampling;
use serde::{Deserialize, Serialize};
use store::loras::StoredLora;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// An adapter that a request may name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LoraView {
    /// Its id.
    pub id: Uuid,
    /// Name for the request's `loras`.
    pub name: String,
    /// The model that it belongs to.
    pub model: String,
    /// blake3 of the file.
    pub fingerprint: String,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Largest rank of its factors.
    pub rank: u32,
    /// Layers of the model that it changes.
    pub layers: u32,
    /// What its owner says about it.
    pub description: String,
    /// Steps, shift and guidance that it was trained for.
    pub sampling: LoraSampling,
    /// Whether every tenant may use it.
    pub shared: bool,
    /// Whether it is the caller's own.
    pub own: bool,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

impl LoraView {
    /// The view for a tenant.
    #[must_use]
    pub(crate) fn new(stored: StoredLora, tenant: domain::TenantId) -> Self {
        let StoredLora { id, lora, created_at } = stored;
        Self {
            id,
            own: lora.tenant_id == tenant,
            name: lora.name,
            model: lora.model_id,
            fingerprint: lora.fingerprint,
            bytes: lora.bytes,
            rank: lora.rank,
            layers: lora.layers,
            description: lora.description,
            sampling: lora.sampling,
            shared: lora.shared,
            created_at,
        }
    }
}

/// All adapters that the caller may use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoraListView {
    /// By name; the caller's own before shared ones.
    pub loras: Vec<LoraView>,
}

/// An adapter as PEFT saves it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read part by part")]
pub(crate) struct PeftForm {
    /// The file adapter_config.json, which holds the scale.
    #[schema(value_type = String, format = Binary)]
    config: String,
    /// The file adapter_model.safetensors.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// What an upload says about its file.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadParameters {
    /// Name for the request's `loras`: letters, digits, dots, dashes and underscores. An own adapter of this name is replaced.
    pub name: String,
    /// The model; the fleet's default if left out.
    #[serde(default)]
    pub model: Option<String>,
    /// What it does, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Steps that it was trained for.
    #[serde(default)]
    pub steps: Option<u32>,
    /// Flow-match shift that it was trained for.
    #[serde(default)]
    pub flow_shift: Option<f64>,
    /// Embedded guidance that it was trained for.
    #[serde(default)]
    pub guidance: Option<f64>,
}

/// Which adapters to list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// Only those of this model.
    #[serde(default)]
    pub model: Option<String>,
}

/// Whether every tenant may use an adapter.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareRequest {
    /// True for every tenant, false for its owner only.
    pub shared: bool,
}
