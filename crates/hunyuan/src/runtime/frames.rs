//! The frames of a decoded video.
//!
//! The rule: frames are kept once, as fp32 where they were decoded. Bytes are made there too, so that a quarter of the data
//! crosses from the GPU to the host.

use tch::{Device, Kind, Tensor};

use crate::runtime::error::Result;

/// The frames of a video.
#[derive(Debug)]
pub struct Frames {
    /// `[frames, height, width, 3]` fp32 in 0..1, on the device of the decoder.
    pub(crate) rgb: Tensor,
}

impl Frames {
    /// `[frames, height, width, 3]`.
    #[must_use]
    pub fn size(&self) -> [i64; 4] {
        let size = self.rgb.size();
        [size[0], size[1], size[2], size[3]]
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.rgb.size()[0]).unwrap_or(0)
    }

    /// Whether there are no frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All frames, `[frames, height, width, 3]` fp32 in 0..1, on the device of the decoder.
    pub fn tensor(&self) -> &Tensor {
        &self.rgb
    }

    /// All frames, one after the other, as rows of RGB bytes, rounded.
    ///
    /// # Errors
    /// No memory for them.
    pub fn rgb8(&self) -> Result<Vec<u8>> {
        let bytes = self.rgb.f_mul_scalar(255.0)?.f_round_()?.f_to_kind(Kind::Uint8)?.f_to_device(Device::Cpu)?;
        let mut out = vec![0; bytes.numel()];
        bytes.f_contiguous()?.f_copy_data_u8(&mut out, bytes.numel())?;
        Ok(out)
    }
}
