//! What is kept for a text: both encoders' output in 16 bits, with its shape and a checksum.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// First bytes of every value; another layout gets another number.
const MAGIC: &[u8; 6] = b"FLEMB1";
/// Magic, rows, columns, pooled length.
const HEADER_BYTES: usize = MAGIC.len() + 3 * 4;
/// Of blake3 over everything before it.
const CHECKSUM_BYTES: usize = 16;

/// Embeddings of one text, trimmed to their true length, independent of any tensor library.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEmbeddings {
    /// States of the language model, `[rows, cols]`, row by row.
    pub prompt: Vec<f16>,
    /// Tokens.
    pub rows: usize,
    /// Width of a state.
    pub cols: usize,
    /// CLIP's pooled output.
    pub pooled: Vec<f16>,
    /// Fingerprint of the encoders that made them.
    pub fingerprint: String,
}

/// A value that cannot be used; to the cache it is a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not one of ours, or of another release.
    #[error("the value has another layout")]
    Foreign,
    /// Shorter or longer than its header says.
    #[error("the value is cut short or has something behind it")]
    Length,
    /// Damaged.
    #[error("the value's checksum does not match")]
    Checksum,
}

impl StoredEmbeddings {
    /// The bytes that Redis keeps. The fingerprint is in the key, not in the value.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 2 * (self.prompt.len() + self.pooled.len()) + CHECKSUM_BYTES);
        bytes.extend(MAGIC);
        for number in [self.rows, self.cols, self.pooled.len()] {
            bytes.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        }
        for value in self.prompt.iter().chain(&self.pooled) {
            bytes.extend(value.to_le_bytes());
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend(&checksum.as_bytes()[..CHECKSUM_BYTES]);
        bytes
    }

    /// Reads what [`StoredEmbeddings::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`ValueError`], whatever the bytes are.
    pub fn from_bytes(bytes: &[u8], fingerprint: &str) -> Result<Self, ValueError> {
        if bytes.len() < MAGIC.len() || !bytes.starts_with(MAGIC) {
            return Err(ValueError::Foreign);
        }
        let header = bytes.get(MAGIC.len()..HEADER_BYTES).ok_or(ValueError::Length)?;
        let mut numbers = header.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let mut next = || numbers.next().unwrap_or_default();
        let (rows, cols, pooled) = (next(), next(), next());
        let values = rows.checked_mul(cols).and_then(|n| n.checked_add(pooled)).ok_or(ValueError::Length)?;
        let body_end = values.checked_mul(2).and_then(|n| n.checked_add(HEADER_BYTES)).ok_or(ValueError::Length)?;
        if bytes.len() != body_end + CHECKSUM_BYTES {
            return Err(ValueError::Length);
        }
        if blake3::hash(&bytes[..body_end]).as_bytes()[..CHECKSUM_BYTES] != bytes[body_end..] {
            return Err(ValueError::Checksum);
        }
        let mut floats = vec![f16::ZERO; values];
        for (value, raw) in floats.reinterpret_cast_mut().iter_mut().zip(bytes[HEADER_BYTES..body_end].chunks_exact(2))
        {
            *value = u16::from_le_bytes([raw[0], raw[1]]);
        }
        let pooled = floats.split_off(rows * cols);
        Ok(Self { prompt: floats, rows, cols, pooled, fingerprint: fingerprint.to_owned() })
    }

    /// Memory that it takes, bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        2 * (self.prompt.len() + self.pooled.len()) + self.fingerprint.len() + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_embeddings() -> impl Strategy<Value = StoredEmbeddings> {
        (0..5usize, 0..7usize, 0..9usize).prop_flat_map(|(rows, cols, pooled)| {
            let floats = |n| proptest::collection::vec(any::<u16>().prop_map(f16::from_bits), n);
            (floats(rows * cols), floats(pooled)).prop_map(move |(prompt, pooled)| StoredEmbeddings {
                prompt,
                rows,
                cols,
                pooled,
                fingerprint: "f".to_owned(),
            })
        })
    }

    fn bits(values: &[f16]) -> Vec<u16> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_bit_for_bit(embeddings in any_embeddings()) {
            let read = StoredEmbeddings::from_bytes(&embeddings.to_bytes(), "f").expect("our own bytes");
            prop_assert_eq!((read.rows, read.cols), (embeddings.rows, embeddings.cols));
            prop_assert_eq!(bits(&read.prompt), bits(&embeddings.prompt));
            prop_assert_eq!(bits(&read.pooled), bits(&embeddings.pooled));
        }

        #[test]
        fn a_damaged_value_is_never_taken(embeddings in any_embeddings(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut bytes = embeddings.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(StoredEmbeddings::from_bytes(&bytes, "f").is_err());
        }

        #[test]
        fn a_cut_value_is_never_taken(embeddings in any_embeddings(), at in any::<prop::sample::Index>()) {
            let bytes = embeddings.to_bytes();
            prop_assert!(StoredEmbeddings::from_bytes(&bytes[..at.index(bytes.len())], "f").is_err());
        }

        #[test]
        fn foreign_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), ours in any::<bool>()) {
            let mut bytes = bytes;
            if ours {
                bytes.splice(0..0, MAGIC.iter().copied());
            }
            prop_assert!(StoredEmbeddings::from_bytes(&bytes, "f").is_err());
        }
    }
}
