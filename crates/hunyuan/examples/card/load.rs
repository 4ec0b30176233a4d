//! Reading weights: every tensor of a folder's safetensors files, as a network would load them.

use std::path::Path;
use std::time::Instant;

use hunyuan::runtime::device;
use hunyuan::runtime::weights::{self, Loader, Weights};
use hunyuan::{DeviceChoice, Result};
use serde_json::json;
use tch::{Kind, Tensor};

/// `load FOLDER DEVICE`: bytes of the tensors and seconds until they are on the device.
pub(crate) fn run(folder: &str, choice: DeviceChoice) -> Result<()> {
    let device = choice.resolve()?;
    // What a device costs at its first use is not the weights'.
    drop(Tensor::f_zeros([1], (Kind::Float, device))?);
    device::synchronize(device)?;
    let began = Instant::now();
    let files = Weights::open(Path::new(folder))?;
    let shapes: Vec<(String, Vec<i64>)> = files.shapes().map(|(key, shape)| (key.to_owned(), shape.to_vec())).collect();
    let build =
        |loader: &Loader| shapes.iter().map(|(key, shape)| loader.tensor(key, shape)).collect::<Result<Vec<_>>>();
    let tensors = weights::load(&files, device, Kind::BFloat16, build)?;
    device::synchronize(device)?;
    let seconds = began.elapsed().as_secs_f64();
    let bytes: usize = tensors.iter().map(|tensor| tensor.numel() * tensor.kind().elt_size_in_bytes()).sum();
    crate::tell(&json!({ "device": device::name(device), "bytes": bytes, "seconds": seconds }))
}
