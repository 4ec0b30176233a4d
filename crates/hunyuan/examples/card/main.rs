//! What `scripts/gpu-check` measures on a GPU through this crate: `card COMMAND ARGUMENTS...`, one line of JSON per result.
//!
//! Every command takes a device, so that the same code runs at small size on a CPU; weights are drawn on the device, since
//! neither speed nor memory depends on what was learned. To add a measurement: a module with one function that calls
//! [`tell`], a line in [`main`], and a stage in `scripts/gpu_check/stages.py`.

mod adapters;
mod agree;
mod info;
mod kernels;
mod load;
mod resume;
mod speed;

use std::io::Write;

use hunyuan::{DeviceChoice, Engine, EngineOptions, Error, Result, runtime::weights::WeightSource};
use serde_json::Value;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let _no_grad = tch::no_grad_guard();
    match words.as_slice() {
        ["adapters", model, device, size, layers, rank, folder] => {
            adapters::run(model, parsed(device)?, parse_size(size)?, numbers(layers)?, [rank, folder])
        }
        ["info", rest @ ..] => info::run(rest),
        ["agree", fixtures, device] => agree::run(fixtures, parsed(device)?),
        ["load", folder, device] => load::run(folder, parsed(device)?),
        ["kernels", model, device, size] => kernels::run(model, parsed(device)?, parse_size(size)?),
        ["resume", model, device, size, folder] => resume::whole(model, parsed(device)?, parse_size(size)?, folder),
        ["resumed", model, device, size, folder] => resume::rest(model, parsed(device)?, parse_size(size)?, folder),
        ["speed", model, device, sizes @ ..] if !sizes.is_empty() => speed::run(model, parsed(device)?, sizes),
        _ => Err(Error::input(
            "arguments",
            "use adapters MODEL DEVICE WxHxF HEADSxDOUBLExSINGLE RANK FOLDER, info [MODEL], agree FIXTURES DEVICE, load FOLDER DEVICE, kernels|resume|resumed MODEL DEVICE WxHxF [FOLDER], \
             or speed MODEL DEVICE WxHxFxSTEPS...",
        )),
    }
}

/// Prints a result at once, so that it counts even if what follows does not end.
fn tell(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .map_err(|source| Error::Read { path: "standard output".into(), source })
}

fn parsed(device: &str) -> Result<DeviceChoice> {
    device.parse().map_err(|error: String| Error::input("device", error))
}

/// Numbers between `x`.
fn numbers<const N: usize>(text: &str) -> Result<[i64; N]> {
    let parts = text.split('x').map(str::parse).collect::<std::result::Result<Vec<i64>, _>>();
    let wrong = || Error::input("size", format!("`{text}` is not {N} numbers with `x` between them"));
    parts.map_err(|_| wrong())?.try_into().map_err(|_| wrong())
}

fn parse_size(text: &str) -> Result<[i64; 3]> {
    numbers(text)
}

/// An engine with random weights of this folder's configurations, which tries its attention at `largest`.
fn random_engine(model: &str, device: DeviceChoice, largest: [i64; 3]) -> Result<Engine> {
    Engine::load(&EngineOptions {
        device,
        weights: WeightSource::Random,
        largest: Some(largest),
        ..EngineOptions::new(model)
    })
}
