//! The cookie of a signed-in page.

use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};

/// The cookie's name.
pub(crate) const COOKIE: &str = "fleet_session";

/// The session value of a request, if there is one.
#[must_use]
pub fn cookie(headers: &HeaderMap) -> Option<String> {
    CookieJar::from_headers(headers).get(COOKIE).map(|cookie| cookie.value().to_owned())
}

/// `Set-Cookie` for a fresh session: unreadable for scripts, never sent by other sites' pages.
#[must_use]
pub(crate) fn set_cookie(value: &str, ttl_s: u64, secure: bool) -> HeaderValue {
    header_value(&format!("{}; Max-Age={ttl_s}", base(value, secure)))
}

/// `Set-Cookie` that removes it.
#[must_use]
pub(crate) fn clear_cookie(secure: bool) -> HeaderValue {
    header_value(&format!("{}; Max-Age=0", base("", secure)))
}

fn base(value: &str, secure: bool) -> Cookie<'static> {
    Cookie::build((COOKIE, value.to_owned()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(secure)
        .build()
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a cookie of hex digits is a header value; this is a bug")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_out_of_reach_for_scripts_and_other_sites() {
        insta::assert_snapshot!(set_cookie("ab12", 60, true).to_str().unwrap(),
            @"fleet_session=ab12; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=60");
        insta::assert_snapshot!(clear_cookie(false).to_str().unwrap(),
            @"fleet_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    }
}
