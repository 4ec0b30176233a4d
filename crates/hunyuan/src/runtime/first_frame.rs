//! The picture that a video begins from, as a model reads it.

use tch::Tensor;

use crate::runtime::error::{Error, Result};

/// A picture after the model's encoders. It belongs to one size of video, to which the picture was cropped.
#[derive(Debug)]
pub struct FirstFrame {
    /// States of the image encoder, `[1, tokens, width]`.
    pub states: Tensor,
    /// Latents, `[1, channels, 1, height, width]`, scaled as those of the video.
    pub latents: Tensor,
    /// SHA-256 of the picture before it was cropped, hex.
    pub sha256: String,
}

impl FirstFrame {
    /// Number of tokens that it adds to the text.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.states.size().get(1).copied().unwrap_or_default()
    }

    /// Refuses a picture that was cropped to the size of another video; `wanted` is the shape of a frame's latents.
    pub(crate) fn check(&self, wanted: [i64; 5]) -> Result<()> {
        if self.latents.size() != wanted {
            let reason =
                format!("it was encoded for another size: latents {:?} instead of {wanted:?}", self.latents.size());
            return Err(Error::input("image", reason));
        }
        let states = self.states.size();
        if states.len() != 3 || states[0] != 1 || states.contains(&0) {
            return Err(Error::input(
                "image",
                format!("its states have the shape {states:?}; give [1, tokens, width]"),
            ));
        }
        Ok(())
    }
}
