//! Single kernels in the layout that the crate gives them: attention, matrix products, convolution, copies.

use std::time::Instant;

use hunyuan::runtime::{attention, device};
use hunyuan::v1::config::ModelConfig;
use hunyuan::{DeviceChoice, Result};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use torch_ext::attention::ALL;

const RUNS: u32 = 3;
/// Bytes of the copied buffer on a GPU and on a CPU.
const COPY_BYTES: [i64; 2] = [1 << 31, 1 << 20];

/// Mean seconds of a piece of work, after one run that is not counted.
fn seconds(on: Device, work: impl Fn() -> Result<()>) -> Result<f64> {
    work()?;
    device::synchronize(on)?;
    let began = Instant::now();
    for _ in 0..RUNS {
        work()?;
    }
    device::synchronize(on)?;
    Ok(began.elapsed().as_secs_f64() / f64::from(RUNS))
}

/// `kernels MODEL DEVICE WxHxF`.
pub(crate) fn run(model: &str, choice: DeviceChoice, [width, height, frames]: [i64; 3]) -> Result<()> {
    let on = choice.resolve()?;
    let config = ModelConfig::read(std::path::Path::new(model))?;
    let geometry = config.geometry();
    let tokens = geometry.tokens(geometry.latent_shape(width, height, frames)?) + 100;
    let (hidden, mlp) = (config.transformer.hidden_size(), config.transformer.mlp_size());
    let kind = if on == Device::Cpu { Kind::Float } else { Kind::BFloat16 };
    for (layout, row_width) in [("double", 3 * hidden), ("single", 3 * hidden + mlp)] {
        let row_widths = [row_width];
        let trial =
            attention::Trial { device: on, kind, heads: config.transformer.heads(), tokens, row_widths: &row_widths };
        for tried in attention::try_each(&trial, &ALL)? {
            let item = format!("attention {layout} {}", tried.backend);
            let extent = tokens * row_width;
            crate::tell(&match tried.outcome {
                Ok((tflops, error)) => json!({ "item": item, "tflops": tflops, "rel_error": error, "extent": extent }),
                Err(reason) => json!({ "item": item, "error": reason, "extent": extent }),
            })?;
        }
    }
    products(on, kind, [tokens, hidden, 3 * hidden + mlp])?;
    convolution(on, &config)?;
    copies(on)
}

fn products(on: Device, kind: Kind, [tokens, hidden, out]: [i64; 3]) -> Result<()> {
    let options = (kind, on);
    let (input, weight) = (Tensor::f_randn([tokens, hidden], options)?, Tensor::f_randn([out, hidden], options)?);
    let (bias, result) = (Tensor::f_zeros([out], options)?, Tensor::f_empty([tokens, out], options)?);
    let transposed = weight.f_tr()?;
    let time = seconds(on, || Ok(bias.f_addmm_out(&result, &input, &transposed).map(drop)?))?;
    let work = 2.0 * tokens as f64 * hidden as f64 * out as f64;
    crate::tell(&json!({ "item": "matrix product", "tflops": work / time / 1e12, "ms": time * 1e3 }))?;
    let norm = seconds(on, || Ok(input.f_layer_norm::<&Tensor>([hidden], None, None, 1e-6, true).map(drop)?))?;
    crate::tell(&json!({ "item": "layer norm", "ms": norm * 1e3 }))
}

/// The finest level's convolution of one tile, in the two 16-bit formats on a GPU, and the group norm before it.
fn convolution(on: Device, config: &ModelConfig) -> Result<()> {
    let channels = config.vae.block_out_channels[0];
    let (side, kinds) =
        if on == Device::Cpu { (16, vec![Kind::Float]) } else { (256, vec![Kind::BFloat16, Kind::Half]) };
    for kind in kinds {
        let options = (kind, on);
        let input = Tensor::f_randn([1, 19, side + 2, side + 2, channels], options)?.f_permute([0, 4, 1, 2, 3])?;
        let weight = Tensor::f_randn([channels, 3, 3, 3, channels], options)?.f_permute([0, 4, 1, 2, 3])?;
        let bias = Tensor::f_zeros([channels], options)?;
        let convolve = || input.f_conv3d(&weight, Some(&bias), [1, 1, 1], [0, 0, 0], [1, 1, 1], 1);
        let time = seconds(on, || Ok(convolve().map(drop)?))?;
        let work = 2.0 * 27.0 * (channels * channels * 17 * side * side) as f64;
        let out = convolve()?;
        let keeps = out.f_permute([0, 2, 3, 4, 1])?.is_contiguous();
        let scale = Tensor::f_ones([channels], options)?;
        let groups = config.vae.norm_num_groups;
        let norm = seconds(on, || Ok(out.f_group_norm(groups, Some(&scale), Some(&scale), 1e-6, true).map(drop)?))?;
        crate::tell(&json!({
            "item": format!("convolution {kind:?}"), "tflops": work / time / 1e12, "ms": time * 1e3,
            "keeps_channels_last": keeps, "group_norm_ms": norm * 1e3,
        }))?;
    }
    Ok(())
}

fn copies(on: Device) -> Result<()> {
    let bytes = COPY_BYTES[usize::from(on == Device::Cpu)];
    let (from, to) = (Tensor::f_zeros([bytes], (Kind::Uint8, on))?, Tensor::f_empty([bytes], (Kind::Uint8, on))?);
    let time = seconds(on, || Ok(to.shallow_clone().f_copy_(&from)?))?;
    crate::tell(&json!({ "item": "copy", "tb_per_s": 2.0 * bytes as f64 / time / 1e12 }))
}
