//! Decoding, and the encoding of a picture, in overlapping tiles that are joined by linear blending.
//!
//! The rule: the same tiles, overlaps and blending order as the reference, so that tiled videos are equal too. Pieces of frames
//! overlap by blending in time; within a piece, tiles are decoded row by row and only the row above is kept.
//!
//! Upstream: `AutoencoderKLHunyuanVideo.tiled_decode` and `_temporal_tiled_decode` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuan_video.py>.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::runtime::error::{Error, Result};

/// Called after each tile with the number of tiles done and in all.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// Size of a tile and distance between tiles, in pixels and frames of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TileSizes {
    /// Rows of a tile.
    pub height: i64,
    /// Columns of a tile.
    pub width: i64,
    /// Frames of a piece.
    pub frames: i64,
    /// Rows from one tile to the next.
    pub stride_height: i64,
    /// Columns from one tile to the next.
    pub stride_width: i64,
    /// Frames from one piece to the next.
    pub stride_frames: i64,
}

impl Default for TileSizes {
    fn default() -> Self {
        Self { height: 256, width: 256, frames: 16, stride_height: 192, stride_width: 192, stride_frames: 12 }
    }
}

/// One axis: what of the input a tile and a stride take, and what of the output an overlap has.
#[derive(Debug, Clone, Copy)]
struct Axis {
    tile: i64,
    stride: i64,
    overlap: i64,
    /// Pixels (or frames) of a latent.
    ratio: i64,
    /// Whether the input is pixels and the output latents.
    encodes: bool,
}

impl Axis {
    fn new(field: &'static str, tile: i64, stride: i64, ratio: i64) -> Result<Self> {
        if stride < ratio || tile < stride || tile % ratio != 0 || stride % ratio != 0 {
            let reason = format!(
                "tiles of {tile} every {stride} do not fit; both must be multiples of {ratio}, the stride not above the tile"
            );
            return Err(Error::input(field, reason));
        }
        Ok(Self { tile: tile / ratio, stride: stride / ratio, overlap: tile - stride, ratio, encodes: false })
    }

    /// The same tiles for the other direction: from pixels to latents.
    fn of_encoder(self) -> Self {
        let Self { tile, stride, overlap, ratio, .. } = self;
        Self { tile: tile * ratio, stride: stride * ratio, overlap: overlap / ratio, ratio, encodes: true }
    }

    /// What a length of the input is in the output.
    fn output(self, input: i64) -> i64 {
        if self.encodes { input / self.ratio } else { input * self.ratio }
    }

    /// Starts of the tiles that cover `size` of the input.
    fn starts(self, size: i64) -> impl Iterator<Item = i64> {
        (0..size).step_by(self.stride as usize)
    }
}

/// How one video is split.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    frames: Axis,
    height: Axis,
    width: Axis,
    spatial: bool,
}

/// Decodes one tile of latents `[batch, channels, frames, height, width]` to `[batch, frames, height, width, 3]`; or encodes one of pixels, in
/// the same layouts.
pub(crate) type DecodeTile<'a> = &'a mut dyn FnMut(&Tensor) -> Result<Tensor>;

impl Plan {
    /// `pixels` and `temporal` are the VAE's compression of each side and of the frames.
    pub(crate) fn new([pixels, temporal]: [i64; 2], tiles: &TileSizes, spatial: bool) -> Result<Self> {
        Ok(Self {
            frames: Axis::new("tile_frames", tiles.frames, tiles.stride_frames, temporal)?,
            height: Axis::new("tile_height", tiles.height, tiles.stride_height, pixels)?,
            width: Axis::new("tile_width", tiles.width, tiles.stride_width, pixels)?,
            spatial,
        })
    }

    /// Of a picture of one frame, from pixels to latents.
    pub(crate) fn of_encoder(pixels: i64, tiles: &TileSizes, spatial: bool) -> Result<Self> {
        let plan = Self::new([pixels, 1], tiles, spatial)?.whole_in_time();
        Ok(Self { height: plan.height.of_encoder(), width: plan.width.of_encoder(), ..plan })
    }

    /// The same without pieces in time: all frames go through the decoder at once.
    pub(crate) fn whole_in_time(mut self) -> Self {
        self.frames.tile = i64::MAX;
        self
    }

    /// Number of tiles of these latents.
    pub(crate) fn count(&self, latents: &Tensor) -> usize {
        let size = latents.size();
        self.pieces(size[2]).len() * self.tiles(size[3], size[4])
    }

