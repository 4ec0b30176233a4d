//! The value stored for a text: the encoders' output as named tensors, with a checksum.
//!
//! Layout: magic with the version, number of tensors, their descriptions, their bytes one after another, checksum. Numbers
//! are little-endian. Each value has exactly one encoding, so decoding and encoding again changes nothing.

use std::collections::BTreeMap;

/// First bytes of every value. Version 1 held exactly two tensors; any other version is a miss.
const MAGIC: &[u8; 6] = b"FLEMB2";
/// Length of the blake3 checksum over everything before it.
const CHECKSUM_BYTES: usize = 16;
/// Most tensors, and most axes of a tensor: far above any model, and small enough that a malicious value cannot exhaust
/// memory.
const TENSORS_MAX: usize = 64;
const AXES_MAX: usize = 8;

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with 5 bits of exponent.
    F16,
    /// 16-bit floats with 8 bits of exponent.
    Bf16,
    /// 64-bit integers.
    I64,
    /// One byte per value, 0 or 1: masks.
    Bool,
}

impl Element {
    /// Every element type; the position in this list is the type's code in a value.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::I64, Self::Bool];

    /// Bytes of one element.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::I64 => 8,
            Self::Bool => 1,
        }
    }

    fn code(self) -> u8 {
        Self::ALL.iter().position(|element| *element == self).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }
}

/// A tensor's content, independent of any tensor library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// Element type.
    pub element: Element,
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// The elements, little-endian, in row-major order.
    pub bytes: Vec<u8>,
}

impl StoredTensor {
    /// Bytes that the shape needs; `None` if they overflow.
    fn wanted_bytes(element: Element, shape: &[usize]) -> Option<usize> {
        shape.iter().try_fold(element.size_bytes(), |product, &size| product.checked_mul(size))
    }
}

/// Embeddings of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEmbeddings {
    /// Tensors by name. The model family defines the names.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// Fingerprint of the encoders that produced them.
    pub fingerprint: String,
}

/// A value that cannot be used; the cache treats it as a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not written by this software, or by a release with another layout.
    #[error("the value has another layout")]
    Foreign,
    /// Shorter or longer than its descriptions say, or with descriptions that this code never writes.
    #[error("the value is truncated, has trailing bytes, or has invalid tensor descriptions")]
    Length,
    /// The content is damaged.
    #[error("the value's checksum does not match")]
    Checksum,
}

impl StoredEmbeddings {
    /// The bytes that Redis stores. The fingerprint is in the key, not in the value.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size_bytes() + CHECKSUM_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(number(self.tensors.len()));
        for (name, tensor) in &self.tensors {
            bytes.extend(number(name.len()));
            bytes.extend(name.as_bytes());
            bytes.push(tensor.element.code());
            bytes.extend(number(tensor.shape.len()));
            bytes.extend(tensor.shape.iter().flat_map(|&size| number(size)));
        }
        for tensor in self.tensors.values() {
            bytes.extend(&tensor.bytes);
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend(&checksum.as_bytes()[..CHECKSUM_BYTES]);
        bytes
    }

    /// Decodes the bytes of [`StoredEmbeddings::to_bytes`].
    ///
    /// # Errors
    /// [`ValueError`]. Never panics, whatever the bytes.
    pub fn from_bytes(bytes: &[u8], fingerprint: &str) -> Result<Self, ValueError> {
        if !bytes.starts_with(MAGIC) {
            return Err(ValueError::Foreign);
        }
        let body_end = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= MAGIC.len());
        let (body, checksum) = bytes.split_at(body_end.ok_or(ValueError::Length)?);
        if blake3::hash(body).as_bytes()[..CHECKSUM_BYTES] != *checksum {
            return Err(ValueError::Checksum);
        }
        let tensors = Reader { rest: &body[MAGIC.len()..] }.tensors().ok_or(ValueError::Length)?;
        Ok(Self { tensors, fingerprint: fingerprint.to_owned() })
    }

    /// Memory used, bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let one = |(name, tensor): (&String, &StoredTensor)| {
            name.len() + size_of::<StoredTensor>() + size_of_val(tensor.shape.as_slice()) + tensor.bytes.len()
        };
        self.tensors.iter().map(one).sum::<usize>() + self.fingerprint.len() + size_of::<Self>()
    }
}

