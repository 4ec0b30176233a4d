//! Pictures that users send: anything from anybody comes in, one harmless form goes out.
//!
//! [`normalise`] decodes a PNG, JPEG or WebP within limits, turns it upright, drops everything but its pixels and writes it as
//! an opaque PNG, beside a small JPEG for lists. [`decode`] reads that PNG again. Only this crate uses the `image` library. It
//! knows no job, no store and no model; its functions block, so async code runs them on a blocking thread.

mod jpeg;
mod kind;
mod limits;
mod read;
mod write;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

pub use limits::{Limits, Refused, THUMBNAIL_SIDE};
pub use read::{Pixels, decode};

/// A picture in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The file: PNG, 8 bits a channel, no alpha, no metadata.
    pub png: Vec<u8>,
    /// A JPEG whose longer side has at most [`THUMBNAIL_SIDE`] pixels.
    pub thumbnail: Vec<u8>,
    /// SHA-256 of `png`, hex.
    pub sha256: String,
}

/// Reads a picture and gives it the form in which it is stored. Equal bytes give equal results.
///
/// # Errors
/// [`Refused`], with what to do about it.
pub fn normalise(bytes: &[u8], limits: &Limits) -> Result<Picture, Refused> {
    let upright = read::read(bytes, limits)?;
    let png = write::png(&upright)?;
    let sha256 = sha256(&png);
    let (width, height) = upright.dimensions();
    Ok(Picture { width, height, thumbnail: write::thumbnail(upright)?, png, sha256 })
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
