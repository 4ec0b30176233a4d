//! The worker of the fault tests: the product's worker with a renderer that waits at the tests' gates.
//!
//! An example, not a binary, so that `cargo build --bins` and the images never contain it. Two variables:
//! - `FLEET_TEST_GATES` names the folder of the gates (see [`gates`]); without it nothing waits.
//! - `FLEET_TEST_RENDERER` is `model` for the real model behind the gates, or `quick` for one that takes no time: its
//!   video is a hash of seed, prompt and steps, so that a run which lost or repeated a step produces a different video.

mod gates;
mod model;
mod quick;

use std::process::ExitCode;

use gates::Gates;
use worker::engine::HunyuanRenderer;
use worker::fleet::run::run_with;

fn main() -> ExitCode {
    let gates = Gates::from_environment();
    let worked = match std::env::var("FLEET_TEST_RENDERER").as_deref() {
        Ok("model") => run_with(move |options| Ok(model::GatedModel::new(HunyuanRenderer::load(options)?, gates))),
        _ => run_with(move |options| quick::Quick::new(&options.model_dir, options.memory_bytes, gates)),
    };
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the test shows it")]
            {
                eprintln!("gated worker: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
