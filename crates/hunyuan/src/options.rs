//! How to load a model: what the caller of [`Engine::load`](crate::Engine::load) chooses.

use std::path::PathBuf;

use tch::Device;
use torch_ext::attention::Backend;

use crate::networks::Residency;
use crate::runtime::{
    adapters::AdapterPath,
    device::DeviceChoice,
    dtype::Dtype,
    tiling::TileSizes,
    weights::{Storage, WeightSource},
};

/// Memory of an untiled decode from which [`Tiling::Auto`] tiles.
const AUTO_TILING_BYTES: u64 = 8 << 30;

/// Whether frames are decoded in tiles of height and width. Tiled frames differ slightly from untiled ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tiling {
    /// Tiles every video that is larger than one tile.
    On,
    /// Decodes whole frames; the video is still split along time.
    Off,
    /// Tiles when whole frames would take more memory than [`EngineOptions::auto_tiling_bytes`]. Depends on the size alone, not on
    /// what is free, so that a video does not depend on when it is made.
    #[default]
    Auto,
}

/// How to load a model.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// A folder in the diffusers layout.
    pub model_dir: PathBuf,
    /// Where to run.
    pub device: DeviceChoice,
    /// Number format of the transformer; none for fp32 on the CPU and bf16 on a GPU.
    pub dtype: Option<Dtype>,
    /// How the matrices of the transformer's blocks are kept in memory.
    pub storage: Storage,
    /// How adapters act on a transformer whose matrices are not stored in FP8.
    pub adapter_path: AdapterPath,
    /// Number format of the text encoders; none for that of `dtype` if it is given, else fp32 on the CPU and fp16 on a GPU, as the
    /// reference runs them.
    pub encoder_dtype: Option<Dtype>,
    /// Number format of the video decoder; none as for `encoder_dtype`.
    pub decoder_dtype: Option<Dtype>,
    /// Where the weights come from.
    pub weights: WeightSource,
    /// Folder in which hashes of large weight files are remembered by size and time of change; none reads every file.
    pub hashes_dir: Option<PathBuf>,
    /// Which attention kernel to use on a GPU; none for the fastest one that computes correctly there.
    pub attention: Option<Backend>,
    /// The user's build of FlashAttention 3, to be tried with libtorch's kernels.
    pub attention_library: Option<PathBuf>,
    /// Width, height and frames of the largest video that will be requested: the size at which attention kernels are tried.
    /// None for a small trial.
    pub largest: Option<[i64; 3]>,
    /// See [`Tiling`].
    pub tiling: Tiling,
    /// See [`Residency`].
    pub text_encoders: Residency,
    /// Threads of libtorch on the CPU; none for its own choice.
    pub threads: Option<usize>,
    /// Sizes of tiles and pieces.
    pub tiles: TileSizes,
    /// See [`Tiling::Auto`].
    pub auto_tiling_bytes: u64,
}

impl EngineOptions {
    /// The defaults for a model folder.
    pub fn new(model_dir: impl Into<PathBuf>) -> Self {
        Self {
            model_dir: model_dir.into(),
            device: DeviceChoice::default(),
            dtype: None,
            storage: Storage::default(),
            adapter_path: AdapterPath::default(),
            encoder_dtype: None,
            decoder_dtype: None,
            weights: WeightSource::default(),
            hashes_dir: None,
            attention: None,
            attention_library: None,
            largest: None,
            tiling: Tiling::default(),
            text_encoders: Residency::default(),
            threads: None,
            tiles: TileSizes::default(),
            auto_tiling_bytes: AUTO_TILING_BYTES,
        }
    }

    /// Number formats of transformer, text encoders and video decoder on this device.
    pub(crate) fn dtypes(&self, device: Device) -> [Dtype; 3] {
        let of_device = |on_gpu| if device == Device::Cpu { Dtype::F32 } else { on_gpu };
        let beside = |own: Option<Dtype>| own.or(self.dtype).unwrap_or(of_device(Dtype::F16));
        [self.dtype.unwrap_or(of_device(Dtype::Bf16)), beside(self.encoder_dtype), beside(self.decoder_dtype)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_component_has_its_format_and_one_given_counts_for_all() {
        let options = EngineOptions::new("x");
        assert_eq!(options.dtypes(Device::Cpu), [Dtype::F32; 3]);
        assert_eq!(options.dtypes(Device::Cuda(0)), [Dtype::Bf16, Dtype::F16, Dtype::F16]);
        let given = EngineOptions { dtype: Some(Dtype::Bf16), ..options };
        assert_eq!(given.dtypes(Device::Cuda(0)), [Dtype::Bf16; 3]);
        let mixed = EngineOptions { decoder_dtype: Some(Dtype::F32), ..given };
        assert_eq!(mixed.dtypes(Device::Cpu), [Dtype::Bf16, Dtype::Bf16, Dtype::F32]);
    }
}
