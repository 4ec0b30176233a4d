//! The API's HTTP server: address, keys, sessions, limits of a request.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::network::Network;

/// When API keys are required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysMode {
    /// Off on a loopback address, on elsewhere.
    Auto,
    /// Always.
    On,
    /// Never. On an address other than loopback this needs `open_to_all`.
    Off,
}

impl ServerSettings {
    /// Whether requests must carry a key. Beyond loopback, `auto` requires one unless `open_to_all` is set.
    #[must_use]
    pub fn keys_required(&self) -> bool {
        match self.keys {
            KeysMode::On => true,
            KeysMode::Off => false,
            KeysMode::Auto => !self.bind.is_loopback() && !self.open_to_all,
        }
    }
}

/// `[server]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// Port of `/metrics`; 0 serves it on `port`.
    pub metrics_port: u16,
    /// Whether API keys are required.
    pub keys: KeysMode,
    /// Serve other machines without keys.
    pub open_to_all: bool,
    /// Further names under which the API may be called while keys are off.
    pub hosts: Vec<String>,
    /// Path below which a reverse proxy serves the fleet; empty for none.
    pub path_prefix: String,
    /// Reverse proxies whose `X-Forwarded-Host` and `X-Forwarded-Proto` count.
    pub trusted_proxies: Vec<Network>,
    /// Pages of other sites that may use the API.
    pub cors_origins: Vec<String>,
    /// How long a sign-in to the page lasts, seconds.
    pub session_ttl_s: u64,
    /// How long a key is trusted before the database is asked again, seconds.
    pub key_cache_s: u64,
    /// Send the session cookie over HTTPS only.
    pub cookie_secure: bool,
    /// Most open connections.
    pub connections_max: usize,
    /// Longest time without a complete request header, seconds.
    pub header_timeout_s: u64,
    /// Largest request body, bytes.
    pub body_max_bytes: usize,
    /// Longest time for a request that is neither a stream nor an upload, seconds.
    pub request_timeout_s: u64,
    /// Longest silence of an event stream before it sends a `ping`, seconds.
    pub sse_keepalive_s: u64,
    /// Pause between an event stream's checks of the database, milliseconds.
    pub sse_poll_ms: u64,
    /// Most event streams at the same time; with keys on, one tenant has at most a quarter of them.
    pub sse_streams_max: usize,
    /// Folder of the built page.
    pub web_dir: PathBuf,
    /// Time for open requests after the first stop signal, seconds.
    pub drain_s: u64,
}
