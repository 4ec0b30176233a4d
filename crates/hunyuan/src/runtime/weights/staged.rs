//! Reads weights into a GPU: several threads, each from the file into page-locked memory and from there over the bus.
//!
//! One thread that copies out of a map waits for the disk page by page, and libtorch copies what is not page-locked through a
//! small buffer of the driver. Reading several parts at a time keeps both the disk and the bus busy.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};
use torch_ext::host::Buffer;

use crate::runtime::error::{Error, Result};

/// Bytes of a part. More needs more page-locked memory (this much for each reader), less more requests.
pub(super) const PART_BYTES: usize = 16 << 20;
/// Parts that are read at a time. Fewer leave a fast disk waiting, which serves many requests side by side.
const READERS: usize = 8;

/// A piece of a tensor: where it lies in its file, and where it goes.
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: usize,
    pub(super) shape: Vec<i64>,
    pub(super) target: Tensor,
}

/// Buffers between file and device, used again for every tensor.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Mutex<Vec<Buffer>>,
}

/// Whether weights for this device are read this way.
pub(super) fn is_for(device: Device) -> bool {
    matches!(device, Device::Cuda(_))
}

impl Buffers {
    /// Copies all parts, whose elements are of `kind` in the file.
    pub(super) fn copy(&self, (path, file): (&Path, &File), kind: Kind, parts: Vec<Part>) -> Result<()> {
        let readers = READERS.min(parts.len());
        let parts = Mutex::new(parts.into_iter());
        let read = || self.read((path, file), kind, || locked(&parts).next());
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..readers).map(|_| scope.spawn(read)).collect();
            let own = read();
            let gone = |_| Err(Error::input("weights", "a thread that reads them ended unexpectedly"));
            others.into_iter().map(|other| other.join().unwrap_or_else(gone)).fold(own, Result::and)
        })
    }

    fn read(&self, (path, file): (&Path, &File), kind: Kind, next: impl Fn() -> Option<Part>) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let mut buffer = self.take()?;
        while let Some(Part { offset, length, shape, mut target }) = next() {
            let read = file.read_exact_at(&mut buffer.bytes_mut()[..length], offset);
            read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
            let source = buffer.tensor(&shape, kind)?;
            // Converted on the device, where that takes no time.
            let source = if kind == target.kind() { source } else { source.f_to_device(target.device())? };
            target.f_copy_(&source)?;
        }
        locked(&self.free).push(buffer);
        Ok(())
    }

    fn take(&self) -> Result<Buffer> {
        if let Some(buffer) = locked(&self.free).pop() {
            return Ok(buffer);
        }
        let made = Buffer::pinned(PART_BYTES).or_else(|error| {
            tracing::debug!(%error, "no page-locked memory; weights are read through ordinary memory");
            Buffer::pageable(PART_BYTES)
        });
        Ok(made?)
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a CPU, where only the buffers are of another kind.
    #[test]
    fn parts_arrive_where_they_belong_whichever_thread_reads_them() {
        let values: Vec<f32> = (0..1000_i16).map(f32::from).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.bin");
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(&path, [b"head".as_slice(), &bytes].concat()).unwrap();
        let file = File::open(&path).unwrap();
        for kind in [Kind::Float, Kind::BFloat16] {
            let whole = Tensor::zeros([100, 10], (kind, Device::Cpu));
            let part = |row: i64| Part {
                offset: 4 + u64::try_from(row).unwrap() * 40,
                length: 4 * 40,
                shape: vec![4, 10],
                target: whole.narrow(0, row, 4),
            };
            let buffers = Buffers::default();
            buffers.copy((&path, &file), Kind::Float, (0..25).map(|index| part(4 * index)).collect()).unwrap();
            assert!(whole.equal(&Tensor::from_slice(&values).view([100, 10]).to_kind(kind)), "{kind:?}");
            assert!(locked(&buffers.free).len() <= READERS, "buffers are used again");
            // Beyond the end of the file.
            let error = buffers.copy((&path, &file), Kind::Float, vec![part(96), Part { offset: 4001, ..part(0) }]);
            assert!(matches!(&error, Err(Error::Read { path: named, .. }) if *named == path), "{error:?}");
        }
    }
}
