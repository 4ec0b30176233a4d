//! HTTP clients of tests.

use reqwest::ClientBuilder;

/// A builder of HTTP clients, with the TLS implementation in place that such a client takes from the process.
pub fn http_client() -> ClientBuilder {
    // It fails only if another client installed one before, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    ClientBuilder::new()
}
