//! The frames of a decoded video.
//!
//! The rule: frames are kept once, as fp32 where they were decoded. Bytes are made there too, a few frames at a time, so that a
//! quarter of the data crosses from a GPU to the host, through page-locked memory.

use tch::{Device, Kind, Tensor};
use torch_ext::host::Buffer;

use crate::runtime::error::{Error, Result};

/// Bytes that cross at a time. More needs more page-locked memory, less more copies.
const CROSSING_BYTES: usize = 32 << 20;

/// The frames of a video.
#[derive(Debug)]
pub struct Frames {
    /// `[frames, height, width, 3]` fp32 in 0..1, on the device of the decoder.
    pub(crate) rgb: Tensor,
}

impl Frames {
    /// Frames that were not decoded here, `[frames, height, width, 3]` fp32 in 0..1.
    ///
    /// # Errors
    /// [`Error::Input`] for another shape or number format.
    pub fn new(rgb: Tensor) -> Result<Self> {
        match rgb.size().as_slice() {
            [_, _, _, 3] if rgb.kind() == Kind::Float => Ok(Self { rgb }),
            size => Err(Error::input("frames", format!("must be [frames, height, width, 3] in fp32, not {size:?}"))),
        }
    }

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
        let frame = self.rgb.numel() / self.len().max(1);
        let at_once = (CROSSING_BYTES / frame.max(1)).clamp(1, self.len().max(1));
        // Without page-locked memory a copy is slower, and nothing else.
        let crossing = match self.rgb.device() {
            Device::Cuda(_) => Buffer::pinned(at_once * frame).ok(),
            _ => None,
        };
        self.rgb8_through(crossing.as_ref(), at_once)
    }

    /// The same, `at_once` frames at a time, which `crossing` has room for.
    fn rgb8_through(&self, crossing: Option<&Buffer>, at_once: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; self.rgb.numel()];
        let frame = out.len() / self.len().max(1);
        for (index, room) in out.chunks_mut((at_once * frame).max(1)).enumerate() {
            let (first, count) = ((index * at_once) as i64, (room.len() / frame) as i64);
            let part = self.rgb.f_narrow(0, first, count)?;
            let bytes = part.f_mul_scalar(255.0)?.f_round_()?.f_to_kind(Kind::Uint8)?.f_contiguous()?.f_view([-1])?;
            if let Some(buffer) = crossing {
                buffer.tensor(&[bytes.numel() as i64], Kind::Uint8)?.f_copy_(&bytes)?;
                room.copy_from_slice(&buffer.bytes()[..room.len()]);
            } else {
                bytes.f_to_device(Device::Cpu)?.f_copy_data_u8(room, bytes.numel())?;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_whichever_way_and_however_many_frames_cross() {
        tch::manual_seed(2);
        let frames = Frames { rgb: Tensor::rand([7, 6, 4, 3], (Kind::Float, Device::Cpu)) };
        let wanted = frames.rgb8().unwrap();
        let whole: Vec<u8> = Vec::<f32>::try_from(frames.rgb.reshape(-1))
            .unwrap()
            .into_iter()
            .map(|value| (value * 255.0).round_ties_even() as u8)
            .collect();
        assert_eq!(wanted, whole);
        let buffer = Buffer::pageable(7 * 6 * 4 * 3).unwrap();
        for at_once in [1, 2, 3, 7] {
            assert_eq!(frames.rgb8_through(Some(&buffer), at_once).unwrap(), wanted, "{at_once} at once");
            assert_eq!(frames.rgb8_through(None, at_once).unwrap(), wanted, "{at_once} at once");
        }
        assert!(Frames { rgb: frames.rgb.narrow(0, 0, 0) }.rgb8().unwrap().is_empty());
    }
}
