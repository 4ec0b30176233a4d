//! Checks that all values of a result are finite.
//!
//! The rule: the result of every stage, and of every denoising step, is checked. Otherwise damaged weights, or a
//! format whose range is too small, end as a black video that counts as completed.

use tch::{Kind, Tensor};

use crate::runtime::error::{Error, Result};

/// Fails when `tensor` holds a value that is not finite. On a GPU this waits for the result.
///
/// One pass that allocates nothing: sums of finite values of these networks are far inside the range of fp32, and no value that
/// is not finite disappears in a sum.
///
/// # Errors
/// [`Error::NotFinite`] with `stage` and `step`; libtorch.
pub fn check(tensor: &Tensor, stage: &'static str, step: Option<usize>) -> Result<()> {
    let sum = tensor.f_sum(Kind::Float)?.f_double_value(&[])?;
    if sum.is_finite() { Ok(()) } else { Err(Error::NotFinite { stage, step }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_among_many_is_found_in_every_format() {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            // As many values, and as large, as the latents of a video.
            let fine = Tensor::full([16, 33, 90, 40], 60.0, (kind, tch::Device::Cpu));
            check(&fine, "denoising", Some(3)).unwrap();
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let tensor = fine.copy();
                let _ = tensor.narrow(3, 17, 1).narrow(0, 2, 1).fill_(bad);
                let error = check(&tensor, "denoising", Some(3)).unwrap_err();
                assert!(matches!(error, Error::NotFinite { stage: "denoising", step: Some(3) }), "{error}");
            }
            let both = Tensor::from_slice(&[f32::INFINITY, f32::NEG_INFINITY]).to_kind(kind);
            assert!(check(&both, "decoder", None).unwrap_err().to_string().contains("decoder"));
        }
    }
}