    /// All tiles of `latents`, in the order in which [`Plan::run`] decodes them.
    pub(crate) fn views(&self, latents: &Tensor) -> Result<Vec<Tensor>> {
        let (frames, height, width) = (latents.size()[2], latents.size()[3], latents.size()[4]);
        let mut views = Vec::with_capacity(self.count(latents));
        for start in self.pieces(frames) {
            let length = if frames <= self.frames.tile { frames } else { self.frames.tile + 1 };
            let piece = latents.f_narrow(2, start, length.min(frames - start))?;
            if !self.is_tiled(height, width) {
                views.push(piece);
                continue;
            }
            for top in self.height.starts(height) {
                let strip = piece.f_narrow(3, top, self.height.tile.min(height - top))?;
                for left in self.width.starts(width) {
                    views.push(strip.f_narrow(4, left, self.width.tile.min(width - left))?);
                }
            }
        }
        Ok(views)
    }

    /// Decodes all tiles of `latents` and joins them.
    pub(crate) fn run(&self, latents: &Tensor, decode: DecodeTile, progress: Progress) -> Result<Tensor> {
        let size = latents.size();
        let mut count = Counter { done: 0, total: self.count(latents), progress };
        if size[2] <= self.frames.tile {
            return self.piece(latents, decode, &mut count);
        }
        let out_frames = (size[2] - 1) * self.frames.ratio + 1;
        let mut joined: Option<Tensor> = None;
        let mut previous: Option<Tensor> = None;
        let mut offset = 0;
        for start in self.pieces(size[2]) {
            let piece = latents.f_narrow(2, start, (self.frames.tile + 1).min(size[2] - start))?;
            let mut decoded = self.piece(&piece, decode, &mut count)?;
            let mut keep = self.frames.stride * self.frames.ratio + 1;
            if let Some(previous) = &previous {
                // A piece begins with a frame of its own; it is only context for the frames after it.
                decoded = decoded.f_narrow(1, 1, decoded.size()[1] - 1)?;
                keep -= 1;
                blend(previous, &decoded, 1, self.frames.overlap)?;
            }
            let keep = keep.min(decoded.size()[1]).min(out_frames - offset);
            let all = match &joined {
                Some(all) => all.shallow_clone(),
                None => {
                    let mut shape = decoded.size();
                    shape[1] = out_frames;
                    joined.insert(Tensor::f_empty(shape, (decoded.kind(), decoded.device()))?).shallow_clone()
                }
            };
            all.f_narrow(1, offset, keep)?.f_copy_(&decoded.f_narrow(1, 0, keep)?)?;
            offset += keep;
            previous = Some(decoded);
        }
        joined.ok_or_else(|| Error::input("latents", "no frames"))
    }

    /// Starts of the pieces of frames. A last piece of a single latent frame would be context alone and is left out.
    fn pieces(&self, frames: i64) -> Vec<i64> {
        if frames <= self.frames.tile {
            return vec![0];
        }
        self.frames.starts(frames).filter(|&start| start == 0 || frames - start > 1).collect()
    }

    fn is_tiled(&self, height: i64, width: i64) -> bool {
        self.spatial && (height > self.height.tile || width > self.width.tile)
    }

    /// Number of tiles of one piece.
    fn tiles(&self, height: i64, width: i64) -> usize {
        if !self.is_tiled(height, width) {
            return 1;
        }
        self.height.starts(height).count() * self.width.starts(width).count()
    }

    /// Decodes all frames of `latents` at once, in tiles if they are large.
    fn piece(&self, latents: &Tensor, decode: DecodeTile, count: &mut Counter) -> Result<Tensor> {
        let (height, width) = (latents.size()[3], latents.size()[4]);
        if !self.is_tiled(height, width) {
            let decoded = decode(latents)?;
            count.step();
            return Ok(decoded);
        }
        let mut joined: Option<Tensor> = None;
        let mut above: Vec<Tensor> = Vec::new();
        for top in self.height.starts(height) {
            let mut row: Vec<Tensor> = Vec::new();
            for left in self.width.starts(width) {
                let strip = latents.f_narrow(3, top, self.height.tile.min(height - top))?;
                let tile = decode(&strip.f_narrow(4, left, self.width.tile.min(width - left))?)?;
                count.step();
                if let Some(above) = above.get(row.len()) {
                    blend(above, &tile, 2, self.height.overlap)?;
                }
                if let Some(left) = row.last() {
                    blend(left, &tile, 3, self.width.overlap)?;
                }
                let all = match &joined {
                    Some(all) => all.shallow_clone(),
                    None => {
                        let mut shape = tile.size();
                        (shape[2], shape[3]) = (self.height.output(height), self.width.output(width));
                        joined.insert(Tensor::f_empty(shape, (tile.kind(), tile.device()))?).shallow_clone()
                    }
                };
                place(
                    &all,
                    &tile,
                    [self.height.output(top), self.width.output(left)],
                    [self.height.output(self.height.stride), self.width.output(self.width.stride)],
                )?;
                row.push(tile);
            }
            above = row;
        }
        joined.ok_or_else(|| Error::input("latents", "no pixels"))
    }
}

