//! Measures what rendering several jobs together gains on a model, against rendering them one after the other in the same run.
//!
//! ```sh
//! cargo run --release -p worker --example batches -- models/default
//! ```
//!
//! Each round denoises as many videos alone as together, in turns, so that a busy machine slows both. The table is that of
//! docs/optimizations.md; `worker.batch_max = 0` should be what it says.

use std::{ops::ControlFlow, path::PathBuf, time::Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use domain::ModelManifest;
use hunyuan::{Control, DenoiseRequest, DeviceChoice, Embeddings, Engine, EngineOptions};

/// Compare videos that are denoised together with single ones.
#[derive(Debug, Parser)]
struct Arguments {
    /// Model folder
    model: PathBuf,
    /// Device: `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// CPU threads of libtorch
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Numbers of videos at a time
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    members: Vec<usize>,
    /// Denoising steps
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

const PROMPT: &str = "a large red ball moves to the right on the snow";

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let manifest = ModelManifest::parse(&std::fs::read_to_string(arguments.model.join("fleet.toml"))?)?;
    let options = EngineOptions {
        device: arguments.device,
        threads: Some(arguments.threads),
        ..EngineOptions::new(&arguments.model)
    };
    let engine = Engine::load(&options).context("load the model")?;
    let size = manifest.sizes.first().and_then(|size| size.aspects.first()).context("the manifest has no size")?;
    let bench = Bench {
        size: [size.width, size.height, manifest.length.rendered_at_max].map(i64::from),
        steps: arguments.steps,
        embeddings: engine.encode(&[PROMPT], &Control::new())?.pop().context("no embeddings")?,
        engine,
    };
    bench.report(&arguments)
}

struct Bench {
    engine: Engine,
    embeddings: Embeddings,
    size: [i64; 3],
    steps: usize,
}

impl Bench {
    fn requests(&self, members: usize) -> Vec<DenoiseRequest> {
        let [width, height, frames] = self.size;
        let request = |seed| DenoiseRequest {
            width,
            height,
            frames,
            steps: self.steps,
            ..DenoiseRequest::new(self.engine.defaults(), self.embeddings.share(), seed)
        };
        (1..=members as u64).map(request).collect()
    }

    /// Seconds of denoising these together.
    fn seconds(&self, requests: &[DenoiseRequest]) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let done = self.engine.denoise_batch(requests, &Control::new(), &mut |_| ControlFlow::Continue(()))?;
        ensure!(done.len() == requests.len(), "{} of {} videos", done.len(), requests.len());
        Ok(begun.elapsed().as_secs_f64())
    }

    #[expect(clippy::print_stdout, reason = "its purpose")]
    fn report(&self, arguments: &Arguments) -> anyhow::Result<()> {
        let most = arguments.members.iter().copied().max().unwrap_or(1);
        let requests = self.requests(most);
        let alone = |members: usize| -> anyhow::Result<f64> {
            requests[..members].iter().map(|one| self.seconds(std::slice::from_ref(one))).sum()
        };
        // The first passes allocate.
        self.seconds(&requests[..1])?;
        let info = self.engine.info();
        let tokens = info.geometry.tokens(info.geometry.latent_shape(self.size[0], self.size[1], self.size[2])?);
        println!("{}: {} threads, {tokens} video tokens, {} steps", info.device_class, info.threads, self.steps);
        println!(
            "\n| videos together | ms per video and step | videos per second against single runs |\n|---:|---:|---:|"
        );
        for &members in &arguments.members {
            let (mut together, mut ratios) = (Vec::new(), Vec::new());
            for round in 0..arguments.rounds.max(1) {
                // The order alternates, in case the machine warms up or cools down.
                let (batch_s, single_s) = if round % 2 == 0 {
                    (self.seconds(&requests[..members])?, alone(members)?)
                } else {
                    let single_s = alone(members)?;
                    (self.seconds(&requests[..members])?, single_s)
                };
                together.push(batch_s * 1e3 / (members * self.steps) as f64);
                ratios.push(single_s / batch_s);
            }
            println!("| {members} | {:.1} | {:.2} |", median(&mut together), median(&mut ratios));
        }
        Ok(())
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
