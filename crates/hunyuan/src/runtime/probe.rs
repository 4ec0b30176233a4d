//! How fast attention is on this GPU, measured once at start-up.
//!
//! The rule: which of libtorch's attention kernels runs is decided inside libtorch, and on Hopper the wrong one costs half
//! of a video's time. It cannot be asked, so it is timed, and a slow one is said in the log together with what to do.

use std::time::Instant;

use tch::{Cuda, Device, Kind, Tensor};

use crate::runtime::error::{InOp, Result};

/// Tokens of the timed attention: enough to reach a kernel's full speed, little enough for a fraction of a second.
const TOKENS: i64 = 8192;
const WARMUP_RUNS: usize = 3;
const TIMED_RUNS: usize = 10;
/// Below this a Hopper GPU runs a kernel of the generation before.
const SLOW_ON_HOPPER_TFLOPS: f64 = 450.0;
const HOPPER: [&str; 4] = ["H100", "H200", "H800", "GH200"];

/// TFLOP/s of attention with a model's heads (their number and their width), or none on a CPU. Warns in the log when it is too slow for the card.
///
/// # Errors
/// libtorch.
pub fn attention_tflops(device: Device, kind: Kind, [heads, dim]: [i64; 2]) -> Result<Option<f64>> {
    let Device::Cuda(index) = device else { return Ok(None) };
    let index = i64::try_from(index).unwrap_or(0);
    let qkv = Tensor::f_ones([1, heads, TOKENS, dim], (kind, device)).in_op("attention probe")?;
    let attend = |runs: usize| -> Result<()> {
        for _ in 0..runs {
            let _ = Tensor::f_scaled_dot_product_attention::<&Tensor>(&qkv, &qkv, &qkv, None, 0.0, false, None, false)
                .in_op("attention probe")?;
        }
        Cuda::synchronize(index);
        Ok(())
    };
    attend(WARMUP_RUNS)?;
    let started = Instant::now();
    attend(TIMED_RUNS)?;
    let seconds = started.elapsed().as_secs_f64() / TIMED_RUNS as f64;
    let tflops = 4.0 * (TOKENS * TOKENS * heads * dim) as f64 / seconds / 1e12;
    let class = crate::runtime::device::class(device);
    if kind != Kind::Float && HOPPER.iter().any(|name| class.contains(name)) && tflops < SLOW_ON_HOPPER_TFLOPS {
        tracing::warn!(
            tflops,
            device = class,
            "attention runs on a slow kernel; install libtorch with its own cuDNN (scripts/setup-libtorch) and keep other cuDNN versions off LD_LIBRARY_PATH"
        );
    } else {
        tracing::info!(tflops, device = class, "attention measured");
    }
    Ok(Some(tflops))
}
