//! What a picture may cost, and how one that is not taken is refused.

/// What transparent parts of a picture are laid upon: white, as pages show them.
pub(crate) const BACKGROUND: [u8; 3] = [255, 255, 255];

/// Longest side of a thumbnail, pixels.
pub const THUMBNAIL_SIDE: u32 = 320;

/// What a picture may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels, by the header; a picture with more is not decoded.
    pub pixels_max: u64,
    /// Most memory of the decoder, bytes.
    pub memory_max_bytes: u64,
}

/// Why a picture is not taken. Reads as a sentence about it: "is empty".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It exceeds a limit.
    #[error("{0}")]
    TooLarge(String),
    /// It cannot be read, or is of a kind that is not taken.
    #[error("{0}")]
    Unusable(String),
}

impl Refused {
    pub(crate) fn unusable(reason: impl Into<String>) -> Self {
        Self::Unusable(reason.into())
    }
}
