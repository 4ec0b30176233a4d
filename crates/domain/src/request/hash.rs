//! What an idempotency key is bound to: a hash of the request that was sent with it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::VideoRequest;
use super::document::DEFAULTS;

/// The fields that are always part of the hash, in this order: those that the first releases hashed. Never extended, so that
/// stored hashes stay valid.
const ALWAYS: [&str; 15] = [
    "prompt",
    "video_size",
    "aspect_ratio",
    "video_length",
    "infer_steps",
    "quality_tier",
    "seed",
    "cfg_scale",
    "flow_reverse",
    "negative_prompt",
    "true_cfg_scale",
    "step_cache",
    "similar_prompts",
    "model",
    "deadline_s",
];

impl VideoRequest {
    /// Hash of everything that makes two requests the same; stored beside an idempotency key so that the key cannot be reused
    /// for another payload.
    ///
    /// Every other field counts only when it differs from its default. A new field therefore changes no hash of a request that
    /// does not use it, and releases with and without the field agree on a repeated request.
    #[must_use]
    pub fn payload_hash(&self) -> [u8; 32] {
        let mut fields = self.fields();
        // The same picture may be stored under several ids.
        if let Some(sha256) = self.image.as_ref().and_then(|image| image.stored()?.sha256.as_deref()) {
            fields.insert("image".to_owned(), Value::String(format!("sha256:{sha256}")));
        }
        let mut json = String::from("{");
        for name in ALWAYS {
            let value = fields.remove(name).unwrap_or_default();
            match &value {
                // Large seeds are written as strings of digits; hashes hold the number, as in earlier releases.
                Value::String(digits) if name == "seed" => push(&mut json, name, digits),
                value => push(&mut json, name, &value.to_string()),
            }
        }
        // By name, so that the order of the struct does not matter.
        for (name, value) in fields.into_iter().collect::<BTreeMap<_, _>>() {
            if DEFAULTS.get(&name) != Some(&value) {
                push(&mut json, &name, &value.to_string());
            }
        }
        json.push('}');
        *blake3::hash(json.as_bytes()).as_bytes()
    }
}

/// Appends a member, whose value is JSON, to an object that is still open.
fn push(json: &mut String, name: &str, value: &str) {
    if !json.ends_with('{') {
        json.push(',');
    }
    json.push('"');
    json.push_str(name);
    json.push_str("\":");
    json.push_str(value);
}
