//! Prompts that were noted for similar ones: one short list for each tenant, encoder and content.
//!
//! `optimizer::similar` defines what similar means. Prompts with equal content share a list, so a look-up reads one list of
//! bounded length, whatever the fleet has rendered. A note holds the key of the embeddings and hashes of the prompt's
//! words, never the words. It expires with the embeddings.

use optimizer::similar::{Sketch, overlap};

/// Which prompts may stand in for a text, and whether that is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Similar<'a> {
    /// The tenant. Prompts of different tenants are never compared.
    pub tenant: &'a str,
    /// Whether embeddings of a similar prompt may be used. If not, the text is still noted for requests that allow them.
    pub allowed: bool,
}

/// A prompt in the form in which it is compared.
#[derive(Debug)]
pub(crate) struct Prompt {
    /// The list for prompts of the same tenant, encoders and content.
    pub(crate) list: String,
    words: Vec<u32>,
}

impl Prompt {
    /// `None` when the text has no content that could be compared.
    pub(crate) fn of(similar: &Similar<'_>, encoder_fingerprint: &str, text: &str) -> Option<Self> {
        let sketch = Sketch::of(text)?;
        let encoders = blake3::hash(encoder_fingerprint.as_bytes()).to_hex();
        let list = format!("fleet:similar:{}:{}:{}", similar.tenant, &encoders[..16], sketch.content);
        Some(Self { list, words: sketch.words })
    }

    /// The note for the embeddings under `key`: the key's length, the key, the words.
    pub(crate) fn member(&self, key: &str) -> Vec<u8> {
        let mut member = vec![u8::try_from(key.len()).unwrap_or(u8::MAX)];
        member.extend(key.as_bytes());
        member.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        member
    }

    /// Scores at or above the threshold with their keys, best first; the newest first among equal scores.
    pub(crate) fn best(&self, noted: &[Vec<u8>], threshold: f64) -> Vec<(f64, String)> {
        let scored = noted.iter().filter_map(|member| {
            let (key, words) = read(member)?;
            Some((overlap(&self.words, &words), key))
        });
        let mut best: Vec<_> = scored.filter(|(score, _)| *score >= threshold).collect();
        best.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        best
    }
}

/// `None` for a note that this code did not write.
fn read(member: &[u8]) -> Option<(String, Vec<u32>)> {
    let (length, rest) = member.split_first()?;
    let (key, words) = rest.split_at_checked(usize::from(*length))?;
    let key = std::str::from_utf8(key).ok().filter(|key| key.starts_with("embed:"))?;
    let (words, odd) = words.as_chunks::<4>();
    odd.is_empty().then(|| (key.to_owned(), words.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prompt(text: &str) -> Prompt {
        Prompt::of(&Similar { tenant: "t", allowed: true }, "f", text).expect("it has content")
    }

    #[test]
    fn the_best_note_comes_first_and_distant_ones_are_left_out() {
        let asked = prompt("a red cat");
        let near = prompt("a lovely red cat").member("embed:near");
        let far = prompt("a lovely, stunning, very beautiful red cat, masterpiece, 4k").member("embed:far");
        let same = prompt("The red cat.").member("embed:same");
        let keys: Vec<_> = asked.best(&[far, near, same], 0.6).into_iter().map(|(_, key)| key).collect();
        assert_eq!(keys, ["embed:same", "embed:near"]);
    }

    #[test]
    fn tenants_encoders_and_contents_have_separate_lists() {
        let list = |tenant, fingerprint, text| {
            Prompt::of(&Similar { tenant, allowed: true }, fingerprint, text).map(|p| p.list)
        };
        let one = list("t", "f", "a red cat");
        assert_eq!(one, list("t", "f", "Red cat!"));
        for other in [list("u", "f", "a red cat"), list("t", "g", "a red cat"), list("t", "f", "a blue cat")] {
            assert_ne!(one, other);
        }
    }

    proptest! {
        #[test]
        fn foreign_notes_are_ignored(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(prompt("a red cat").best(&[bytes], 0.6).is_empty());
        }
    }
}
