//! Seconds a step of the transformer alone: `transformer_speed DIR WIDTHxHEIGHTxFRAMES TEXT_TOKENS STEPS DTYPE`.
//!
//! One half of `make bench-transformer`. `DIR` is a component's folder; its weights may be random, since speed does not
//! depend on what was learned. The first GPU is used if there is one. Prints one line of JSON.

use std::{path::Path, time::Instant};

use hunyuan::{
    Control, DeviceChoice, Dtype, Error, Result,
    runtime::weights::{self, Weights},
    v1::config::TransformerConfig,
    v1::transformer::Transformer,
};
use tch::{Cuda, Device, Tensor};

/// A timestep, one of those that a schedule has.
const TIME: f32 = 997.0;
/// Pixels of a latent pixel, and frames of a latent frame: the released VAE's.
const COMPRESSION: [i64; 2] = [8, 4];

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, size, text, steps, dtype] = words.as_slice() else {
        return Err(Error::input("arguments", "DIR WIDTHxHEIGHTxFRAMES TEXT_TOKENS STEPS DTYPE"));
    };
    let number =
        |text: &str| text.parse::<i64>().map_err(|error| Error::input("arguments", format!("{text}: {error}")));
    let sides = size.split('x').map(number).collect::<Result<Vec<i64>>>()?;
    let [width, height, frames] = sides[..] else { return Err(Error::input("size", "WIDTHxHEIGHTxFRAMES")) };
    let (text, steps) = (number(text)?, number(steps)?);
    let dtype: Dtype = dtype.parse().map_err(|error: String| Error::input("dtype", error))?;

    let _no_grad = tch::no_grad_guard();
    let device = DeviceChoice::Auto.resolve()?;
    let dir = Path::new(dir);
    let config = read_config(&dir.join("config.json"))?;
    let network =
        weights::load(&Weights::open(dir)?, device, dtype.kind(), |loader| Transformer::load(loader, &config))?;

    let options = (dtype.kind(), device);
    let shape =
        [config.in_channels, (frames - 1) / COMPRESSION[1] + 1, height / COMPRESSION[0], width / COMPRESSION[0]];
    let states = Tensor::f_randn([1, text, config.text_embed_dim], options)?;
    let pooled = Tensor::f_randn([1, config.pooled_projection_dim], options)?;
    let condition = network.condition(&states, &pooled, &[6.0], shape)?;
    let latents = Tensor::f_randn([1, shape[0], shape[1], shape[2], shape[3]], options)?;
    let mut seconds = Vec::new();
    // One more than asked for: the first pays for starting up.
    for _ in 0..=steps {
        synchronize(device);
        let began = Instant::now();
        let velocity = network.forward(&latents, &[TIME], &condition, &Control::new())?;
        synchronize(device);
        seconds.push(began.elapsed().as_secs_f64());
        if velocity.isfinite().all().int64_value(&[]) == 0 {
            return Err(Error::input("weights", "the velocity is not finite, so its time means nothing"));
        }
    }
    seconds.remove(0);
    let report = serde_json::json!({ "seconds": seconds, "device": hunyuan::runtime::device::class(device) });
    #[expect(clippy::print_stdout, reason = "the result, for the script that compares")]
    {
        println!("{report}");
    }
    Ok(())
}

fn read_config(path: &Path) -> Result<TransformerConfig> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|error| Error::Config { path: path.to_owned(), reason: error.to_string() })
}

/// Waits for the GPU, which works behind the program's back.
fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(i64::try_from(index).unwrap_or(0));
    }
}
