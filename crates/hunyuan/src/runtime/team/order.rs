//! What process 0 orders the others to compute. An order is one line of JSON; its tensors follow through the team.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::runtime::{
    error::{Error, Result},
    tiling::TileSizes,
};

/// One piece of shared work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A pass through the transformer's blocks.
    Forward {
        /// Size of its input: `[batch, channels, frames, height, width]`.
        latents: [i64; 5],
        /// Tokens of the text.
        text: i64,
        /// Grid of tokens over which positions are spread: larger than the video's own for steps at a lower resolution.
        spread: [i64; 3],
        /// See [`crate::DenoiseRequest::riflex`].
        stretch: bool,
    },
    /// Decoding a video in tiles.
    Decode {
        /// Size of its latents.
        latents: [i64; 5],
        /// Sizes of the tiles.
        tiles: TileSizes,
        /// Whether there are tiles in height and width.
        spatial: bool,
    },
    /// Making exactly these adapters active: files, and how strongly they act.
    Adapters {
        /// In the leader's order.
        uses: Vec<(PathBuf, f64)>,
    },
}

impl Order {
    /// The order in a line.
    ///
    /// # Errors
    /// [`Error::Team`] for a line of another build.
    pub fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line).map_err(|error| Error::team(format!("an order that is not known here: {error}")))
    }

    pub(crate) fn line(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::team(error.to_string()))
    }
}