fn number(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads the parts of a value one after another; returns `None` for anything that [`StoredEmbeddings::to_bytes`] never
/// writes.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        let bytes: [u8; 4] = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn description(&mut self) -> Option<(String, Element, Vec<usize>)> {
        let length = self.number()?;
        let name = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
        let element = *Element::ALL.get(usize::from(self.take(1)?[0]))?;
        let axes = self.number().filter(|axes| *axes <= AXES_MAX)?;
        let shape = (0..axes).map(|_| self.number()).collect::<Option<_>>()?;
        Some((name, element, shape))
    }

    fn tensors(mut self) -> Option<BTreeMap<String, StoredTensor>> {
        let count = self.number().filter(|count| *count <= TENSORS_MAX)?;
        let descriptions = (0..count).map(|_| self.description()).collect::<Option<Vec<_>>>()?;
        if !descriptions.is_sorted_by(|(one, ..), (other, ..)| one < other) {
            return None;
        }
        let mut tensors = BTreeMap::new();
        for (name, element, shape) in descriptions {
            let bytes = self.take(StoredTensor::wanted_bytes(element, &shape)?)?.to_vec();
            tensors.insert(name, StoredTensor { element, shape, bytes });
        }
        self.rest.is_empty().then_some(tensors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_tensor() -> impl Strategy<Value = StoredTensor> {
        (proptest::sample::select(Element::ALL.to_vec()), proptest::collection::vec(0..4_usize, 0..4)).prop_flat_map(
            |(element, shape)| {
                let bytes = StoredTensor::wanted_bytes(element, &shape).expect("a small tensor");
                proptest::collection::vec(any::<u8>(), bytes).prop_map(move |bytes| StoredTensor {
                    element,
                    shape: shape.clone(),
                    bytes,
                })
            },
        )
    }

    fn any_embeddings() -> impl Strategy<Value = StoredEmbeddings> {
        proptest::collection::btree_map("[a-z_0-9]{0,9}", any_tensor(), 0..5)
            .prop_map(|tensors| StoredEmbeddings { tensors, fingerprint: "f".to_owned() })
    }

    /// A value with this content after the magic, and a correct checksum.
    fn signed(content: &[u8]) -> Vec<u8> {
        let body = [MAGIC.as_slice(), content].concat();
        [body.as_slice(), &blake3::hash(&body).as_bytes()[..CHECKSUM_BYTES]].concat()
    }

    #[test]
    fn a_value_of_the_first_version_is_foreign() {
        let old = [b"FLEMB1".as_slice(), &[0; 40]].concat();
        assert_eq!(StoredEmbeddings::from_bytes(&old, "f"), Err(ValueError::Foreign));
    }

    #[test]
    fn descriptions_that_are_never_written_are_refused() {
        let name = |text: &str| [number(text.len()).as_slice(), text.as_bytes()].concat();
        let empty = |text: &str| [name(text).as_slice(), &[0], &number(1), &number(0)].concat();
        let whole = [number(2).as_slice(), &empty("a"), &empty("b")].concat();
        assert!(StoredEmbeddings::from_bytes(&signed(&whole), "f").is_ok());
        for (why, content) in [
            ("not in order", [number(2).as_slice(), &empty("b"), &empty("a")].concat()),
            ("twice", [number(2).as_slice(), &empty("a"), &empty("a")].concat()),
            ("unknown element", [number(1).as_slice(), &name("a"), &[9], &number(0)].concat()),
            ("too many axes", [number(1).as_slice(), &name("a"), &[0], &number(9), &[0; 36]].concat()),
            ("no room for its bytes", [number(1).as_slice(), &name("a"), &[0], &number(2), &[255; 8]].concat()),
            ("more than it describes", [whole.as_slice(), &[0]].concat()),
        ] {
            assert_eq!(StoredEmbeddings::from_bytes(&signed(&content), "f"), Err(ValueError::Length), "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_bit_for_bit(embeddings in any_embeddings()) {
            let bytes = embeddings.to_bytes();
            let read = StoredEmbeddings::from_bytes(&bytes, "f").expect("our own bytes");
            prop_assert_eq!(&read, &embeddings);
            prop_assert_eq!(read.to_bytes(), bytes);
        }

        #[test]
        fn a_damaged_value_is_never_accepted(embeddings in any_embeddings(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut bytes = embeddings.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(StoredEmbeddings::from_bytes(&bytes, "f").is_err());
        }

        #[test]
        fn a_truncated_value_is_never_accepted(embeddings in any_embeddings(), at in any::<prop::sample::Index>()) {
            let bytes = embeddings.to_bytes();
            prop_assert!(StoredEmbeddings::from_bytes(&bytes[..at.index(bytes.len())], "f").is_err());
        }

        #[test]
        fn foreign_bytes_do_not_panic(content in proptest::collection::vec(any::<u8>(), 0..200), ours in any::<bool>()) {
            let bytes = if ours { signed(&content) } else { content };
            if let Ok(read) = StoredEmbeddings::from_bytes(&bytes, "f") {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }
}
