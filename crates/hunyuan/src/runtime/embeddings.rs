//! A prompt as the model reads it: named tensors, and a fingerprint of their content.
//!
//! The rule: a job may get its embeddings from a cache, which stores floats in 16 bits. To make the same video with and
//! without that cache, pass fresh ones through [`Embeddings::through_store`] as well. The names and shapes of the tensors
//! depend on the model family.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::{
    error::{Error, Result},
    finite,
    host::HostTensor,
};

/// One prompt's embeddings.
#[derive(Debug)]
pub struct Embeddings {
    tensors: BTreeMap<String, Tensor>,
    fingerprint: String,
}

impl Embeddings {
    /// Embeddings from these tensors.
    ///
    /// # Errors
    /// A tensor that cannot be copied to the host for the fingerprint.
    pub fn new(tensors: impl IntoIterator<Item = (impl Into<String>, Tensor)>) -> Result<Self> {
        let tensors: BTreeMap<String, Tensor> =
            tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect();
        let mut hasher = blake3::Hasher::new();
        for (name, tensor) in &tensors {
            let host = HostTensor::of(tensor)?;
            hasher.update(format!("{name} {:?} {:?} ", host.element, host.shape).as_bytes());
            hasher.update(&host.bytes);
        }
        Ok(Self { tensors, fingerprint: hasher.finalize().to_hex().to_string() })
    }

    /// blake3 of names, shapes, element types and values, hex: equal for equal embeddings only.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`Error::Input`] naming it and those that there are.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
            Error::input("embeddings", format!("no tensor `{name}`, only {}", known.join(", ")))
        })
    }

    /// All tensors, in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// A second handle on the same memory.
    #[must_use]
    pub fn share(&self) -> Self {
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        Self { tensors, fingerprint: self.fingerprint.clone() }
    }

    /// The form that is stored: floats in 16 bits, everything else as it is.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a value that is not finite or that 16 bits cannot hold; libtorch.
    pub fn to_store(&self) -> Result<Vec<(String, HostTensor)>> {
        let one = |(name, tensor): (&String, &Tensor)| {
            let tensor = match tensor.kind() {
                Kind::Float | Kind::BFloat16 | Kind::Double => tensor.f_to_kind(Kind::Half)?,
                _ => tensor.shallow_clone(),
            };
            if tensor.is_floating_point() {
                // fp16 reaches to 65,504 only, so this finds more than a check of the encoders' own format would.
                finite::check(&tensor, "text encoders", None)?;
            }
            Ok((name.clone(), HostTensor::of(&tensor)?))
        };
        self.tensors.iter().map(one).collect()
    }

    /// Embeddings from their stored form.
    ///
    /// # Errors
    /// Bytes that do not fill a shape; libtorch.
    pub fn from_store(stored: &[(String, HostTensor)]) -> Result<Self> {
        let tensors: Vec<(String, Tensor)> =
            stored.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_tensor()?))).collect::<Result<_>>()?;
        Self::new(tensors)
    }

    /// The same embeddings as they are after being stored: equal, bit for bit, to what [`Embeddings::from_store`] returns.
    ///
    /// # Errors
    /// libtorch.
    pub fn through_store(&self) -> Result<Self> {
        Self::from_store(&self.to_store()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Embeddings {
        Embeddings::new([
            ("prompt", Tensor::from_slice(&[0.1_f32, -2.0, 3.25, 1e-3, 5.0, 6.0]).view([1, 3, 2])),
            ("mask", Tensor::from_slice(&[true, true, false]).view([1, 3])),
        ])
        .unwrap()
    }

    #[test]
    fn stored_embeddings_equal_fresh_ones_bit_for_bit() {
        let fresh = sample().through_store().unwrap();
        let stored = Embeddings::from_store(&sample().to_store().unwrap()).unwrap();
        assert_eq!(stored.get("prompt").unwrap().kind(), Kind::Half);
        assert_eq!(stored.get("mask").unwrap().kind(), Kind::Bool, "only floats are rounded");
        for (name, tensor) in fresh.tensors() {
            assert!(stored.get(name).unwrap().equal(tensor), "{name}");
        }
        assert_eq!(stored.fingerprint(), fresh.fingerprint());
        let again = fresh.through_store().unwrap();
        assert_eq!(again.fingerprint(), fresh.fingerprint(), "rounding twice changes nothing more");
    }

    #[test]
    fn values_that_16_bits_cannot_hold_are_refused_instead_of_stored() {
        for bad in [f32::NAN, f32::INFINITY, 70_000.0] {
            let embeddings = Embeddings::new([("pooled", Tensor::from_slice(&[0.3_f32, bad]))]).unwrap();
            let error = embeddings.through_store().unwrap_err();
            assert!(matches!(error, Error::NotFinite { stage: "text encoders", .. }), "{error}");
        }
    }

    #[test]
    fn the_fingerprint_follows_names_shapes_and_values() {
        let of = |name: &str, tensor: Tensor| Embeddings::new([(name, tensor)]).unwrap().fingerprint().to_owned();
        let values = || Tensor::from_slice(&[1.0_f32, 2.0]);
        let one = of("a", values());
        assert_eq!(one, of("a", values()));
        for other in [
            of("b", values()),
            of("a", values().view([2, 1])),
            of("a", values() * 2.0),
            of("a", values().to_kind(Kind::Half)),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn an_absent_tensor_is_named_with_those_that_there_are() {
        let error = sample().get("pooled").unwrap_err().to_string();
        assert!(error.contains("pooled") && error.contains("mask, prompt"), "{error}");
    }
}
