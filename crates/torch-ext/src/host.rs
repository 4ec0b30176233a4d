//! Page-locked host memory: what a GPU reads and writes itself, at the speed of the bus.
//!
//! Ordinary memory is copied through a small buffer of the driver first, by one thread.

use tch::{Device, Kind, Tensor};

use crate::{Error, Result, shim};

/// Bytes on the host that are both a slice and a tensor.
#[derive(Debug)]
pub struct Buffer {
    /// `[bytes]` u8 on the host, contiguous; nothing else refers to its memory while the slice is borrowed.
    tensor: Tensor,
}

impl Buffer {
    /// Page-locked memory. Freed buffers are kept for the next ones, since making them takes long.
    ///
    /// # Errors
    /// [`Error::Failed`] on a machine without a GPU, or when the system has no such memory left.
    pub fn pinned(bytes: usize) -> Result<Self> {
        let tensor = shim::pinned(i64::try_from(bytes).map_err(|error| Error::Failed(error.to_string()))?)?;
        Ok(Self { tensor })
    }

    /// Ordinary memory.
    ///
    /// # Errors
    /// [`Error::Failed`] when there is none left.
    pub fn pageable(bytes: usize) -> Result<Self> {
        let size = i64::try_from(bytes).map_err(|error| Error::Failed(error.to_string()))?;
        let made = Tensor::f_empty([size], (Kind::Uint8, Device::Cpu));
        made.map(|tensor| Self { tensor }).map_err(|error| Error::Failed(error.to_string()))
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensor.numel()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes. Whatever was copied from or to the tensor must have finished, as it has when libtorch's blocking copies return.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        #[expect(unsafe_code, reason = "a view of our own tensor's memory")]
        // SAFETY: the tensor is contiguous, of this many bytes, on the host, owned by `self` and borrowed mutably with it.
        unsafe {
            std::slice::from_raw_parts_mut(self.tensor.data_ptr().cast(), self.tensor.numel())
        }
    }

    /// The bytes, to be read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "a view of our own tensor's memory")]
        // SAFETY: as in `bytes_mut`; writing needs the buffer mutably, or its tensor, which only copies into it.
        unsafe {
            std::slice::from_raw_parts(self.tensor.data_ptr().cast(), self.tensor.numel())
        }
    }

    /// The first bytes as `shape` elements of `kind`, sharing the memory. Do not keep it longer than one copy.
    ///
    /// # Errors
    /// [`Error::Failed`] when the buffer is too small.
    pub fn tensor(&self, shape: &[i64], kind: Kind) -> Result<Tensor> {
        let values: i64 = shape.iter().product();
        let bytes = values * kind.elt_size_in_bytes() as i64;
        let view = self.tensor.f_narrow(0, 0, bytes).and_then(|part| part.f_view_dtype(kind)?.f_view(shape));
        view.map_err(|error| Error::Failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use tch::Cuda;

    use super::*;

    #[test]
    fn a_buffer_is_the_memory_of_its_tensor() {
        let mut buffer = Buffer::pageable(16).unwrap();
        buffer.bytes_mut().copy_from_slice(&[1.5_f32, -2.0, 0.25, 8.0].map(f32::to_le_bytes).concat());
        let tensor = buffer.tensor(&[2, 2], Kind::Float).unwrap();
        assert_eq!(Vec::<f32>::try_from(tensor.reshape(-1)).unwrap(), [1.5, -2.0, 0.25, 8.0]);
        let _ = buffer.tensor(&[1], Kind::Float).unwrap().fill_(4.0);
        assert_eq!(buffer.bytes()[..4], 4.0_f32.to_le_bytes());
        assert!(buffer.tensor(&[5], Kind::Float).is_err(), "five floats do not fit");
    }

    #[test]
    fn page_locked_memory_needs_a_gpu() {
        if Cuda::device_count() == 0 {
            assert!(matches!(Buffer::pinned(8), Err(Error::Failed(_))));
        }
    }
}
