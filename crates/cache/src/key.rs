//! Keys of embeddings: `embed:<encoders>:<text>`.
//!
//! The first part is a hash of everything that encoding depends on, so that another model never finds the value. The second
//! is a hash of the encoded text in normal form, so that a prompt is never readable in Redis.

use unicode_normalization::UnicodeNormalization;

/// Key of a text's embeddings for encoders with this fingerprint. The text is used in Unicode normal form C without
/// surrounding white space, exactly as the encoder receives it.
#[must_use]
pub fn embedding_key(encoder_fingerprint: &str, text: &str) -> String {
    let text = normal_form(text);
    let encoders = blake3::hash(encoder_fingerprint.as_bytes()).to_hex();
    format!("embed:{}:{}", &encoders[..16], &blake3::hash(text.as_bytes()).to_hex()[..40])
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
        let key = embedding_key("f", "a cafe\u{301}");
        assert_eq!(key, embedding_key("f", "  a café\n"), "normal form and trimming");
        assert_ne!(key, embedding_key("g", "a café"), "other encoders");
        assert_ne!(key, embedding_key("f", "A café"), "case is part of a prompt");
        assert!(key.starts_with("embed:") && !key.contains("caf"));
    }
}
