//! What both text encoders make of one prompt: a value that can be kept and given to any run.
//!
//! The rule: embeddings have their true length, without padding, so nothing after them needs a mask. The fleet stores them
//! in 16 bits and sends fresh ones through the same rounding ([`Embeddings::through_f16`]), so a video does not depend on
//! whether its prompt was cached; nothing else rounds them.

use half::f16;
use tch::{Device, Kind, Tensor};

use crate::runtime::error::{Error, Result};

/// One prompt's embeddings.
#[derive(Debug)]
pub struct Embeddings {
    /// States of the language model, `[1, tokens, width]`.
    pub prompt_embeds: Tensor,
    /// Pooled state of CLIP, `[1, width]`.
    pub pooled: Tensor,
    /// Identifies the content: two embeddings with one fingerprint hold the same numbers.
    pub fingerprint: String,
}

impl Embeddings {
    /// A second handle on the same memory.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            prompt_embeds: self.prompt_embeds.shallow_clone(),
            pooled: self.pooled.shallow_clone(),
            fingerprint: self.fingerprint.clone(),
        }
    }

    /// Text tokens.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.prompt_embeds.size().get(1).copied().unwrap_or(0)
    }

    /// The language model's states in 16 bits, row by row, and their shape (tokens, width).
    ///
    /// # Errors
    /// [`Error::NotFinite`] when a value is none or too large; libtorch.
    pub fn prompt_embeds_f16(&self) -> Result<(Vec<f16>, [usize; 2])> {
        let (_, tokens, width) = self.prompt_embeds.size3()?;
        let shape = [tokens, width].map(|size| usize::try_from(size).unwrap_or(0));
        Ok((values_f16(&self.prompt_embeds)?, shape))
    }

    /// CLIP's pooled state in 16 bits.
    ///
    /// # Errors
    /// libtorch.
    pub fn pooled_f16(&self) -> Result<Vec<f16>> {
        values_f16(&self.pooled)
    }

    /// Embeddings from stored values; `shape` is (tokens, width) of the prompt's.
    ///
    /// # Errors
    /// A number of values that is not that of the shape.
    pub fn from_f16(prompt: &[f16], shape: [usize; 2], pooled: &[f16], fingerprint: String) -> Result<Self> {
        let [tokens, width] = shape;
        if tokens == 0 || pooled.is_empty() || tokens.checked_mul(width) != Some(prompt.len()) {
            let reason = format!("{} values for {tokens} tokens of {width}, {} pooled", prompt.len(), pooled.len());
            return Err(Error::input("embeddings", reason));
        }
        Ok(Self {
            prompt_embeds: Tensor::f_from_slice(prompt)?.f_view([1, tokens as i64, width as i64])?,
            pooled: Tensor::f_from_slice(pooled)?.f_view([1, pooled.len() as i64])?,
            fingerprint,
        })
    }

    /// The same embeddings as they are after being stored: equal, bit for bit, to what [`Embeddings::from_f16`] gives back.
    ///
    /// # Errors
    /// libtorch.
    pub fn through_f16(&self) -> Result<Self> {
        let (prompt, shape) = self.prompt_embeds_f16()?;
        Self::from_f16(&prompt, shape, &self.pooled_f16()?, self.fingerprint.clone())
    }
}

fn values_f16(tensor: &Tensor) -> Result<Vec<f16>> {
    let host = tensor.f_to_kind(Kind::Half)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut values = vec![f16::ZERO; host.numel()];
    host.f_copy_data(&mut values, host.numel())?;
    // 16 bits reach to 65,504 only, so this finds more than a check of the encoders' own format would.
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::NotFinite { stage: "text encoders", step: None });
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_16_bits_cannot_hold_are_refused_instead_of_stored() {
        for bad in [f32::NAN, f32::INFINITY, 70_000.0] {
            let mut embeddings = sample();
            embeddings.pooled = Tensor::from_slice(&[0.3_f32, bad]).view([1, 2]);
            let error = embeddings.through_f16().unwrap_err();
            assert!(matches!(error, Error::NotFinite { stage: "text encoders", .. }), "{error}");
        }
    }

    fn sample() -> Embeddings {
        Embeddings {
            prompt_embeds: Tensor::from_slice(&[0.1_f32, -2.0, 3.25, 1e-3, 5.0, 6.0]).view([1, 3, 2]),
            pooled: Tensor::from_slice(&[0.3_f32, 0.7]).view([1, 2]),
            fingerprint: "print".to_owned(),
        }
    }

    #[test]
    fn a_stored_embedding_equals_a_fresh_one_bit_for_bit() {
        let fresh = sample().through_f16().unwrap();
        let (prompt, shape) = sample().prompt_embeds_f16().unwrap();
        assert_eq!(shape, [3, 2]);
        let stored = Embeddings::from_f16(&prompt, shape, &sample().pooled_f16().unwrap(), "print".to_owned()).unwrap();
        assert!(stored.prompt_embeds.equal(&fresh.prompt_embeds) && stored.pooled.equal(&fresh.pooled));
        assert_eq!(stored.prompt_embeds.size(), [1, 3, 2]);
        let again = fresh.through_f16().unwrap();
        assert!(again.prompt_embeds.equal(&fresh.prompt_embeds), "rounding twice changes nothing more");
    }

    #[test]
    fn values_that_do_not_fill_the_shape_are_refused() {
        let value = f16::from_f32(1.0);
        for (prompt, shape, pooled) in
            [(5, [3, 2], 2), (6, [2, 2], 2), (0, [0, 2], 2), (6, [3, 2], 0), (6, [usize::MAX, 2], 2)]
        {
            let refused = Embeddings::from_f16(&vec![value; prompt], shape, &vec![value; pooled], String::new());
            assert!(matches!(refused, Err(Error::Input { field: "embeddings", .. })), "{prompt} {shape:?} {pooled}");
        }
    }
}
