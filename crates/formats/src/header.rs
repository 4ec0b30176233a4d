//! The header of a safetensors file: names, types, shapes and places of its tensors.
//!
//! Layout: 8 bytes with the header's length, the header in JSON, then the tensors without gaps. A file that ends before the
//! last tensor was not downloaded to its end; the header alone tells.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Refused;
use crate::kind::FileKind;

/// Bytes before the header.
pub(crate) const LENGTH_BYTES: usize = 8;

/// Longest header, bytes: as in the safetensors library.
const HEADER_MAX: u64 = 100_000_000;

/// One tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Element type, in the format's words: `F32`, `BF16`, `F8_E4M3`, ...
    pub dtype: String,
    /// Sizes of its axes; none for a single number.
    pub shape: Vec<u64>,
    /// Its bytes, counted from the start of the file.
    pub bytes: Range<u64>,
}

impl Stored {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, size| product.saturating_mul(*size))
    }
}

/// A whole header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Stored>,
    /// Free text, as the writer wished.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Bytes of one element of a type; `None` for an unknown type.
pub(crate) fn element_bytes(dtype: &str) -> Option<u64> {
    match dtype {
        "F64" | "I64" | "U64" => Some(8),
        "F32" | "I32" | "U32" => Some(4),
        "F16" | "BF16" | "I16" | "U16" => Some(2),
        "F8_E4M3" | "F8_E5M2" | "I8" | "U8" | "BOOL" => Some(1),
        _ => None,
    }
}

impl Header {
    /// Bytes from the start of a file that hold its whole header.
    ///
    /// # Errors
    /// A file of another kind, or a length that no header has.
    pub fn extent(start: &[u8]) -> Result<u64, Refused> {
        if let Some(refused) = FileKind::of(start).refusal() {
            return Err(refused);
        }
        let mut length = [0; LENGTH_BYTES];
        length.copy_from_slice(&start[..LENGTH_BYTES]);
        match u64::from_le_bytes(length) {
            length if length <= HEADER_MAX => Ok(length + LENGTH_BYTES as u64),
            length => Err(Refused::new(format!("claims a header of {length} bytes, which no safetensors file has"))),
        }
    }

    /// Reads the header from the first [`Header::extent`] bytes (or more) of a file of `file_bytes`.
    ///
    /// # Errors
    /// A file of another kind, a header that cannot be read, or a file that ends too early.
    pub fn parse(start: &[u8], file_bytes: u64) -> Result<Self, Refused> {
        let extent = Self::extent(start)?;
        let json = usize::try_from(extent).ok().and_then(|extent| start.get(LENGTH_BYTES..extent));
        let json = json.ok_or_else(|| Refused::new("ends within its header; download it again"))?;
        let broken =
            |error: serde_json::Error| Refused::new(format!("has a damaged header ({error}); download it again"));
        let raw: BTreeMap<String, Value> = serde_json::from_slice(json).map_err(broken)?;
        let mut header = Self::default();
        let mut end = extent;
        for (name, value) in raw {
            if name == "__metadata__" {
                header.metadata = serde_json::from_value(value).map_err(broken)?;
                continue;
            }
            let entry: Entry = serde_json::from_value(value).map_err(broken)?;
            let stored = entry.place(&name, extent)?;
            end = end.max(stored.bytes.end);
            header.tensors.insert(name, stored);
        }
        if end > file_bytes {
            return Err(Refused::new(format!(
                "has {file_bytes} of its {end} bytes: the download was cut off; download it again"
            )));
        }
        if end < file_bytes {
            return Err(Refused::new(format!(
                "has {} bytes behind its last tensor; download it again",
                file_bytes - end
            )));
        }
        Ok(header)
    }
}

impl Entry {
    fn place(self, name: &str, base: u64) -> Result<Stored, Refused> {
        let damaged = || Refused::new(format!("has a damaged entry for `{name}` in its header; download it again"));
        let [from, to] = self.data_offsets;
        let stored = Stored {
            bytes: base.checked_add(from).ok_or_else(damaged)?..base.checked_add(to).ok_or_else(damaged)?,
            dtype: self.dtype,
            shape: self.shape,
        };
        let wanted = element_bytes(&stored.dtype).map(|size| size.saturating_mul(stored.elements()));
        let length = to.checked_sub(from).ok_or_else(damaged)?;
        if wanted.is_some_and(|wanted| wanted != length) {
            return Err(damaged());
        }
        Ok(stored)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The bytes of a file with these tensors, all zero.
    pub(crate) fn file(tensors: &[(&str, &str, &[u64])], metadata: &[(&str, &str)]) -> Vec<u8> {
        let (mut entries, mut end) = (serde_json::Map::new(), 0);
        if !metadata.is_empty() {
            let text: BTreeMap<_, _> = metadata.iter().copied().collect();
            entries.insert("__metadata__".to_owned(), serde_json::json!(text));
        }
        for (name, dtype, shape) in tensors {
            let next = end + element_bytes(dtype).unwrap() * shape.iter().product::<u64>();
            let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [end, next]});
            entries.insert((*name).to_owned(), entry);
            end = next;
        }
        let json = serde_json::to_vec(&entries).unwrap();
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json);
        bytes.resize(bytes.len() + usize::try_from(end).unwrap(), 0);
        bytes
    }

    #[test]
    fn a_header_is_read_and_every_cut_is_noticed() {
        let bytes = file(&[("a", "F32", &[2, 3]), ("b", "BF16", &[4]), ("c", "F32", &[])], &[("k", "v")]);
        let header = Header::parse(&bytes, bytes.len() as u64).unwrap();
        assert_eq!(header.metadata["k"], "v");
        assert_eq!(header.tensors["a"].shape, [2, 3]);
        assert_eq!(header.tensors["c"].elements(), 1);
        assert_eq!(header.tensors["b"].bytes.end - header.tensors["b"].bytes.start, 8);
        for length in 0..bytes.len() {
            let refused = Header::parse(&bytes[..length], length as u64).unwrap_err().to_string();
            assert!(refused.contains("download it again"), "{length}: {refused}");
        }
        let longer = Header::parse(&bytes, bytes.len() as u64 + 1).unwrap_err().to_string();
        assert!(longer.contains("behind its last tensor"), "{longer}");
    }

    #[test]
    fn sizes_that_contradict_each_other_are_refused() {
        for offsets in ["[0, 8]", "[8, 0]", "[0, 18446744073709551615]"] {
            let json = format!(r#"{{"a": {{"dtype": "F32", "shape": [3], "data_offsets": {offsets}}}}}"#);
            let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
            bytes.extend(json.as_bytes());
            let refused = Header::parse(&bytes, 1 << 20).unwrap_err().to_string();
            assert!(refused.contains("`a`"), "{refused}");
        }
    }
}
