//! HTTP clients of tests.

use reqwest::ClientBuilder;

/// A builder of HTTP clients, after installing the process-wide TLS implementation that clients use.
pub fn http_client() -> ClientBuilder {
    // It fails only if another client has already installed one, which is equally good.
    drop(rustls::crypto::ring::default_provider().install_default());
    ClientBuilder::new()
}
