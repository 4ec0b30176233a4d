//! Reusing the prediction of a step when the next one would hardly differ.
//!
//! The rule: the denoiser asks a [`StepCache`] before every step and gives it every prediction that it computed; it knows
//! nothing else about the method, so another method is one more file beside `easycache.rs`. A cache's whole state can
//! be saved and restored, so that a resumed run decides as an undisturbed one.

pub mod easycache;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use self::easycache::{EasyCache, EasyCacheConfig};
use crate::runtime::error::{Error, Result};

/// Which method a request uses. Part of what determines a video.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepCacheConfig {
    /// Every step is computed; the video is exactly the uncached one.
    #[default]
    Off,
    /// See [`easycache`].
    EasyCache(EasyCacheConfig),
}

impl StepCacheConfig {
    /// A fresh cache for a run, or none.
    ///
    /// # Errors
    /// Numbers that the method cannot use.
    pub fn start(&self) -> Result<Option<Box<dyn StepCache>>> {
        match self {
            Self::Off => Ok(None),
            Self::EasyCache(config) => Ok(Some(Box::new(EasyCache::new(*config)?))),
        }
    }
}

/// Position of a run in its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Steps done before this one.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
}

/// A method of reusing predictions. Tensors are one sample's fp32 latents and velocities of the same shape.
pub trait StepCache: std::fmt::Debug {
    /// The velocity to use instead of computing one at `input`, or none if the step must be computed.
    ///
    /// # Errors
    /// libtorch.
    fn reuse(&mut self, position: Position, input: &Tensor) -> Result<Option<Tensor>>;

    /// Learns a computed velocity. Called after `reuse` returned none for the same input.
    ///
    /// # Errors
    /// libtorch.
    fn observe(&mut self, input: &Tensor, velocity: &Tensor) -> Result<()>;

    /// Everything that later decisions depend on.
    fn save(&self) -> StepCacheState;

    /// Restores a saved state of the same method.
    ///
    /// # Errors
    /// [`Error::Resume`] when the state is not one of this method.
    fn restore(&mut self, state: &StepCacheState) -> Result<()>;
}

/// A method's saved state: numbers and tensors by name. Tensors share memory with the cache.
#[derive(Debug, Default)]
pub struct StepCacheState {
    /// Numbers, exact to the bit.
    pub numbers: BTreeMap<String, f64>,
    /// fp32 tensors.
    pub tensors: BTreeMap<String, Tensor>,
}

impl StepCacheState {
    /// A number that the method must have saved.
    ///
    /// # Errors
    /// [`Error::Resume`] naming it.
    pub fn number(&self, name: &str) -> Result<f64> {
        self.numbers.get(name).copied().ok_or_else(|| Error::resume(format!("step cache without `{name}`")))
    }

    /// A tensor, if the method had one.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        self.tensors.get(name).map(Tensor::shallow_clone)
    }
}
