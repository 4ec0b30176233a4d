//! Every fixture through the engine, against the reference: noise, schedule, first prediction, latents, frames.

#![expect(clippy::print_stdout, reason = "the measured distances are worth reading even where they pass")]

use std::ops::ControlFlow;

use hunyuan::{Control, Dtype, Engine, Latents};
use tch::Tensor;

use crate::fixture::{Fixture, decode, distance, psnr};

/// What fp32 must reach (absolute, values of order one), and frames in dB.
const NOISE_PRED: f64 = 1e-4;
/// Sigmas that the reference makes with another library's `linspace` may be off by the last bit.
const SIGMAS: f64 = 1e-7;
const LATENTS: f64 = 1e-3;
const FRAMES_DB: f64 = 60.0;
/// What 16-bit formats must reach against the reference in the same format.
const HALF_FRAMES_DB: f64 = 35.0;

#[test]
fn every_fixture_agrees_with_the_reference() {
    let fixtures = Fixture::all();
    assert!(!fixtures.is_empty());
    if fixtures.iter().all(|fixture| fixture.dtype() == Dtype::F32)
        || fixtures.iter().all(|fixture| fixture.case.tiling.is_none())
    {
        panic!("a 16-bit and a tiled fixture are part of the comparison");
    }
    let mut failures = Vec::new();
    for fixture in fixtures {
        let engine = fixture.engine();
        let request = fixture.request();
        let noise = engine.initial_latents(&request).unwrap();
        let mut check = |what: &str, value: f64, good: bool| {
            println!("{}: {what} {value:.3e}", fixture.name);
            if !good {
                failures.push(format!("{}: {what} {value:.3e}", fixture.name));
            }
        };
        check(
            "noise",
            distance(&noise, &fixture.tensor("initial_latents")),
            noise.equal(&fixture.tensor("initial_latents")),
        );
        let schedule = engine.schedule(&request).unwrap();
        let sigmas = distance(&Tensor::from_slice(schedule.sigmas()), &fixture.tensor("sigmas"));
        check("sigmas", sigmas, sigmas <= SIGMAS);
        let mut first = None;
        let done = engine
            .denoise(&request, None, &Control::new(), &mut |end| {
                if end.step == 1 {
                    first = end.velocity().map(Tensor::shallow_clone);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        let full = fixture.dtype() == Dtype::F32;
        if fixture.has("noise_pred_0") {
            let difference = distance(&first.unwrap(), &fixture.tensor("noise_pred_0"));
            check("noise_pred_0", difference, !full || difference <= NOISE_PRED);
        }
        let difference = distance(&done.latents.tensor, &fixture.tensor("latents"));
        check("latents", difference, !full || difference <= LATENTS);
        let limit = if full { FRAMES_DB } else { HALF_FRAMES_DB };
        let mut compare = |engine: &Engine, recorded: &str| {
            let whole = psnr(decode(engine, &done.latents).tensor(), &fixture.tensor(recorded));
            check(&format!("{recorded} (dB)"), whole, whole >= limit);
            // The decoder alone, from the reference's own latents, so that errors of the transformer cannot hide behind
            // those of the decoder or the reverse.
            let (width, height, frames) = (fixture.case.width, fixture.case.height, fixture.case.frames);
            let latents = Latents { tensor: fixture.tensor("latents"), width, height, frames };
            let alone = psnr(decode(engine, &latents).tensor(), &fixture.tensor(recorded));
            check(&format!("{recorded} of its latents (dB)"), alone, alone >= limit);
        };
        compare(&engine, "frames");
        if let Some(tiled) = fixture.tiled_engine() {
            compare(&tiled, "frames_tiled");
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
