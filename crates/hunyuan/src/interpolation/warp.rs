//! Moves the pixels of a picture along a flow.
//!
//! Upstream: `warp` in the files that [`super::head`] names.

use tch::{Device, Kind, Tensor};

use crate::runtime::error::Result;

/// Codes of libtorch's `grid_sampler` for bilinear values and for the nearest value outside the picture.
const BILINEAR: i64 = 0;
const BORDER: i64 = 1;

/// The places of the pixels of one size, -1 to 1 from the first pixel's centre to the last one's.
#[derive(Debug)]
pub(super) struct Places {
    /// `[1, 2, h, w]`: x, then y.
    base: Tensor,
    /// Pixels from the middle to the last one, `[1, 2, 1, 1]`.
    half: Tensor,
}

impl Places {
    pub(super) fn new(height: i64, width: i64, device: Device) -> Result<Self> {
        let options = (Kind::Float, device);
        let line = |size| Tensor::f_linspace(-1.0, 1.0, size, options);
        let x = line(width)?.f_view([1, 1, 1, width])?.f_expand([1, 1, height, width], false)?;
        let y = line(height)?.f_view([1, 1, height, 1])?.f_expand([1, 1, height, width], false)?;
        let half = [(width - 1) as f32 / 2.0, (height - 1) as f32 / 2.0];
        let half = Tensor::f_from_slice(&half)?.f_view([1, 2, 1, 1])?.f_to_device(device)?;
        Ok(Self { base: Tensor::f_cat(&[x, y], 1)?, half })
    }

    /// The picture `[1, channels, h, w]` as it looks where the flow `[1, 2, h, w]`, in pixels, points to.
    pub(super) fn warp(&self, picture: &Tensor, flow: &Tensor) -> Result<Tensor> {
        let grid = self.base.f_add(&flow.f_div(&self.half)?)?.f_permute([0, 2, 3, 1])?; // [1, h, w, 2]
        Ok(picture.f_grid_sampler(&grid, BILINEAR, BORDER, true)?)
    }
}
