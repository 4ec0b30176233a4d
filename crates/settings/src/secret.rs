//! Values that must never be logged: their `Debug` and `Display` hide them.

use std::fmt;

use serde::Deserialize;

/// A password or key. Read it with [`Secret::expose`] where it is used.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "[redacted]" })
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A URL that may contain a password. It is shown without the password and without its query, which may contain one as well.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL without password and query, for logs.
    fn redacted(&self) -> String {
        // A text that is not a URL may be anything, even a bare password.
        let Some((scheme, rest)) = self.0.split_once("://") else { return "[redacted]".to_owned() };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        // The last '@': the password may contain one itself.
        let Some((user_info, place)) = rest.rsplit_once('@') else { return format!("{scheme}://{rest}") };
        let user = user_info.split(':').next().unwrap_or_default();
        let password = if user_info.contains(':') { ":[redacted]" } else { "" };
        format!("{scheme}://{user}{password}@{place}")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_url_is_shown_without_what_must_stay_private() {
        let cases = [
            ("postgres://fleet:p@ss:w@db:5432/fleet?password=x", "postgres://fleet:[redacted]@db:5432/fleet"),
            ("amqp://fleet@mq/vhost", "amqp://fleet@mq/vhost"),
            ("amqp://mq:5672", "amqp://mq:5672"),
            ("hunter2", "[redacted]"),
        ];
        for (url, shown) in cases {
            assert_eq!(SecretUrl::new(url).redacted(), shown);
            assert_eq!(format!("{:?}", SecretUrl::new(url)), shown);
        }
    }
}
