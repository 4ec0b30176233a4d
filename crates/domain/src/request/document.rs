//! The request as it is stored: one JSON document with every field spelled out.
//!
//! Incoming requests are read strictly, so that a misspelt field is refused instead of ignored. Stored documents are read
//! leniently, because another release may have written them: fields that this release does not know are ignored, and fields
//! that the writer did not know get their defaults.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::VideoRequest;

/// Every field with its default, as JSON; the prompt is empty.
pub(super) static DEFAULTS: LazyLock<Map<String, Value>> = LazyLock::new(|| VideoRequest::new("").fields());

impl VideoRequest {
    /// Reads a stored document.
    ///
    /// # Errors
    /// serde's, for a document without a prompt or with a value of the wrong type.
    pub fn from_document(mut document: Value) -> Result<Self, serde_json::Error> {
        if let Value::Object(fields) = &mut document {
            fields.retain(|name, _| DEFAULTS.contains_key(name));
        }
        serde_json::from_value(document)
    }

    /// Every field by name.
    pub(super) fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            other => unreachable!("a request serialises to an object, not {other:?}; this is a bug"),
        }
    }
}
