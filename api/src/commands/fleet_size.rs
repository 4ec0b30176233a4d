//! `api fleet-size`: how many GPUs a load requires, estimated by the same planner that plans jobs.
//!
//! It needs no running service: the model's manifest and the settings are enough. A fleet's own runs may be faster or slower; the
//! estimates on the page follow them, while this table shows what to start with.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use domain::model::RenderShape;
use domain::{ModelManifest, QualityTier, VideoRequest};
use optimizer::cost::on_devices;
use optimizer::price_usd;
use settings::Settings;

/// Share of the time in which a GPU is assumed to render. The rest is for waiting for the next job, restarts and bursts.
const BUSY_SHARE: f64 = 0.8;
/// Tiers of the table, cheapest first.
const TIERS: [QualityTier; 4] = [QualityTier::Preview, QualityTier::Standard, QualityTier::Auto, QualityTier::Premium];

/// The load to estimate for.
#[derive(Debug, Args)]
pub struct FleetSizeArgs {
    /// Model folder or fleet.toml file [default: the default model of the settings].
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Videos to finish per hour.
    #[arg(long, default_value_t = 100.0)]
    videos_per_hour: f64,
    /// Share of prompts whose embeddings are cached, 0 to 1.
    #[arg(long, default_value_t = 0.35)]
    hit_rate: f64,
    /// GPUs of each worker, which compute a video together.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
}

/// What the table is for.
#[derive(Debug, Clone, Copy)]
struct Load {
    videos_per_hour: f64,
    hit_rate: f64,
    devices: u32,
}

impl From<&FleetSizeArgs> for Load {
    fn from(args: &FleetSizeArgs) -> Self {
        Self { videos_per_hour: args.videos_per_hour, hit_rate: args.hit_rate, devices: args.devices }
    }
}

/// Prints the table.
///
/// # Errors
/// A manifest cannot be read, or an argument is out of range.
pub fn print(settings: &Settings, args: &FleetSizeArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.videos_per_hour > 0.0 && args.videos_per_hour.is_finite(),
        "--videos-per-hour must be greater than 0"
    );
    anyhow::ensure!((0.0..=1.0).contains(&args.hit_rate), "--hit-rate must be between 0 and 1");
    let manifest = match &args.model {
        Some(path) => read(path)?,
        None => {
            let all = settings.models.manifests()?;
            let default = &settings.models.default;
            all.into_iter()
                .find(|manifest| manifest.id == *default)
                .with_context(|| format!("models.default: model '{default}' is not in any of models.dirs"))?
        }
    };
    let text = table(settings, &manifest, args.into())?;
    std::io::stdout().write_all(text.as_bytes()).context("print the table")
}

fn read(path: &Path) -> anyhow::Result<ModelManifest> {
    if path.is_dir() {
        return Ok(settings::read_manifest(path)?);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(ModelManifest::parse(&text)?)
}

/// The estimate of a size in a tier.
struct Row {
    shape: RenderShape,
    steps: u32,
    memory_bytes: u64,
    /// Of a video, with the load's share of cached prompts.
    seconds: f64,
}

/// Estimates a named size at the longest length in a tier, with the middle of the tier's range of steps.
fn row(
    settings: &Settings,
    manifest: &ModelManifest,
    size: &str,
    tier: QualityTier,
    load: Load,
) -> anyhow::Result<Row> {
    let planner = settings.planner();
    let manifest = &ModelManifest { cost_prior: on_devices(&manifest.cost_prior, load.devices), ..manifest.clone() };
    let shape = manifest.shape(size, None, manifest.length.max);
    let shape = shape.map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(|error| format!("{} {}", error.field, error.reason)).collect();
        anyhow::anyhow!("{size}: {}", errors.join("; "))
    })?;
    let range = planner.steps_range(manifest, tier);
    let mut request = VideoRequest {
        video_size: size.to_owned(),
        quality_tier: tier,
        infer_steps: range.min.midpoint(range.max),
        ..VideoRequest::new("a video")
    };
    request.fill_guidance(manifest);
    let planned = planner.plan(&request, manifest, shape);
    let plan = &planned.plan;
    let seconds = load.hit_rate * plan.estimate_cached_s + (1.0 - load.hit_rate) * plan.estimate_s;
    Ok(Row { shape: planned.shape, steps: plan.steps, memory_bytes: plan.memory_bytes, seconds })
}

