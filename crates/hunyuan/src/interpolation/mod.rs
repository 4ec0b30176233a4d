//! Frame interpolation: frames between the frames that a model made, by RIFE's network IFNet.
//!
//! [`Interpolator`] takes the frames of a video and puts `factor - 1` new ones between each pair. The rules: frames of the model
//! keep their bytes; a scene cut is not blended, the frame before it is repeated instead; the network runs in fp32, because
//! 16 bits are not exact enough for flows of many pixels. Nothing here depends on a model family.
//!
//! [`ifnet`] is the network, of which [`head`] and [`block`] are the two kinds of parts; [`warp`] moves pixels along a flow;
//! [`cuts`] finds scene cuts; [`video`] puts them together.

mod block;
pub mod cuts;
mod head;
pub mod ifnet;
pub mod video;
mod warp;

pub use video::{Interpolated, Interpolator, OnFrame};
