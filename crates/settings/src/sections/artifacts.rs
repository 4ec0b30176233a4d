//! The object store of videos, posters and checkpoints.

use serde::Deserialize;

use crate::secret::Secret;

/// `[artifacts]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactsSettings {
    /// A folder, `file:///path` or `s3://bucket/prefix`.
    pub url: String,
    /// Size of an upload part, bytes.
    pub part_bytes: usize,
    /// Longest time for one request, seconds.
    pub timeout_s: u64,
    /// Retries of a failed request to S3.
    pub retries_max: usize,
    /// Address of a compatible store; empty for AWS.
    pub s3_endpoint: String,
    /// Region of the bucket.
    pub s3_region: String,
    /// Access key; empty for the machine's own credentials.
    pub s3_access_key_id: String,
    /// Secret of the access key.
    pub s3_secret_access_key: Secret,
    /// Allow `http://` endpoints.
    pub s3_allow_http: bool,
}
