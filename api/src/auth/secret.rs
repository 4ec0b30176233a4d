//! Keys and session values: how they look, and the hash that is stored of them.
//!
//! Both are 256 random bits, so a fast hash is as good as a slow one: there is nothing to guess. Only the hash is stored;
//! a key is shown once, when it is issued.

use std::fmt::Write;

/// What every API key starts with, so that people and secret scanners recognise one.
pub(crate) const KEY_START: &str = "hvf_";
/// Characters of a key that are kept in the clear to recognise it in a list.
const PREFIX_CHARS: usize = KEY_START.len() + 8;

/// A freshly drawn key.
#[derive(Clone)]
pub struct FreshKey {
    /// The key, to be shown once.
    pub key: String,
    /// Its start, to be kept.
    pub prefix: String,
    /// Its hash, to be kept.
    pub hash: [u8; 32],
}

impl FreshKey {
    /// Draws a key.
    #[must_use]
    pub fn draw() -> Self {
        let key = format!("{KEY_START}{}", random_hex());
        Self { prefix: key[..PREFIX_CHARS].to_owned(), hash: hash(&key), key }
    }
}

/// 256 random bits in hex: a session's cookie, a CSRF token.
#[must_use]
pub(crate) fn random_hex() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What is stored of a key or a session.
#[must_use]
pub fn hash(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognisable_and_long() {
        let (one, other) = (FreshKey::draw(), FreshKey::draw());
        assert!(one.key.starts_with(&one.prefix) && one.prefix.starts_with(KEY_START));
        assert_eq!(one.key.len(), KEY_START.len() + 64);
        assert_ne!(one.key, other.key);
        assert_eq!(one.hash, hash(&one.key));
    }
}
