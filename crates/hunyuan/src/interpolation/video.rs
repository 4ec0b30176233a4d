//! A whole video: which frames are kept, repeated or computed.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::cuts;
use super::ifnet::{Config, Featured, IfNet};
use crate::runtime::{
    control::Control,
    device,
    error::{Error, InOp, Result},
    finite,
    frames::Frames,
    weights::{self, Weights},
};

/// Frames are enlarged to a multiple of this by repeating their border. The network would accept 64; 128 is what Practical-RIFE
/// pads to, and small frames come out better with it (64x64: 52 dB instead of 40).
const PADDED_TO: i64 = 128;

/// Memory of the network beside its weights, bytes for each padded pixel: about 250 fp32 values at the finest scale.
const BYTES_PER_PIXEL: u64 = 1024;

/// Reports after each new frame: frames made so far, and frames to be made.
pub type OnFrame<'f> = &'f mut dyn FnMut(usize, usize);

/// The network and its weights, ready on a device.
#[derive(Debug)]
pub struct Interpolator {
    network: IfNet,
    device: Device,
    fingerprint: String,
}

/// An interpolated video.
#[derive(Debug)]
pub struct Interpolated {
    /// `[(n - 1) factor + 1, height, width, 3]`, 8 bits a channel.
    pub rgb: Vec<u8>,
    /// Pairs whose frames belong to different scenes; the first one was repeated.
    pub cuts: u32,
}

/// Frames that `factor` makes of `frames`.
fn interpolated_frames(frames: usize, factor: u32) -> usize {
    frames.saturating_sub(1) * factor as usize + frames.min(1)
}

impl Interpolator {
    /// Loads the weights of a folder, in fp32.
    ///
    /// # Errors
    /// A folder that cannot be read or holds another network, memory.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let files = Weights::open(folder)?;
        let config = Config::of(&files);
        let network = weights::load(&files, device, Kind::Float, |loader| IfNet::load(loader, &config))?;
        Ok(Self { network, device, fingerprint: files.fingerprint()? })
    }

    /// blake3 over the weights, hex.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Puts `factor - 1` frames between each pair; the given frames keep their bytes.
    ///
    /// # Errors
    /// [`Error::Input`] for a factor below 2, [`Error::Cancelled`] between blocks of the network, [`Error::OutOfMemory`],
    /// [`Error::NotFinite`], libtorch.
    pub fn interpolate(
        &self,
        frames: &Frames,
        factor: u32,
        control: &Control,
        on_frame: OnFrame,
    ) -> Result<Interpolated> {
        let _no_grad = tch::no_grad_guard();
        if factor < 2 {
            return Err(Error::input("interpolate", format!("must be at least 2, not {factor}")));
        }
        self.video(frames, factor, control, on_frame).in_op("interpolate")
    }

    fn video(&self, frames: &Frames, factor: u32, control: &Control, on_frame: OnFrame) -> Result<Interpolated> {
        let [count, height, width, _] = frames.size();
        let total = interpolated_frames(frames.len(), factor);
        let new = total - frames.len();
        let [padded_height, padded_width] = [height, width].map(padded);
        let frame_bytes = (height * width * 3) as u64;
        let needed = (padded_height * padded_width) as u64 * BYTES_PER_PIXEL + frame_bytes * total as u64;
        device::reserve(self.device, "interpolate", needed)?;

        let kept = frames.rgb8()?;
        let frame_bytes = kept.len() / frames.len().max(1);
        let bytes_of = |index: usize| &kept[index * frame_bytes..(index + 1) * frame_bytes];
        let mut rgb = Vec::with_capacity(frame_bytes * total);
        let (mut cuts, mut done) = (0, 0);
        let mut before: Option<Featured> = None;
        for index in 0..frames.len() {
            rgb.extend_from_slice(bytes_of(index));
            let next = index + 1;
            if next as i64 == count {
                break;
            }
            let same = bytes_of(index) == bytes_of(next);
            let cut = !same && cuts::is_cut(&picture(frames, index)?, &picture(frames, next)?)?;
            cuts += u32::from(cut);
            if same || cut {
                // Between equal frames the network would add its own error.
                control.check_at(self.device)?;
                (1..factor).for_each(|_| rgb.extend_from_slice(bytes_of(index)));
                (before, done) = (None, done + factor as usize - 1);
                on_frame(done, new);
                continue;
            }
            let first = before.take().map_or_else(|| self.featured(frames, index), Ok)?;
            let second = self.featured(frames, next)?;
            for part in 1..factor {
                let time = f64::from(part) / f64::from(factor);
                let between = self.network.between(&first, &second, time, control)?;
                rgb.extend(bytes(&between.frame, [height, width])?);
                done += 1;
                on_frame(done, new);
            }
            before = Some(second);
        }
        Ok(Interpolated { rgb, cuts })
    }

    fn featured(&self, frames: &Frames, index: usize) -> Result<Featured> {
        let picture = picture(frames, index)?.f_to_device(self.device)?;
        let (_, _, height, width) = picture.size4()?;
        let rim = [0, padded(width) - width, 0, padded(height) - height];
        // libtorch repeats the border by any width, also more than the picture's.
        self.network.featured(picture.f_replication_pad2d(rim)?)
    }
}

fn padded(side: i64) -> i64 {
    (side + PADDED_TO - 1) / PADDED_TO * PADDED_TO
}

/// One frame as `[1, 3, h, w]`.
fn picture(frames: &Frames, index: usize) -> Result<Tensor> {
    let frame = frames.tensor().f_narrow(0, index as i64, 1)?; // [1, h, w, 3]
    Ok(frame.f_permute([0, 3, 1, 2])?.f_contiguous()?)
}

/// A padded frame of the network as bytes of its true size.
fn bytes(frame: &Tensor, [height, width]: [i64; 2]) -> Result<Vec<u8>> {
    let frame = frame.f_narrow(2, 0, height)?.f_narrow(3, 0, width)?;
    finite::check(&frame, "interpolation", None)?;
    let rgb = frame.f_clamp(0.0, 1.0)?.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    Frames { rgb }.rgb8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frame_has_no_frames_after_it() {
        assert_eq!(interpolated_frames(65, 2), 129);
        assert_eq!(interpolated_frames(33, 4), 129);
        assert_eq!(interpolated_frames(17, 8), 129);
        assert_eq!(interpolated_frames(1, 4), 1);
        assert_eq!(interpolated_frames(0, 4), 0);
    }

    #[test]
    fn sides_grow_to_the_next_multiple() {
        assert_eq!([1, 64, 128, 129, 544, 960].map(padded), [128, 128, 128, 256, 640, 1024]);
    }
}
