//! The directory of a zip archive whose entries are stored uncompressed, as `torch.save` writes them.
//!
//! Only places are read. Tensors can then be taken straight from the mapped file.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::Refused;

const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
/// The end record without its comment, and the longest comment.
const END_BYTES: usize = 22;
const COMMENT_MAX: usize = 1 << 16;
const LOCATOR_BYTES: usize = 20;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// The extra field with 64-bit numbers, and the 32-bit number that points to it.
const EXTRA_64: u16 = 1;
const SEE_EXTRA: u64 = 0xFFFF_FFFF;
/// Most entries that are read: more than any model has tensors.
const ENTRIES_MAX: u64 = 1_000_000;

/// Where each entry's bytes are.
///
/// # Errors
/// An archive that is damaged, cut off or compressed.
pub(crate) fn entries(file: &[u8]) -> Result<BTreeMap<String, Range<usize>>, Refused> {
    let (mut at, count) = directory(file)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let entry = Reader { file, at }.expect(ENTRY)?;
        let [method, name, extra, comment] = [10, 28, 30, 32].map(|offset| entry.number(offset, 2));
        let [name, extra, comment] = [name?, extra?, comment?];
        let text = entry.bytes(ENTRY_BYTES, name)?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| damaged())?;
        if method? != 0 {
            return Err(Refused::new(format!("has the compressed entry `{text}`, which torch.save does not write")));
        }
        let sizes = [entry.number(20, 4)?, entry.number(24, 4)?, entry.number(42, 4)?];
        let [_, size, header] = wide(sizes, entry.bytes(ENTRY_BYTES + index(name)?, extra)?)?;
        entries.insert(text, content(file, index(header)?, size)?);
        at = at.checked_add(ENTRY_BYTES + index(name + extra + comment)?).ok_or_else(damaged)?;
    }
    Ok(entries)
}

/// Start of the directory and its number of entries.
fn directory(file: &[u8]) -> Result<(usize, u64), Refused> {
    let first = file.len().saturating_sub(END_BYTES + COMMENT_MAX);
    let found = file[first..].windows(END.len()).rposition(|window| window == END);
    let end = first
        + found
            .ok_or_else(|| Refused::new("ends before its directory: the download was cut off; download it again"))?;
    let record = Reader { file, at: end };
    let (mut count, mut start) = (record.number(10, 2)?, record.number(16, 4)?);
    if let Some(locator) = end.checked_sub(LOCATOR_BYTES)
        && file[locator..].starts_with(LOCATOR_64)
    {
        let at = index(Reader { file, at: locator }.number(8, 8)?)?;
        let record = Reader { file, at }.expect(END_64)?;
        (count, start) = (record.number(32, 8)?, record.number(48, 8)?);
    }
    if count > ENTRIES_MAX {
        return Err(damaged());
    }
    Ok((index(start)?, count))
}

/// Replaces the numbers that did not fit 32 bits by those of the extra field.
fn wide(mut numbers: [u64; 3], mut extra: &[u8]) -> Result<[u64; 3], Refused> {
    while extra.len() >= 4 {
        let fields = Reader { file: extra, at: 0 };
        let (kind, length) = (fields.number(0, 2)?, fields.number(2, 2)?);
        let content = fields.bytes(4, length)?;
        if kind == u64::from(EXTRA_64) {
            // In the order uncompressed, compressed, place; only those that are needed.
            let mut offset = 0;
            for slot in [1, 0, 2] {
                if numbers[slot] == SEE_EXTRA {
                    numbers[slot] = Reader { file: content, at: 0 }.number(offset, 8)?;
                    offset += 8;
                }
            }
        }
        extra = &extra[4 + index(length)?..];
    }
    Ok(numbers)
}

/// The bytes of an entry, behind its own header.
fn content(file: &[u8], at: usize, size: u64) -> Result<Range<usize>, Refused> {
    let header = Reader { file, at }.expect(LOCAL)?;
    let before = LOCAL_BYTES + index(header.number(26, 2)? + header.number(28, 2)?)?;
    let start = at.checked_add(before).ok_or_else(damaged)?;
    let end = start.checked_add(index(size)?).filter(|end| *end <= file.len()).ok_or_else(damaged)?;
    Ok(start..end)
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bytes(self, offset: usize, length: u64) -> Result<&'a [u8], Refused> {
        let start = self.at.checked_add(offset).ok_or_else(damaged)?;
        let end = start.checked_add(index(length)?).ok_or_else(damaged)?;
        self.file.get(start..end).ok_or_else(damaged)
    }

    /// A little-endian number of this many bytes.
    fn number(self, offset: usize, length: u64) -> Result<u64, Refused> {
        Ok(self.bytes(offset, length)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn expect(self, magic: &[u8]) -> Result<Self, Refused> {
        if self.bytes(0, magic.len() as u64)? == magic { Ok(self) } else { Err(damaged()) }
    }
}

fn index(number: u64) -> Result<usize, Refused> {
    usize::try_from(number).map_err(|_| damaged())
}

fn damaged() -> Refused {
    Refused::new("is a damaged archive; download it again")
}
