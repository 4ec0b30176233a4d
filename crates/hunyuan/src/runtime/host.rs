//! Tensors as bytes on the host: how they are stored outside libtorch.

use safetensors::Dtype as StoredDtype;
use tch::{Device, Kind, Tensor};

use super::error::{Error, Result};

/// Element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with 5 bits of exponent.
    F16,
    /// 16-bit floats with 8 bits of exponent.
    Bf16,
    /// 64-bit integers.
    I64,
    /// One byte per value, 0 or 1: masks.
    Bool,
}

impl Element {
    /// Every element type.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::I64, Self::Bool];

    fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::F16 => Kind::Half,
            Self::Bf16 => Kind::BFloat16,
            Self::I64 => Kind::Int64,
            Self::Bool => Kind::Bool,
        }
    }

    /// The type's name in a safetensors file.
    pub(crate) fn stored(self) -> StoredDtype {
        match self {
            Self::F32 => StoredDtype::F32,
            Self::F16 => StoredDtype::F16,
            Self::Bf16 => StoredDtype::BF16,
            Self::I64 => StoredDtype::I64,
            Self::Bool => StoredDtype::BOOL,
        }
    }

    pub(crate) fn of_stored(dtype: StoredDtype) -> Option<Self> {
        Self::ALL.into_iter().find(|element| element.stored() == dtype)
    }

    fn of_kind(kind: Kind) -> Option<Self> {
        Self::ALL.into_iter().find(|element| element.kind() == kind)
    }
}

/// A tensor's content, independent of libtorch: little-endian, rows one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTensor {
    /// Element type.
    pub element: Element,
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// The elements.
    pub bytes: Vec<u8>,
}

impl HostTensor {
    /// Copies a tensor to the host.
    ///
    /// # Errors
    /// An element type that is not stored; libtorch.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        let element = Element::of_kind(tensor.kind()).ok_or_else(|| Error::Libtorch {
            op: "store a tensor".to_owned(),
            reason: format!("tensors of kind {:?} are not stored", tensor.kind()),
        })?;
        let host = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; host.numel() * host.kind().elt_size_in_bytes()];
        host.f_copy_data_u8(&mut bytes, host.numel())?;
        let shape = host.size().iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        Ok(Self { element, shape, bytes })
    }

    /// The tensor, on the host.
    ///
    /// # Errors
    /// A number of bytes that does not fill the shape; libtorch.
    pub(crate) fn to_tensor(&self) -> Result<Tensor> {
        to_tensor(self.element, &self.shape, &self.bytes)
    }
}

/// A tensor from its stored parts, on the host.
pub(crate) fn to_tensor(element: Element, shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
    let values = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let wanted = values.and_then(|values| values.checked_mul(element.kind().elt_size_in_bytes()));
    if wanted != Some(bytes.len()) {
        let reason = format!("{} bytes do not fill the shape {shape:?} of {element:?}", bytes.len());
        return Err(Error::input("tensor", reason));
    }
    let sizes: Vec<i64> = shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
    Ok(Tensor::f_from_data_size(bytes, &sizes, element.kind())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_keeps_its_bits() {
        for element in Element::ALL {
            let tensor = Tensor::from_slice(&[0.0_f32, 1.0, 1.0, 0.0, 1.0, 0.0]).view([2, 3]).to_kind(element.kind());
            let stored = HostTensor::of(&tensor).unwrap();
            assert_eq!((stored.element, stored.shape.as_slice()), (element, [2, 3].as_slice()));
            let read = stored.to_tensor().unwrap();
            assert!(read.equal(&tensor) && read.kind() == tensor.kind(), "{element:?}");
            assert_eq!(Element::of_stored(element.stored()), Some(element));
        }
        assert!(HostTensor::of(&Tensor::from_slice(&[1.0_f64])).is_err(), "no element type for 64-bit floats");
    }

    #[test]
    fn bytes_that_do_not_fill_the_shape_are_refused() {
        for (shape, bytes) in [(vec![2, 3], 11), (vec![2, 3], 13), (vec![usize::MAX, 4], 12), (vec![0], 2)] {
            let tensor = HostTensor { element: Element::F16, shape, bytes: vec![0; bytes] };
            assert!(matches!(tensor.to_tensor(), Err(Error::Input { .. })), "{:?} {bytes}", tensor.shape);
        }
    }
}
