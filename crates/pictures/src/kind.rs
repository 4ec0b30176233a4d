//! What a file is, by its first bytes. Names and media types that a client sends are ignored.

use crate::limits::Refused;

/// A kind that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Png,
    Jpeg,
    WebP,
}

/// Kinds that people send and that are not read: first bytes at an offset, and the name.
const OTHERS: [(usize, &[u8], &str); 8] = [
    (0, b"GIF8", "a GIF"),
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "a video"),
    (0, b"BM", "a BMP picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
];

/// The kind of a file.
///
/// # Errors
/// It is empty, or of another kind.
pub(crate) fn kind(bytes: &[u8]) -> Result<Kind, Refused> {
    match bytes {
        [] => return Err(Refused::unusable("is empty; send a PNG, JPEG or WebP picture")),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => return Ok(Kind::Png),
        [0xFF, 0xD8, 0xFF, ..] => return Ok(Kind::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => return Ok(Kind::WebP),
        _ => {}
    }
    let is = |(at, start, _): &&(usize, &[u8], &str)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(start));
    let name = OTHERS.iter().find(is).map_or("something else", |(_, _, name)| name);
    Err(Refused::unusable(format!("must be a PNG, JPEG or WebP picture; this is {name}")))
}
