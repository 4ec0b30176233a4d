//! Renders many videos with several engines, some together.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, anyhow};
use domain::ModelManifest;
use hunyuan::{Control, DenoiseRequest, DeviceChoice, Engine, EngineOptions, Progressive, StepCacheConfig};
use testkit::shapes::{self, Clip, Reading};

/// Videos that one engine renders together.
const TOGETHER: usize = 8;

/// One video to render.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) prompt: String,
    pub(crate) seed: u64,
    pub(crate) steps: usize,
    pub(crate) cache: StepCacheConfig,
    pub(crate) early: Option<Progressive>,
}

/// One rendered video.
#[derive(Debug)]
pub(crate) struct Video {
    /// Rows of RGB bytes, frame after frame.
    pub(crate) rgb: Vec<u8>,
    /// Steps that the step cache did not save.
    pub(crate) computed: usize,
    /// Those of them at half the size.
    pub(crate) lower_computed: usize,
    /// Seconds of each round of steps that computed something, and whether it was at half the size.
    pub(crate) seconds: Vec<(f64, bool)>,
}

/// A model folder and how many engines may work at once.
#[derive(Debug)]
pub(crate) struct Farm {
    model: PathBuf,
    jobs: usize,
    manifest: ModelManifest,
    size: (usize, usize),
}

impl Farm {
    pub(crate) fn new(model: &Path, jobs: usize) -> anyhow::Result<Self> {
        let path = model.join("fleet.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let manifest = ModelManifest::parse(&text)?;
        let size = manifest.sizes.first().and_then(|size| size.aspects.first()).context("fleet.toml names no size")?;
        let size = (usize::try_from(size.width)?, usize::try_from(size.height)?);
        Ok(Self { model: model.to_owned(), jobs: jobs.max(1), manifest, size })
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// The model's description.
    pub(crate) fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// The model's example prompts.
    pub(crate) fn examples(&self) -> &[String] {
        &self.manifest.examples
    }

    /// What the reader sees in a video.
    pub(crate) fn read(&self, video: &Video) -> Reading {
        shapes::read(Clip { rgb: &video.rgb, width: self.size.0, height: self.size.1 })
    }

    /// Renders all, in the order of the plan.
    pub(crate) fn render(&self, plan: &[Plan]) -> anyhow::Result<Vec<Video>> {
        let groups: Vec<&[Plan]> = plan.chunks(TOGETHER).collect();
        let next = AtomicUsize::new(0);
        let work = || -> anyhow::Result<Vec<(usize, Vec<Video>)>> {
            let engine = self.engine()?;
            let mut done = Vec::new();
            while let Some((index, group)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                groups.get(index).map(|group| (index, *group))
            } {
                done.push((index, self.render_group(&engine, group)?));
            }
            Ok(done)
        };
        let mut done = thread::scope(|scope| {
            let jobs: Vec<_> = (0..self.jobs.min(groups.len())).map(|_| scope.spawn(work)).collect();
            let mut done = Vec::new();
            for job in jobs {
                done.extend(job.join().map_err(|_| anyhow!("a job panicked"))??);
            }
            Ok::<_, anyhow::Error>(done)
        })?;
        done.sort_by_key(|(index, _)| *index);
        Ok(done.into_iter().flat_map(|(_, videos)| videos).collect())
    }

    fn engine(&self) -> anyhow::Result<Engine> {
        let options = EngineOptions { device: DeviceChoice::Cpu, threads: Some(1), ..EngineOptions::new(&self.model) };
        Ok(Engine::load(&options)?)
    }

    fn render_group(&self, engine: &Engine, group: &[Plan]) -> anyhow::Result<Vec<Video>> {
        let control = Control::new();
        let prompts: Vec<&str> = group.iter().map(|plan| plan.prompt.as_str()).collect();
        let embeddings = engine.encode(&prompts, &control)?;
        let requests: Vec<DenoiseRequest> = embeddings
            .into_iter()
            .zip(group)
            .map(|(embeddings, plan)| DenoiseRequest {
                width: self.size.0 as i64,
                height: self.size.1 as i64,
                frames: i64::from(self.manifest.length.rendered_at_max),
                steps: plan.steps,
                flow_shift: Some(self.manifest.sampling.flow_shift),
                step_cache: plan.cache,
                progressive: plan.early,
                ..DenoiseRequest::new(engine.defaults(), embeddings, plan.seed)
            })
            .collect();
        let mut seconds = Vec::new();
        let denoised = engine.denoise_batch(&requests, &control, &mut |end| {
            if end.item == 0 && !end.skipped {
                let lower = group[0].early.is_some_and(|early| end.step <= early.steps);
                seconds.push((end.seconds / group.len() as f64, lower));
            }
            ControlFlow::Continue(())
        })?;
        let latents: Vec<_> = denoised.iter().map(|video| &video.latents).collect();
        let decoded = engine.decode_batch(&latents, &control, &mut |_, _| {})?;
        let mut videos = Vec::new();
        for (frames, denoised) in decoded.iter().zip(&denoised) {
            let counts = &denoised.counts;
            videos.push(Video {
                rgb: frames.rgb8()?,
                computed: counts.computed,
                lower_computed: counts.lower[0],
                seconds: std::mem::take(&mut seconds),
            });
        }
        Ok(videos)
    }
}
