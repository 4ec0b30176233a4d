//! The matrix of a dense layer: in the format that the model computes with, or in 8 bits; and what adapters add beside it.
//!
//! In 8 bits (e4m3fn) each layer of the checkpoint has one scale, and its values are expanded while they are used. That halves the
//! memory of the blocks and costs a pass over each matrix per use. An adapter is not merged into such a matrix, because most of its
//! effect would be rounded away; its factors act on the layer's input instead.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tch::{Kind, Tensor};

use crate::runtime::error::Result;

/// Largest value of e4m3fn.
const FP8_MAX: f64 = 448.0;

/// How the matrices of the transformer's blocks are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// In the format that the model computes with.
    #[default]
    Model,
    /// In FP8 (e4m3fn) with a scale per layer. Other tensors stay as they are.
    Fp8,
}

impl std::str::FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "model" => Ok(Self::Model),
            "fp8" => Ok(Self::Fp8),
            other => Err(format!("`{other}` is not a valid storage; use model or fp8")),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Matrix {
    /// `[out, in]`
    stored: Tensor,
    /// `[out, 1]` fp32, what the stored values are multiplied by; none for values that are used as they are.
    scales: Option<Tensor>,
    beside: Beside,
}

impl Matrix {
    pub(super) fn new(stored: Tensor, scales: Option<Tensor>, beside: Beside) -> Self {
        Self { stored, scales, beside }
    }

    /// Values of dtype `kind` that are used as they are and that no adapter changes.
    pub(crate) fn plain(stored: Tensor, kind: Kind) -> Self {
        Self { stored, scales: None, beside: Beside::new(kind) }
    }

    /// The matrix in the format that the model computes with. The product with a scale is rounded once.
    pub(crate) fn value(&self) -> Result<Tensor> {
        let Some(scales) = &self.scales else { return Ok(self.stored.shallow_clone()) };
        Ok(self.stored.f_to_kind(Kind::Float)?.f_mul_(scales)?.f_to_kind(self.beside.kind)?)
    }

    /// Adds to `output` (`[.., out]`) what adapters make of `input` (`[.., in]`); both have two or three axes.
    pub(crate) fn add_beside(&self, input: &Tensor, output: &Tensor) -> Result<()> {
        for factors in self.beside.locked().values().flatten() {
            factors.add(input, output)?;
        }
        Ok(())
    }
}

/// The values of one layer in FP8, and its scale. Values that e4m3fn holds exactly have the scale 1, so that an FP8 checkpoint without
/// scales stays what it is.
pub(super) fn quantise(values: &Tensor) -> Result<(Tensor, f64)> {
    let values = values.f_to_kind(Kind::Float)?;
    let stored = |scaled: &Tensor| -> Result<Tensor> {
        // Beyond the largest value the conversion gives NaN.
        Ok(scaled.f_clamp(-FP8_MAX, FP8_MAX)?.f_to_kind(Kind::Float8e4m3fn)?)
    };
    let plain = stored(&values)?;
    if plain.f_to_kind(Kind::Float)?.f_equal(&values)? {
        return Ok((plain, 1.0));
    }
    let largest = values.f_abs()?.f_max()?.f_double_value(&[])?;
    let scale = if largest > 0.0 && largest.is_finite() { largest / FP8_MAX } else { 1.0 };
    Ok((stored(&values.f_div_scalar(scale)?)?, scale))
}

/// A pair of factors that acts beside a matrix.
#[derive(Debug)]
pub(crate) struct Factors {
    /// Rows of the matrix that they belong to.
    pub(crate) rows: Range<i64>,
    /// `[rank, in]`
    pub(crate) down: Tensor,
    /// `[rows, rank]`, with every scale multiplied in.
    pub(crate) up: Tensor,
}

impl Factors {
    fn add(&self, input: &Tensor, output: &Tensor) -> Result<()> {
        let (down, up) = (self.down.f_tr()?, self.up.f_tr()?);
        let add = |input: &Tensor, output: &Tensor| -> Result<()> {
            let mut part = output.f_narrow(1, self.rows.start, self.rows.end - self.rows.start)?;
            let _ = part.f_addmm_(&input.f_matmul(&down)?, &up)?;
            Ok(())
        };
        if output.dim() == 2 {
            return add(input, output);
        }
        // A sample is a plain matrix even inside a wider buffer.
        (0..output.size()[0]).try_for_each(|sample| add(&input.f_select(0, sample)?, &output.f_select(0, sample)?))
    }
}

