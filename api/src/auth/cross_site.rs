//! Whether a browser sent a request from another site's page.
//!
//! Without keys, being able to reach the port is the only right there is, and every web page that the user has open can
//! reach it too. Browsers say where a request comes from (`Sec-Fetch-Site`, `Origin`); other clients send neither and are
//! let through.

use axum::http::{HeaderMap, Method, header};

/// Whether the method may change something.
#[must_use]
pub(crate) fn changes_something(method: &Method) -> bool {
    !(method.is_safe())
}

/// Whether the headers show that another site's page sent the request.
#[must_use]
pub(crate) fn from_another_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else { return false };
    let from = origin.split_once("://").map_or(origin, |(_, host)| host);
    Some(from) != text(header::HOST.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_page_and_command_lines_pass_other_sites_do_not() {
        assert!(!from_another_site(&headers(&[])));
        assert!(!from_another_site(&headers(&[
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://localhost:8000")
        ])));
        assert!(from_another_site(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(from_another_site(&headers(&[("sec-fetch-site", "same-site")])));
        assert!(!from_another_site(&headers(&[("origin", "http://localhost:8000"), ("host", "localhost:8000")])));
        assert!(from_another_site(&headers(&[("origin", "http://evil.example"), ("host", "localhost:8000")])));
        assert!(from_another_site(&headers(&[("origin", "null"), ("host", "localhost:8000")])));
    }
}