/// The table as Markdown: each named size of the model in each tier.
fn table(settings: &Settings, manifest: &ModelManifest, load: Load) -> anyhow::Result<String> {
    let gpu_hour_usd = settings.cost.gpu_hour_usd;
    let (videos_per_hour, gpus) = (load.videos_per_hour, f64::from(load.devices));
    let mut text = format!(
        "| size | tier | steps | memory, GB | minutes per video | videos per GPU-hour | GPUs for {videos_per_hour} videos per hour | $ per video |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n"
    );
    for size in &manifest.sizes {
        for tier in TIERS {
            let Row { shape, steps, memory_bytes, seconds } = row(settings, manifest, &size.name, tier, load)?;
            let an_hour = 3600.0 / seconds;
            #[expect(clippy::cast_precision_loss, reason = "bytes of a GPU are far below 2^52")]
            let memory = memory_bytes as f64 / 1e9;
            writeln!(
                text,
                "| {} {}x{}x{} | {tier} | {steps} | {memory:.0} | {:.1} | {:.1} | {:.0} | {:.2} |",
                size.name,
                shape.width,
                shape.height,
                shape.frames,
                seconds / 60.0,
                an_hour / gpus,
                (videos_per_hour / (an_hour * BUSY_SHARE)).ceil() * gpus,
                price_usd(seconds * gpus, gpu_hour_usd),
            )
            .context("write the table")?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use optimizer::{CostModel, Work};

    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    const LOAD: Load = Load { videos_per_hour: 100.0, hit_rate: 0.35, devices: 1 };

    /// `docs/operations.md` contains what several GPUs are expected to gain in the premium tier.
    #[test]
    fn the_documented_projection_for_several_gpus_matches_the_planner() {
        let manifest = read(&repository().join("models/hunyuanvideo.fleet.toml")).unwrap();
        let settings = Settings::defaults();
        let seconds = |size: &str, devices: u32| {
            row(&settings, &manifest, size, QualityTier::Premium, Load { devices, ..LOAD }).unwrap().seconds
        };
        let mut wanted =
            "| size | GPUs | minutes per video | times as fast | $ per video |\n|---|---:|---:|---:|---:|\n".to_owned();
        for size in &manifest.sizes {
            let (name, alone) = (&size.name, seconds(&size.name, 1));
            for devices in [1, 2, 4, 8] {
                let (own, gpus) = (seconds(name, devices), f64::from(devices));
                let usd = price_usd(own * gpus, settings.cost.gpu_hour_usd);
                writeln!(wanted, "| {name} | {devices} | {:.1} | {:.1} | {usd:.2} |", own / 60.0, alone / own).unwrap();
            }
        }
        let document = std::fs::read_to_string(repository().join("docs/operations.md")).unwrap();
        let after = document.split_once("<!-- several-gpus: begin -->\n").unwrap().1;
        assert_eq!(after.split_once("<!-- several-gpus: end -->").unwrap().0, wanted);
    }

    /// `docs/operations.md` contains the output of `api fleet-size --model models/hunyuanvideo.fleet.toml`.
    #[test]
    fn the_documented_table_matches_the_planner() {
        let manifest = read(&repository().join("models/hunyuanvideo.fleet.toml")).unwrap();
        let wanted = table(&Settings::defaults(), &manifest, LOAD).unwrap();
        let document = std::fs::read_to_string(repository().join("docs/operations.md")).unwrap();
        let after = document.split_once("<!-- fleet-size: begin -->\n").unwrap().1;
        assert_eq!(after.split_once("<!-- fleet-size: end -->").unwrap().0, wanted);
    }

    #[test]
    fn a_distilled_model_is_estimated_with_its_own_steps() {
        let text = std::fs::read_to_string(repository().join("models/hunyuanvideo.fleet.toml")).unwrap();
        let distilled = text.replace("steps_max = 100", "steps_max = 6");
        assert_ne!(distilled, text);
        let manifest = ModelManifest::parse(&distilled).unwrap();
        for adaptive_steps in [true, false] {
            let mut settings = Settings::defaults();
            settings.optimization.adaptive_steps = adaptive_steps;
            let table = table(&settings, &manifest, LOAD).unwrap();
            let steps: Vec<_> = table.lines().skip(2).map(|line| line.split('|').nth(3).unwrap().trim()).collect();
            assert_eq!(steps, ["6"; 8], "{table}");
        }
    }

    #[test]
    fn a_tier_that_caps_the_size_is_estimated_at_that_size() {
        let manifest = read(&repository().join("models/hunyuanvideo.fleet.toml")).unwrap();
        let mut settings = Settings::defaults();
        settings.tiers.preview.size_max = "540p".to_owned();
        let table = table(&settings, &manifest, LOAD).unwrap();
        assert!(table.contains("| 720p 960x544x129 | preview | 15 | 50 |"), "{table}");
    }

    #[test]
    fn the_released_model_has_the_expected_sizes_and_estimates() {
        let manifest = read(&repository().join("models/hunyuanvideo.fleet.toml")).unwrap();
        let shape = manifest.shape("540p", None, 129).unwrap();
        assert_eq!(
            (shape.width, shape.height, shape.frames, shape.tokens(&manifest.geometry)),
            (960, 544, 129, 67_320)
        );
        assert!((shape.fps - 24.0).abs() < 1e-9);
        let large = manifest.shape("720p", None, 129).unwrap();
        assert_eq!((large.width, large.height, large.tokens(&manifest.geometry)), (1280, 720, 118_800));
        assert!(
            manifest.memory.need_bytes(large.tokens(&manifest.geometry)) < 80_000_000_000,
            "the largest job fits on an 80 GB GPU"
        );
        // Reference times that the cost model must reproduce: 18 steps uncached 4.5 minutes, 25 steps cached 5.2, 45 steps
        // uncached 9.9.
        let cost = CostModel::from_prior(&manifest.cost_prior);
        for (steps, hit, minutes) in [(18, false, 4.5), (25, true, 5.2), (45, false, 9.9)] {
            let work = Work {
                tokens: shape.tokens(&manifest.geometry),
                steps,
                passes: 1,
                threshold: 0.0,
                interpolated_mpx: 0.0,
                lower: None,
            };
            assert!((cost.estimate_s(&work, hit) / 60.0 - minutes).abs() < 0.05, "{steps} steps");
        }
    }
}
