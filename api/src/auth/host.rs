//! Which host names the API accepts while keys are off.
//!
//! A web page can let its own name resolve to this machine (DNS rebinding). The browser then takes the API for a part of that
//! page's site, so the checks in [`super::cross_site`] see nothing wrong. What remains is the `Host` header, which still
//! carries the page's name. A request that names an IP address is safe: only names can be rebound.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

use crate::problem::{Problem, ProblemKind};

/// The hosts under which this API may be called.
#[derive(Debug, Clone)]
pub struct KnownHosts {
    bind: IpAddr,
    /// In lower case: a name, `*.` and a name for everything below it, or `*` for every name.
    names: Vec<String>,
}

impl KnownHosts {
    /// Loopback names, the bind address and the names of the setting `server.hosts`. If the bind address is unspecified
    /// (`0.0.0.0` or `::`), every IP address is accepted.
    #[must_use]
    pub fn new(bind: IpAddr, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.trim().trim_end_matches('.').to_ascii_lowercase()).collect();
        Self { bind, names }
    }

    /// Whether an authority (`host` or `host:port`, as in the `Host` header) names a known host.
    #[must_use]
    pub(crate) fn knows(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback() || self.bind.is_unspecified() || address == self.bind.to_canonical();
        }
        host == "localhost" || host.ends_with(".localhost") || self.names.iter().any(|name| matches(name, &host))
    }

    /// Checks the target of a request and, unless that site is `invited` by a setting, its origin.
    ///
    /// # Errors
    /// 421 that says which setting accepts the host.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap, invited: bool) -> Result<(), Problem> {
        let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut targets: Vec<String> = headers.get_all(header::HOST).iter().map(text).collect();
        targets.extend(uri.authority().map(|authority| authority.as_str().to_owned()));
        if targets.is_empty() {
            return Err(unknown("the request has no Host header"));
        }
        if let Some(target) = targets.iter().find(|target| !self.knows(target)) {
            return Err(unknown(&format!("the Host header names '{target}'")));
        }
        let Some(origin) = headers.get(header::ORIGIN).filter(|_| !invited).map(text) else { return Ok(()) };
        // `null` stands for a sandboxed page; whether it may change something is decided by the guard.
        let foreign = origin.split_once("://").is_some_and(|(_, authority)| !self.knows(authority));
        if foreign { Err(unknown(&format!("the Origin header names '{origin}'"))) } else { Ok(()) }
    }
}

/// The host of `host`, `host:port` or `[v6]:port` in lower case; `None` if it is neither.
fn host_of(authority: &str) -> Option<String> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?,
        None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
    };
    let port_is_valid = rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let host = host.strip_suffix('.').unwrap_or(host);
    (port_is_valid && !host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn matches(name: &str, host: &str) -> bool {
    match name.strip_prefix('*') {
        Some("") => true,
        Some(parent) => parent.starts_with('.') && host.len() > parent.len() && host.ends_with(parent),
        None => name == host,
    }
}

fn unknown(what: &str) -> Problem {
    let detail = format!(
        "{what}, which is not a known host of this API. Call it as localhost, or add the name to the setting \
         server.hosts (variable FLEET__SERVER__HOSTS)"
    );
    Problem::new(ProblemKind::UnknownHost, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bind: &str, names: &[&str]) -> KnownHosts {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        KnownHosts::new(bind.parse().unwrap(), &names)
    }

    #[test]
    fn loopback_names_the_bind_address_and_the_setting_are_known() {
        let hosts = known("192.0.2.7", &["Fleet.Example.", "*.inner.example"]);
        for good in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.",
            "page.localhost:80",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]:8000",
            "192.0.2.7:8000",
            "[::ffff:192.0.2.7]",
            "fleet.example:443",
            "a.b.inner.example",
        ] {
            assert!(hosts.knows(good), "{good}");
        }
        for bad in [
            "",
            ":8000",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "192.0.2.8",
            "inner.example",
            "[::1",
            "localhost:x",
            "evil.example:80@localhost",
            "127.0.0.1.evil.example",
            "a.fleet.example",
            "user@localhost",
        ] {
            assert!(!hosts.knows(bad), "{bad}");
        }
    }

    #[test]
    fn an_unspecified_bind_address_accepts_addresses_and_no_names() {
        let hosts = known("0.0.0.0", &["backend"]);
        assert!(hosts.knows("10.1.2.3:8000") && hosts.knows("[2001:db8::1]:8000") && hosts.knows("backend:8000"));
        assert!(!hosts.knows("evil.example"));
        assert!(known("0.0.0.0", &["*"]).knows("evil.example"));
    }

    #[test]
    fn target_and_origin_are_both_checked() {
        let hosts = known("127.0.0.1", &[]);
        let check = |uri: &str, pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            hosts.check(&uri.parse().unwrap(), &headers, false).map_err(|problem| problem.body().detail)
        };
        assert_eq!(check("/", &[("host", "localhost:8000"), ("origin", "http://127.0.0.1:5173")]), Ok(()));
        assert_eq!(check("/", &[("host", "localhost"), ("origin", "null")]), Ok(()));
        assert!(check("/", &[]).is_err());
        assert!(check("http://evil.example/", &[("host", "localhost")]).is_err());
        let error = check("/", &[("host", "localhost"), ("origin", "https://evil.example")]).unwrap_err();
        assert!(error.contains("Origin") && error.contains("server.hosts"), "{error}");
        let error = check("/", &[("host", "evil.example")]).unwrap_err();
        assert!(error.contains("'evil.example'") && error.contains("server.hosts"), "{error}");
    }
}
