//! Latents to frames.

use tch::{Device, Kind, Tensor};

use crate::networks::Batch;
use crate::runtime::{
    error::{Error, InOp, Result},
    frames::Frames,
    team::{Leader, Order, Split},
};

/// Decodes a batch with a family's decoder, which gets latents of this format and returns `[batch, frames, height, width, 3]` in
/// 0..1; frames in the order of the videos. The leader's team decodes its share of the tiles.
pub(crate) fn decode(
    batch: &Batch,
    (kind, device): (Kind, Device),
    leader: Option<&Leader>,
    decoder: &mut dyn FnMut(&Tensor, &Split) -> Result<Tensor>,
) -> Result<Vec<Frames>> {
    if device == Device::Cpu && batch.videos.len() > 1 {
        // A convolution over several videos differs from that over one in its last bits.
        let mut one = |video| decode(&Batch { videos: &[video], ..*batch }, (kind, device), leader, decoder);
        let frames: Vec<Vec<Frames>> = batch.videos.iter().map(|&video| one(video)).collect::<Result<_>>()?;
        return Ok(frames.into_iter().flatten().collect());
    }
    let sizes: Vec<Vec<i64>> = batch.videos.iter().map(|video| video.tensor.size()).collect();
    if sizes.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(Error::input("latents", "videos that are decoded together must have one size"));
    }
    let tensors: Vec<&Tensor> = batch.videos.iter().map(|video| &video.tensor).collect();
    let latents = Tensor::f_cat(&tensors, 0)?.f_to_device(device)?.f_to_kind(kind).in_op("decode")?;
    let alone = Split { sizes: batch.tiles, spatial: batch.spatial, team: None };
    let pixels = match leader {
        None => decoder(&latents, &alone)?,
        Some(leader) => {
            let shape = latents.size5()?.into();
            let order = Order::Decode { latents: shape, tiles: *batch.tiles, spatial: batch.spatial };
            leader.share(&order, &[&latents], |team| decoder(&latents, &Split { team: Some(team), ..alone }))?
        }
    };
    (0..batch.videos.len()).map(|index| Ok(Frames { rgb: pixels.f_select(0, index as i64)?.f_contiguous()? })).collect()
}
