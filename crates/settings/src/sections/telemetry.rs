//! Where traces are sent.

use serde::Deserialize;

/// `[telemetry]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Base URL of a collector that takes OTLP over HTTP; empty: no traces.
    pub otlp_endpoint: String,
    /// The first part of the services' names.
    pub service_name: String,
    /// Share of the traces that are recorded, 0 to 1, unless the client has decided.
    pub sampling_ratio: f64,
    /// Longest wait for the collector, milliseconds.
    pub timeout_ms: u64,
}
