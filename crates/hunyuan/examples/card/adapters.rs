//! What an adapter costs: seconds to merge it and to restore the weights, against the seconds that it adds to each step when it acts
//! beside them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hunyuan::runtime::device;
use hunyuan::runtime::weights::WeightSource;
use hunyuan::{
    AdapterPath, AdapterUse, Control, DenoiseRequest, DeviceChoice, Dtype, Engine, EngineOptions, Error, Result,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Steps that are timed; the first one is not, because it pays for starting up.
const STEPS: usize = 5;
/// Merges and restores that are timed.
const ROUNDS: usize = 3;
/// The parts of the model folder that stay as they are.
const OTHERS: [&str; 7] =
    ["model_index.json", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae"];

/// `adapters MODEL DEVICE WxHxF HEADSxDOUBLExSINGLE RANK FOLDER`: a model of this many heads and blocks with random weights, made in
/// FOLDER from MODEL's other parts, and an adapter of this rank for all matrices of its blocks.
pub(crate) fn run(model: &str, choice: DeviceChoice, size: [i64; 3], layers: [i64; 3], last: [&str; 2]) -> Result<()> {
    let [rank, folder] = last;
    let rank: i64 = rank.parse().map_err(|_| Error::input("rank", format!("`{rank}` is not a number")))?;
    let folder = Path::new(folder);
    let dtype = if choice.resolve()? == Device::Cpu { Dtype::F32 } else { Dtype::Bf16 };
    make_model(Path::new(model), folder, layers, dtype)?;
    let load = |adapter_path| {
        let options = EngineOptions { device: choice, dtype: Some(dtype), adapter_path, ..EngineOptions::new(folder) };
        Engine::load(&options)
    };
    let mut engine = load(AdapterPath::Beside)?;
    let file = folder.join("adapter.safetensors");
    make_adapter(&engine, rank, &file)?;
    let adapter = engine.open_adapter(&file)?;
    let plain_s = step_s(&engine, size)?;
    let one = [AdapterUse { adapter: &adapter, strength: 1.0 }];
    engine.set_adapters(&one, &Control::new())?;
    let beside_s = step_s(&engine, size)?;
    drop(engine);

    let mut engine = load(AdapterPath::Merge)?;
    let on = choice.resolve()?;
    let (mut merges, mut restores) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        merges.push(changed_s(&mut engine, &one, on)?);
        restores.push(changed_s(&mut engine, &[], on)?);
    }
    engine.set_adapters(&one, &Control::new())?;
    let merged_s = step_s(&engine, size)?;
    let (merge_s, restore_s, extra_s) = (median(merges), median(restores), beside_s - merged_s);
    let info = engine.info();
    crate::tell(&json!({
        "device": info.device_class, "dtype": dtype.to_string(), "parameters": info.parameters, "rank": rank,
        "adapter_bytes": adapter.bytes(), "tokens": info.geometry.tokens(info.geometry.latent_shape(size[0], size[1], size[2])?),
        "merge_s": merge_s, "restore_s": restore_s, "plain_step_s": plain_s, "merged_step_s": merged_s,
        "beside_step_s": beside_s, "extra_s": extra_s,
        "break_even_steps": if extra_s > 0.0 { json!((merge_s + restore_s) / extra_s) } else { Value::Null },
    }))
}

/// A model folder with a transformer of other sizes, and random weights for it in a file.
fn make_model(model: &Path, folder: &Path, [heads, double, single]: [i64; 3], dtype: Dtype) -> Result<()> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    let transformer = folder.join("transformer");
    std::fs::create_dir_all(&transformer).map_err(read(&transformer))?;
    for name in OTHERS {
        let (from, to) = (absolute(model)?.join(name), folder.join(name));
        if from.exists() && !to.exists() {
            std::os::unix::fs::symlink(&from, &to).map_err(read(&to))?;
        }
    }
    let path = model.join("transformer/config.json");
    let text = std::fs::read_to_string(&path).map_err(read(&path))?;
    let mut config: Value =
        serde_json::from_str(&text).map_err(|error| Error::Config { path, reason: error.to_string() })?;
    config["num_attention_heads"] = heads.into();
    config["num_layers"] = double.into();
    config["num_single_layers"] = single.into();
    let path = transformer.join("config.json");
    std::fs::write(&path, config.to_string()).map_err(read(&path))?;
    let options = EngineOptions {
        device: DeviceChoice::Cpu,
        dtype: Some(dtype),
        weights: WeightSource::Random,
        ..EngineOptions::new(folder)
    };
    let engine = Engine::load(&options)?;
    let placements = engine.placements();
    let keys = placements.names().flat_map(|name| placements.provenance(name)).map(|range| range.key.clone());
    let tensors =
        keys.map(|key| Ok((key.clone(), placements.view(&key)?))).collect::<Result<Vec<(String, Tensor)>>>()?;
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(key, tensor)| (key.as_str(), tensor)).collect();
    Ok(Tensor::write_safetensors(&tensors, transformer.join("diffusion_pytorch_model.safetensors"))?)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Random factors for every matrix of the blocks, in the checkpoint's names and bf16.
fn make_adapter(engine: &Engine, rank: i64, file: &Path) -> Result<()> {
    let options = (Kind::BFloat16, Device::Cpu);
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (layer, [outputs, inputs]) in engine.placements().layers() {
        if !layer.starts_with("transformer_blocks.") && !layer.starts_with("single_transformer_blocks.") {
            continue;
        }
        let [outputs, inputs] = [outputs, inputs].map(|size| i64::try_from(size).unwrap_or(0));
        for (leaf, shape) in [("lora_A", [rank, inputs]), ("lora_B", [outputs, rank])] {
            let factor = Tensor::f_randn(shape, options)?.f_mul_scalar(0.01)?;
            tensors.push((format!("{layer}.{leaf}.weight"), factor));
        }
    }
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(key, tensor)| (key.as_str(), tensor)).collect();
    Ok(Tensor::write_safetensors(&tensors, file)?)
}

/// Seconds of changing the weights.
fn changed_s(engine: &mut Engine, uses: &[AdapterUse], on: Device) -> Result<f64> {
    let began = Instant::now();
    engine.set_adapters(uses, &Control::new())?;
    device::synchronize(on)?;
    Ok(began.elapsed().as_secs_f64())
}

/// Median seconds of a step.
fn step_s(engine: &Engine, [width, height, frames]: [i64; 3]) -> Result<f64> {
    let mut embeddings = engine.encode(&["a red ball"], &Control::new())?;
    let embeddings = embeddings.pop().ok_or_else(|| Error::input("prompt", "was not encoded"))?;
    let request = DenoiseRequest {
        width,
        height,
        frames,
        steps: STEPS + 1,
        ..DenoiseRequest::new(engine.defaults(), embeddings, 11)
    };
    let mut times = Vec::new();
    engine.denoise(&request, None, &Control::new(), &mut |end| {
        times.push(end.seconds);
        ControlFlow::Continue(())
    })?;
    Ok(median(times.split_off(1)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