/// Copies the part of a tile that the next tiles do not replace.
fn place(all: &Tensor, tile: &Tensor, at: [i64; 2], stride: [i64; 2]) -> Result<()> {
    let size = tile.size();
    let keep = [stride[0].min(size[2]), stride[1].min(size[3])];
    let mut target = all.f_narrow(2, at[0], keep[0])?.f_narrow(3, at[1], keep[1])?;
    Ok(target.f_copy_(&tile.f_narrow(2, 0, keep[0])?.f_narrow(3, 0, keep[1])?)?)
}

/// Fades the end of `before` into the start of `after` along `axis`, in place in `after`.
fn blend(before: &Tensor, after: &Tensor, axis: i64, overlap: i64) -> Result<()> {
    let sizes = [before.size()[axis as usize], after.size()[axis as usize]];
    let overlap = overlap.min(sizes[0]).min(sizes[1]);
    if overlap <= 0 {
        return Ok(());
    }
    let ramp: Vec<f64> = (0..overlap).map(|step| step as f64 / overlap as f64).collect();
    let weights = |share: &dyn Fn(f64) -> f64| -> Result<Tensor> {
        let values: Vec<f32> = ramp.iter().map(|&part| share(part) as f32).collect();
        let mut shape = [1; 5];
        shape[axis as usize] = overlap;
        Ok(Tensor::f_from_slice(&values)?.f_view(shape)?.f_to_device(after.device())?)
    };
    let tail = before.f_narrow(axis, sizes[0] - overlap, overlap)?;
    let mut head = after.f_narrow(axis, 0, overlap)?;
    let mixed = tail.f_to_kind(Kind::Float)?.f_mul(&weights(&|part| 1.0 - part)?)?;
    let mixed = mixed.f_add(&head.f_to_kind(Kind::Float)?.f_mul(&weights(&|part| part)?)?)?;
    Ok(head.f_copy_(&mixed)?)
}

/// Tells the caller after each tile.
struct Counter<'a> {
    done: usize,
    total: usize,
    progress: Progress<'a>,
}

impl Counter<'_> {
    fn step(&mut self) {
        self.done += 1;
        (self.progress)(self.done, self.total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(spatial: bool) -> Plan {
        Plan::new([8, 4], &TileSizes::default(), spatial).unwrap()
    }

    #[test]
    fn pieces_of_frames_begin_every_three_latents_and_never_hold_context_alone() {
        assert_eq!(plan(false).pieces(4), [0]);
        assert_eq!(plan(false).pieces(5), [0, 3]);
        // A third piece would start at latent 6, the last: its one frame is already made by the second.
        assert_eq!(plan(false).pieces(7), [0, 3]);
        assert_eq!(plan(false).pieces(8), [0, 3, 6]);
        assert_eq!(plan(false).pieces(33).len(), 11);
    }

    #[test]
    fn tiles_of_a_540p_video() {
        assert_eq!(plan(true).tiles(68, 120), 3 * 5);
        assert_eq!(plan(true).tiles(32, 32), 1);
        assert_eq!(plan(false).tiles(68, 120), 1);
    }

    #[test]
    fn an_overlap_fades_linearly_from_one_to_the_other() {
        let options = (Kind::Float, tch::Device::Cpu);
        let before = Tensor::full([1, 6, 1, 1, 1], 8.0, options);
        let after = Tensor::zeros([1, 5, 1, 1, 1], options);
        blend(&before, &after, 1, 4).unwrap();
        assert_eq!(Vec::<f32>::try_from(&after.reshape(-1)).unwrap(), [8.0, 6.0, 4.0, 2.0, 0.0]);
        let short = Tensor::zeros([1, 2, 1, 1, 1], options);
        blend(&before, &short, 1, 4).unwrap();
        assert_eq!(
            Vec::<f32>::try_from(&short.reshape(-1)).unwrap(),
            [8.0, 4.0],
            "an overlap is never longer than a tile"
        );
    }

    #[test]
    fn tiles_that_do_not_divide_are_refused_by_name() {
        for (tiles, name) in [
            (TileSizes { stride_width: 100, ..TileSizes::default() }, "tile_width"),
            (TileSizes { height: 128, ..TileSizes::default() }, "tile_height"),
            (TileSizes { stride_frames: 0, ..TileSizes::default() }, "tile_frames"),
        ] {
            let error = Plan::new([8, 4], &tiles, true).unwrap_err();
            assert!(matches!(error, Error::Input { field, .. } if field == name), "{error}");
        }
    }
}
