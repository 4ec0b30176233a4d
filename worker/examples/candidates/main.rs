//! Measures candidates on a model: how well the chosen seed follows the prompt, against the average and the best possible choice,
//! and what it costs against rendering all seeds.
//!
//! ```sh
//! cargo run --release -p worker --example candidates -- models/default --prompts 100
//! ```
//!
//! All seeds of a prompt are rendered to their end, so that the choice can be compared with what it passed over; the seconds that
//! candidates would have taken are added up from the steps. The pixel reader that reports is not the judge that chooses.

use std::{io::Write, ops::ControlFlow, path::PathBuf, time::Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use domain::ModelManifest;
use domain::draft::{candidate_seed, draft_steps};
use hunyuan::{Control, DenoiseRequest, DeviceChoice, Engine, EngineOptions, LatentRgb};
use optimizer::judge::{Entry, places};
use testkit::shapes::{self, Clip, Scene, Score};
use worker::measure::measure;

/// Compare the chosen candidate with the others.
#[derive(Debug, Parser)]
struct Arguments {
    /// Model folder
    model: PathBuf,
    /// Held-out prompts
    #[arg(long, default_value_t = 100)]
    prompts: usize,
    /// Seeds of each
    #[arg(long, default_value_t = 4)]
    candidates: u32,
    /// Denoising steps of a whole run
    #[arg(long, default_value_t = 25)]
    steps: u32,
    /// Share of the steps that a draft takes
    #[arg(long, default_value_t = 0.25)]
    draft_share: f64,
}

/// One seed, rendered to its end.
struct Rendered {
    entry: Entry,
    score: Score,
    /// Seconds up to the draft, and from there on, decoding included.
    draft_s: f64,
    rest_s: f64,
    preview_s: f64,
}

/// Sums over all prompts.
#[derive(Default)]
struct Sums {
    average: Vec<Score>,
    chosen: Vec<Score>,
    best: Vec<Score>,
    candidates_s: f64,
    all_s: f64,
    one_s: f64,
    preview_s: f64,
    denoise_s: f64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let path = arguments.model.join("fleet.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest = ModelManifest::parse(&text)?;
    let options = EngineOptions { device: DeviceChoice::Cpu, threads: Some(1), ..EngineOptions::new(&arguments.model) };
    let engine = Engine::load(&options)?;
    let factors = LatentRgb::of_folder(&arguments.model, engine.info().geometry.channels)?;
    let factors = factors.context("the model folder has no preview factors; run `worker fit-preview`")?;
    let mut sums = Sums::default();
    for scene in held_out(arguments.prompts)? {
        let seeds = (0..arguments.candidates).map(|index| candidate_seed(0, index));
        let rendered = seeds
            .map(|seed| render(&engine, &manifest, &factors, &arguments, &scene, seed))
            .collect::<anyhow::Result<Vec<_>>>()?;
        sums.add(&rendered, scene.motion != "stay");
    }
    report(&arguments, &sums)
}

/// `count` scenes that were not trained, evenly spread over all of them.
fn held_out(count: usize) -> anyhow::Result<Vec<Scene>> {
    let all: Vec<Scene> = Scene::all().into_iter().filter(Scene::is_held_out).collect();
    ensure!((1..=all.len()).contains(&count), "--prompts {count}: there are {} held-out scenes", all.len());
    Ok((0..count).map(|index| all[index * all.len() / count]).collect())
}

fn render(
    engine: &Engine,
    manifest: &ModelManifest,
    factors: &LatentRgb,
    arguments: &Arguments,
    scene: &Scene,
    seed: u64,
) -> anyhow::Result<Rendered> {
    let control = Control::new();
    let embeddings = engine.encode(&[scene.prompt().as_str()], &control)?.pop().context("no embeddings")?;
    let size = manifest.sizes.first().and_then(|size| size.aspects.first()).context("fleet.toml names no size")?;
    let request = DenoiseRequest {
        width: i64::from(size.width),
        height: i64::from(size.height),
        frames: i64::from(manifest.length.rendered_at_max),
        steps: arguments.steps as usize,
        flow_shift: Some(manifest.sampling.flow_shift),
        ..DenoiseRequest::new(engine.defaults(), embeddings, seed)
    };
    let until = draft_steps(arguments.steps, arguments.draft_share) as usize;
    let (begun, mut draft_s, mut preview_s, mut scores) = (Instant::now(), 0.0, 0.0, None);
    let denoised = engine.denoise(&request, None, &control, &mut |end| {
        if end.step == until {
            draft_s = begun.elapsed().as_secs_f64();
            let making = Instant::now();
            let frames = end.estimate().ok().flatten().and_then(|latents| factors.frames(&latents).ok());
            preview_s = making.elapsed().as_secs_f64();
            scores = frames.as_ref().map(measure);
        }
        ControlFlow::Continue(())
    })?;
    let frames = engine.decode(&denoised.latents, &control, &mut |_, _| {})?;
    let rest_s = begun.elapsed().as_secs_f64() - draft_s;
    let rgb = frames.rgb8()?;
    let (width, height) = (size.width as usize, size.height as usize);
    let mut score = Score::default();
    score.add(scene, &shapes::read(Clip { rgb: &rgb, width, height }));
    let entry = Entry { seed, scores: scores.context("no preview at the draft's step")? };
    Ok(Rendered { entry, score, draft_s, rest_s, preview_s })
}

/// Properties of one clip that are right, 0 to 5.
fn right(score: &Score) -> u32 {
    score.background + score.color + score.motion + score.shape + score.size
}

impl Sums {
    fn add(&mut self, rendered: &[Rendered], wants_motion: bool) {
        let entries: Vec<Entry> = rendered.iter().map(|one| one.entry).collect();
        let places = places(&entries, wants_motion);
        let chosen = places.iter().position(|place| *place == 1).unwrap_or_default();
        let best = rendered.iter().map(|one| one.score).max_by_key(right).unwrap_or_default();
        self.average.extend(rendered.iter().map(|one| one.score));
        self.chosen.push(rendered[chosen].score);
        self.best.push(best);
        let drafts_s: f64 = rendered.iter().map(|one| one.draft_s).sum();
        let rests_s: f64 = rendered.iter().map(|one| one.rest_s).sum();
        self.candidates_s += drafts_s + rendered[chosen].rest_s;
        self.all_s += drafts_s + rests_s;
        self.one_s += (drafts_s + rests_s) / rendered.len() as f64;
        self.preview_s += rendered.iter().map(|one| one.preview_s).sum::<f64>();
        self.denoise_s += drafts_s;
    }
}

fn report(arguments: &Arguments, sums: &Sums) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let share = |scores: &[Score], of: &dyn Fn(&Score) -> u32, most: f64| {
        100.0 * scores.iter().map(|score| f64::from(of(score))).sum::<f64>() / (scores.len() as f64 * most)
    };
    let Arguments { prompts, candidates, steps, .. } = arguments;
    let until = draft_steps(*steps, arguments.draft_share);
    writeln!(out, "{prompts} held-out prompts, {candidates} seeds, {steps} steps, drafts of {until}\n")?;
    writeln!(out, "| seeds | properties as asked | motion | shape | all five |\n|---|---:|---:|---:|---:|")?;
    let rows = [("average", &sums.average), ("chosen", &sums.chosen), ("best possible", &sums.best)];
    for (name, scores) in rows {
        writeln!(
            out,
            "| {name} | {:.1} % | {:.1} % | {:.1} % | {:.1} % |",
            share(scores, &right, 5.0),
            share(scores, &|score| score.motion, 1.0),
            share(scores, &|score| score.shape, 1.0),
            share(scores, &|score| score.all, 1.0)
        )?;
    }
    writeln!(
        out,
        "\nSeconds per prompt: {:.2} for one run, {:.2} for all seeds, {:.2} with candidates: {:.2} runs. \
         A preview took {:.2} ms, {:.2} % of a step.",
        sums.one_s / *prompts as f64,
        sums.all_s / *prompts as f64,
        sums.candidates_s / *prompts as f64,
        sums.candidates_s / sums.one_s,
        1000.0 * sums.preview_s / sums.average.len() as f64,
        100.0 * sums.preview_s / (sums.denoise_s / f64::from(until))
    )?;
    out.flush().context("print")
}