/// What adapters add beside a matrix, by the checkpoint's key of the rows. Shared by the matrix and by the list of places, through
/// which adapters change it.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    /// The format that the model computes with, which factors must have.
    pub(crate) kind: Kind,
    factors: Arc<Mutex<BTreeMap<String, Vec<Factors>>>>,
}

impl Beside {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, factors: Arc::default() }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Factors>>> {
        self.factors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what acts beside the rows of a key.
    pub(crate) fn set(&self, key: &str, factors: Vec<Factors>) {
        if factors.is_empty() {
            self.locked().remove(key);
        } else {
            self.locked().insert(key.to_owned(), factors);
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn matrix(values: &Tensor) -> Matrix {
        let (stored, scale) = quantise(values).unwrap();
        let scales = Tensor::full([values.size()[0], 1], scale, (Kind::Float, Device::Cpu));
        Matrix::new(stored, Some(scales), Beside::new(Kind::Float))
    }

    #[test]
    fn values_of_fp8_come_back_exactly_and_others_within_half_a_step() {
        let exact = Tensor::from_slice(&[448.0_f32, -0.5, 0.001_953_125, 0.0, 17.0 - 1.0, 3.25]).view([2, 3]);
        assert!(matrix(&exact).value().unwrap().equal(&exact));
        let scaled = &exact * 0.000_37;
        // The largest value sets the scale, so the same bytes come back; only the product is rounded.
        let back = matrix(&scaled).value().unwrap();
        assert!(back.allclose(&scaled, 1e-6, 0.0, false));
        tch::manual_seed(1);
        let drawn = Tensor::randn([64, 64], (Kind::Float, Device::Cpu)) * 0.02;
        let error = (matrix(&drawn).value().unwrap() - &drawn).square().sum(Kind::Double).sqrt()
            / drawn.square().sum(Kind::Double).sqrt();
        let error = error.double_value(&[]);
        // e4m3 has 3 bits of mantissa; the relative error of a uniformly rounded value is 2.6 % on average.
        assert!((0.02..0.03).contains(&error), "{error}");
    }

    #[test]
    fn values_beyond_the_range_and_zeros_are_scaled_and_not_lost() {
        let large = Tensor::from_slice(&[1e6_f32, -3.0, 0.0, 2.5e5]).view([2, 2]);
        let back = matrix(&large).value().unwrap();
        assert!((back.double_value(&[0, 0]) - 1e6).abs() < 1.0 && (back.double_value(&[1, 1]) - 2.5e5).abs() < 1.6e4);
        let zeros = Tensor::zeros([2, 2], (Kind::Float, Device::Cpu));
        assert!(matrix(&zeros).value().unwrap().equal(&zeros));
    }

    #[test]
    fn factors_act_on_their_rows_only_and_can_be_taken_back() {
        tch::manual_seed(2);
        let draw = |size: [i64; 2]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (down, up, input) = (draw([2, 5]), draw([3, 2]), Tensor::randn([2, 4, 5], (Kind::Float, Device::Cpu)));
        let beside = Beside::new(Kind::Float);
        let layer = Matrix::new(draw([7, 5]), None, beside.clone());
        let output = || Tensor::zeros([2, 4, 7], (Kind::Float, Device::Cpu));
        beside.set("a", vec![Factors { rows: 2..5, down: down.copy(), up: up.copy() }]);
        let changed = output();
        layer.add_beside(&input, &changed).unwrap();
        let wanted = input.matmul(&up.matmul(&down).tr());
        assert!(changed.narrow(2, 2, 3).allclose(&wanted, 1e-5, 1e-6, false));
        assert_eq!(changed.narrow(2, 0, 2).abs().max().double_value(&[]), 0.0);
        assert_eq!(changed.narrow(2, 5, 2).abs().max().double_value(&[]), 0.0);
        beside.set("a", Vec::new());
        let plain = output();
        layer.add_beside(&input, &plain).unwrap();
        assert!(plain.equal(&output()));
    }
}
