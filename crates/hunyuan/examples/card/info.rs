//! The machine: driver, GPUs, libtorch's CUDA half, NVIDIA's run-time compiler, and what a model folder describes.

use hunyuan::runtime::{cuda_half, weights};
use hunyuan::v1::{config::ModelConfig, transformer::Transformer};
use hunyuan::{Error, Result};
use serde_json::json;
use torch_ext::{driver::Driver, nvrtc};

/// `info [MODEL]`.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    if let [model] = words {
        let config = ModelConfig::read(std::path::Path::new(model))?;
        let table = weights::key_table(|loader| Transformer::load(loader, &config.transformer))?;
        return crate::tell(&json!({ "item": "model", "transformer_parameters": table.parameters() }));
    }
    let folder = cuda_half::libtorch_folder()
        .ok_or_else(|| Error::input("libtorch", "libtorch_cpu.so is not in this process's memory map"))?;
    let compiler = cuda_half::compiler_libraries(&folder);
    let try_it = || compiler.first().map(|path| nvrtc::compiles(path).map_err(|error| error.to_string()));
    // Before anything has loaded its second library: what a program meets that opens libtorch without Python.
    let before = try_it();
    let half = cuda_half::load();
    let after = try_it();
    let said = |outcome: Option<std::result::Result<(), String>>| match outcome {
        None => "not installed".to_owned(),
        Some(Ok(())) => "compiles".to_owned(),
        Some(Err(reason)) => reason,
    };
    crate::tell(&json!({
        "item": "machine",
        "libtorch": folder,
        "cuda_half": half.to_string(),
        "cuda_half_loaded": matches!(half, cuda_half::CudaHalf::Loaded(_)),
        "compiler_before": said(before),
        "compiler_after": said(after),
        "gpus_of_libtorch": tch::Cuda::device_count(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
    }))?;
    match Driver::open() {
        Err(error) => crate::tell(&json!({ "item": "driver", "error": error.to_string() })),
        Ok(driver) => {
            let count = driver.count()?;
            let gpus = (0..usize::try_from(count).unwrap_or(0)).map(|index| {
                driver.gpu(index).map(|gpu| json!({ "name": gpu.name, "memory_bytes": gpu.memory_bytes }))
            });
            let gpus = gpus.collect::<torch_ext::Result<Vec<_>>>()?;
            crate::tell(&json!({ "item": "driver", "cuda_version": driver.cuda_version()?, "gpus": gpus }))
        }
    }
}
