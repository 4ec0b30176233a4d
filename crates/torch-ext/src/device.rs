//! A GPU as libtorch uses it: waiting for its work, and the memory that tensors take there.

use tch::Cuda;

use crate::{Error, Result, shim};

/// Memory of libtorch's allocator on one GPU, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// In tensors now.
    pub allocated: u64,
    /// In tensors at most, since the start.
    pub allocated_peak: u64,
    /// Taken from the driver now.
    pub reserved: u64,
    /// Taken from the driver at most, since the start.
    pub reserved_peak: u64,
}

/// Waits until all work on GPU `index` is done.
///
/// # Errors
/// [`Error::NotAvailable`] without that GPU; [`Error::Failed`] with what any of the work failed with. Most of these errors
/// (illegal access, an uncorrectable memory error) stay until the process ends.
pub fn synchronize(index: usize) -> Result<()> {
    shim::synchronize(existing(index)?)
}

/// Makes libtorch use only kernels whose results do not vary from run to run, in the whole process. Call it before the first use of
/// a GPU: cuBLAS reads its settings once. Operators without such a kernel fail from then on.
///
/// # Errors
/// [`Error::Failed`] with libtorch's reason.
pub fn make_deterministic() -> Result<()> {
    shim::make_deterministic()
}

/// Makes GPU `index` the one that this thread's CUDA calls mean where they name none.
///
/// # Errors
/// As [`synchronize`].
pub(crate) fn use_gpu(index: usize) -> Result<()> {
    shim::use_gpu(existing(index)?)
}

/// Memory in use on GPU `index`.
///
/// # Errors
/// As [`synchronize`].
pub fn memory(index: usize) -> Result<Memory> {
    let [allocated, allocated_peak, reserved, reserved_peak] =
        shim::memory(existing(index)?)?.map(|bytes| u64::try_from(bytes).unwrap_or(0));
    Ok(Memory { allocated, allocated_peak, reserved, reserved_peak })
}

/// The index as libtorch takes it, if there is such a GPU.
fn existing(index: usize) -> Result<i64> {
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if index >= count {
        return Err(Error::NotAvailable(format!("GPU {index}; libtorch sees {count}")));
    }
    i64::try_from(index).map_err(|error| Error::NotAvailable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_does_not_exist_is_an_error() {
        for answer in [synchronize(9999), memory(9999).map(drop)] {
            assert!(matches!(&answer, Err(Error::NotAvailable(_))), "{answer:?}");
        }
    }

    #[test]
    fn kernels_can_be_made_deterministic() {
        assert!(make_deterministic().is_ok());
    }

    /// What the shim does where the CUDA half of libtorch is not loaded: an error with a text, and no crash.
    #[test]
    fn the_shim_turns_exceptions_into_errors() {
        if Cuda::device_count() == 0 {
            for answer in [shim::synchronize(0), shim::memory(0).map(drop)] {
                let Err(Error::Failed(text)) = answer else { panic!("{answer:?}") };
                assert!(!text.is_empty() && !text.contains('\n'), "{text}");
            }
        }
    }
}
