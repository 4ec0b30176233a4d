//! Time and memory of the whole pipeline with weights of the real size: loading, encoding, steps, a stop, decoding.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use hunyuan::v1::{
    config::{ModelConfig, TransformerConfig},
    text,
};
use hunyuan::{Checkpoint, Control, DenoiseRequest, DeviceChoice, Embeddings, Engine, Error, Result, runtime::device};
use serde_json::{Value, json};

/// `worker.drain_s`: what a worker has to hand its job back.
const DRAIN_S: f64 = 10.0;
/// Blocks to let pass before the stop, and the pause between two looks.
const BLOCKS_BEFORE_STOP: u64 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(1);
const PROMPT: &str = "a red paper boat drifts over a still lake at sunrise while the camera slowly moves closer";

/// `speed MODEL DEVICE WxHxFxSTEPS...`: each size's steps after the first; stop and decode at the last size.
pub(crate) fn run(model: &str, choice: DeviceChoice, sizes: &[&str]) -> Result<()> {
    let sizes = sizes.iter().map(|size| crate::numbers::<4>(size)).collect::<Result<Vec<_>>>()?;
    let last = sizes[sizes.len() - 1];
    let largest = [last[0], last[1], last[2]];
    let config = ModelConfig::read(std::path::Path::new(model))?;
    let began = Instant::now();
    let engine = crate::random_engine(model, choice, largest)?;
    let on = choice.resolve()?;
    device::synchronize(on)?;
    let info = engine.info();
    crate::tell(&json!({
        "item": "load", "seconds": seconds(began), "device": info.device_class, "parameters": info.parameters,
        "resident_bytes": info.resident_bytes, "peak_bytes": device::peak_memory_bytes(on),
        "formats": [info.dtype.to_string(), info.encoder_dtype.to_string(), info.decoder_dtype.to_string()],
        "attention": info.attention.as_ref().map(|chosen| json!({
            "backend": chosen.backend.as_str(), "tflops": chosen.tflops,
            "tried": chosen.tried.iter().map(|tried| (tried.backend.as_str().to_owned(), match &tried.outcome {
                Ok((tflops, error)) => json!({ "tflops": tflops, "rel_error": error }),
                Err(reason) => json!({ "error": reason }),
            })).collect::<serde_json::Map<_, _>>(),
        })),
    }))?;
    let embeddings = encode(&engine)?;
    for size in &sizes {
        steps((&engine, &config.transformer), &embeddings, *size, on)?;
    }
    stop(&engine, &embeddings, largest)?;
    drain(&engine, &embeddings, largest)?;
    decode(&engine, &embeddings, largest, on)
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// A prompt twice: the first call pays for starting up.
fn encode(engine: &Engine) -> Result<Embeddings> {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..2 {
        let began = Instant::now();
        last = engine.encode(&[PROMPT], &Control::new())?.pop();
        times.push(seconds(began));
    }
    let embeddings = last.ok_or_else(|| Error::input("prompt", "was not encoded"))?;
    crate::tell(
        &json!({ "item": "encode", "seconds": times[1], "first_seconds": times[0], "tokens": text_tokens(&embeddings)? }),
    )?;
    Ok(embeddings)
}

fn request(
    engine: &Engine,
    embeddings: &Embeddings,
    [width, height, frames]: [i64; 3],
    steps: usize,
) -> DenoiseRequest {
    DenoiseRequest { width, height, frames, steps, ..DenoiseRequest::new(engine.defaults(), embeddings.share(), 11) }
}

fn steps(
    (engine, config): (&Engine, &TransformerConfig),
    embeddings: &Embeddings,
    [width, height, frames, steps]: [i64; 4],
    on: tch::Device,
) -> Result<()> {
    let timed = usize::try_from(steps).unwrap_or(1);
    let mut times = Vec::new();
    let asked = request(engine, embeddings, [width, height, frames], timed + 1);
    engine.denoise(&asked, None, &Control::new(), &mut |end| {
        times.push(end.seconds);
        ControlFlow::Continue(())
    })?;
    let first = times.remove(0);
    times.sort_by(f64::total_cmp);
    let step_s = times.get(times.len() / 2).copied().unwrap_or(first);
    let geometry = &engine.info().geometry;
    let tokens = geometry.tokens(geometry.latent_shape(width, height, frames)?);
    let tflop = tflop(config, tokens + text_tokens(embeddings)?);
    crate::tell(&json!({
        "item": format!("steps {width}x{height}x{frames}"), "tokens": tokens, "step_s": step_s, "first_step_s": first,
        "tflop_a_step": tflop, "tflops": tflop / step_s, "peak_bytes": device::peak_memory_bytes(on),
    }))
}

/// Tokens of a prompt.
fn text_tokens(embeddings: &Embeddings) -> Result<i64> {
    Ok(embeddings.get(text::PROMPT)?.size()[1])
}

/// Multiplications and additions of one forward pass, in 10^12: matrix products and attention over all tokens.
fn tflop(config: &TransformerConfig, tokens: i64) -> f64 {
    let (tokens, width) = (tokens as f64, config.hidden_size() as f64);
    let blocks = (config.num_layers + config.num_single_layers) as f64;
    // q, k, v, output and the MLP's two products: 12 width^2 a token, in a single block as in each stream of a double one.
    (2.0 * 12.0 * width * width * tokens + 4.0 * tokens * tokens * width) * blocks / 1e12
}

/// Seconds from asking a run in the middle of a step to stop until it has stopped.
fn stop(engine: &Engine, embeddings: &Embeddings, size: [i64; 3]) -> Result<()> {
    let control = Control::new();
    // A model with few blocks is stopped within its second step instead.
    let asking = cancel_at(&control, BLOCKS_BEFORE_STOP.min(engine.checks().0 + 2));
    let outcome =
        engine.denoise(&request(engine, embeddings, size, 50), None, &control, &mut |_| ControlFlow::Continue(()));
    let stopped = Instant::now();
    let asked = asking.join().map_err(|_| Error::input("stop", "the thread that asks has panicked"))?;
    let cancelled = matches!(outcome, Err(Error::Cancelled));
    crate::tell(&json!({
        "item": "stop", "ok": cancelled, "seconds": stopped.saturating_duration_since(asked).as_secs_f64(),
    }))
}

/// Cancels once this many checks have passed; returns when it did so.
fn cancel_at(control: &Control, checks: u64) -> std::thread::JoinHandle<Instant> {
    let watcher = control.clone();
    std::thread::spawn(move || {
        while watcher.beats() < checks {
            std::thread::sleep(LOOK_EVERY);
        }
        let asked = Instant::now();
        watcher.cancel();
        asked
    })
}

/// What a worker does with its job on SIGTERM, up to the upload: seconds from a stop in the middle of the second step until the
/// state after the first one is a checkpoint's bytes. The worker has 10 s in all.
fn drain(engine: &Engine, embeddings: &Embeddings, size: [i64; 3]) -> Result<()> {
    let control = Control::new();
    let in_second_step = engine.checks().0 + BLOCKS_BEFORE_STOP.min(engine.checks().0 / 2).max(2);
    let asking = cancel_at(&control, in_second_step);
    let mut last = None;
    let outcome = engine.denoise(&request(engine, embeddings, size, 50), None, &control, &mut |end| {
        last = Some(end.checkpoint());
        ControlFlow::Continue(())
    });
    let bytes = last.map(|state| state.to_bytes()).transpose()?.unwrap_or_default();
    let ready = Instant::now();
    let asked = asking.join().map_err(|_| Error::input("drain", "the thread that asks has panicked"))?;
    let steps = Checkpoint::from_bytes(&bytes)?.step;
    let drained_s = ready.saturating_duration_since(asked).as_secs_f64();
    let ok = matches!(outcome, Err(Error::Cancelled)) && steps >= 1 && drained_s < DRAIN_S;
    crate::tell(&json!({
        "item": "drain", "ok": ok, "seconds": drained_s, "steps_kept": steps, "checkpoint_bytes": bytes.len(),
    }))
}

fn decode(engine: &Engine, embeddings: &Embeddings, size: [i64; 3], on: tch::Device) -> Result<()> {
    let asked = request(engine, embeddings, size, 1);
    let tensor = engine.initial_latents(&asked)?.f_to_device(on)?;
    let latents = hunyuan::Latents { tensor, width: size[0], height: size[1], frames: size[2] };
    let mut tiles = 0;
    let began = Instant::now();
    let frames = engine.decode(&latents, &Control::new(), &mut |_, total| tiles = total)?;
    let decoded = seconds(began);
    let began = Instant::now();
    let bytes = frames.rgb8()?.len();
    let value: Value = json!({
        "item": "decode", "seconds": decoded, "to_bytes_s": seconds(began), "bytes": bytes, "tiles": tiles,
        "peak_bytes": device::peak_memory_bytes(on),
    });
    crate::tell(&value)
}
