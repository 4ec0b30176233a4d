//! Keys of embeddings: `embed:<encoders>:<text>`.
//!
//! The first part is a hash of everything that encoding depends on, so that another model never finds the value. The second
//! is a hash of the tenant and the encoded text in normal form, so that a prompt is never readable in Redis, and no tenant learns from
//! a hit, or from the time that one saves, that another tenant has sent the same prompt.

use unicode_normalization::UnicodeNormalization;

/// Key of a tenant's embeddings of a text for encoders with this fingerprint; without a tenant, of those that all share. The text is
/// used in Unicode normal form C without surrounding white space, exactly as the encoder receives it.
#[must_use]
pub fn embedding_key(encoder_fingerprint: &str, tenant: Option<&str>, text: &str) -> String {
    let text = normal_form(text);
    let encoders = blake3::hash(encoder_fingerprint.as_bytes()).to_hex();
    let mut owned = blake3::Hasher::new();
    if let Some(tenant) = tenant {
        // A text never contains this character.
        owned.update(tenant.as_bytes()).update(b"\0");
    }
    owned.update(text.as_bytes());
    format!("embed:{}:{}", &encoders[..16], &owned.finalize().to_hex()[..40])
}

/// The text as it is encoded.
pub(crate) fn normal_form(text: &str) -> String {
    text.trim().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_has_one_key_and_others_have_others() {
        let key = embedding_key("f", Some("t"), "a cafe\u{301}");
        assert_eq!(key, embedding_key("f", Some("t"), "  a café\n"), "normal form and trimming");
        assert_ne!(key, embedding_key("g", Some("t"), "a café"), "other encoders");
        assert_ne!(key, embedding_key("f", Some("t"), "A café"), "case is part of a prompt");
        assert_ne!(key, embedding_key("f", Some("u"), "a café"), "another tenant");
        assert_ne!(key, embedding_key("f", None, "a café"), "shared by all");
        assert!(key.starts_with("embed:") && !key.contains("caf"));
    }
}
