//! `api fleet-size`: how many GPUs a load needs, by the same cost model that plans jobs.
//!
//! It asks no service: the model folder's prior and the tiers of the settings are enough. Own runs are faster or slower; the
//! page's estimates follow them, this table shows what to begin with.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use domain::{ModelManifest, QualityTier};
use optimizer::{CostModel, cost::Work};
use settings::Settings;

/// Share of its time that a GPU renders: the rest is waiting for the next job, restarts, and room for a burst.
const BUSY_SHARE: f64 = 0.8;
/// Tiers of the table, cheapest first.
const TIERS: [QualityTier; 4] = [QualityTier::Preview, QualityTier::Standard, QualityTier::Auto, QualityTier::Premium];

/// For which load.
#[derive(Debug, Args)]
pub struct FleetSizeArgs {
    /// Model folder, or a fleet.toml; the default model of the settings if absent.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Videos that have to be finished in an hour.
    #[arg(long, default_value_t = 100.0)]
    videos_per_hour: f64,
    /// Share of the prompts whose embeddings are cached, 0 to 1.
    #[arg(long, default_value_t = 0.35)]
    hit_rate: f64,
}

/// Prints the table.
///
/// # Errors
/// A manifest that cannot be read; a load that makes no sense.
pub fn print(settings: &Settings, args: &FleetSizeArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.videos_per_hour > 0.0 && args.videos_per_hour.is_finite(),
        "--videos-per-hour: give a number above 0"
    );
    anyhow::ensure!((0.0..=1.0).contains(&args.hit_rate), "--hit-rate: give a share from 0 to 1");
    let manifest = match &args.model {
        Some(path) => read(path)?,
        None => {
            let all = settings.models.manifests()?;
            let default = &settings.models.default;
            all.into_iter().find(|manifest| manifest.id == *default).with_context(|| format!("no model {default}"))?
        }
    };
    let text = table(settings, &manifest, args.videos_per_hour, args.hit_rate)?;
    std::io::stdout().write_all(text.as_bytes()).context("print the table")
}

fn read(path: &Path) -> anyhow::Result<ModelManifest> {
    if path.is_dir() {
        return Ok(settings::read_manifest(path)?);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(ModelManifest::parse(&text)?)
}

/// The table as Markdown: each size of the model at its longest, in each tier, with the tier's middle number of steps.
fn table(settings: &Settings, manifest: &ModelManifest, videos_per_hour: f64, hit_rate: f64) -> anyhow::Result<String> {
    let (profiles, cost) = (settings.profiles(), CostModel::from_prior(&manifest.cost_prior));
    let gpu_hour_usd = settings.cost.gpu_hour_usd;
    let mut text = format!(
        "| size | tier | steps | memory, GB | minutes a video | videos a GPU and hour | GPUs for {videos_per_hour} an hour | $ a video |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n"
    );
    for size in &manifest.sizes {
        let shape = manifest.shape(&size.name, None, manifest.length.max);
        let shape = shape.map_err(|errors| anyhow::anyhow!("{}: {errors:?}", size.name))?;
        for tier in TIERS {
            let (steps_min, steps_max) = profiles.steps_range(tier);
            let steps = steps_min.midpoint(steps_max);
            let work = Work { tokens: shape.tokens(&manifest.geometry), steps, passes: 1, threshold: 0.0 };
            let seconds = hit_rate * cost.estimate_s(&work, true) + (1.0 - hit_rate) * cost.estimate_s(&work, false);
            let an_hour = 3600.0 / seconds;
            #[expect(clippy::cast_precision_loss, reason = "bytes of a GPU are far below 2^52")]
            let memory = manifest.memory.need_bytes(shape.tokens(&manifest.geometry)) as f64 / 1e9;
            writeln!(
                text,
                "| {} {}x{}x{} | {tier} | {steps} | {memory:.0} | {:.1} | {an_hour:.1} | {:.0} | {:.2} |",
                size.name,
                shape.width,
                shape.height,
                shape.frames,
                seconds / 60.0,
                (videos_per_hour / (an_hour * BUSY_SHARE)).ceil(),
                seconds / 3600.0 * gpu_hour_usd,
            )
            .context("write the table")?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// `api fleet-size --model models/hunyuanvideo.fleet.toml` prints what stands there.
    #[test]
    fn the_documented_table_is_what_the_cost_model_says() {
        let manifest = read(&repository().join("models/hunyuanvideo.fleet.toml")).unwrap();
        let wanted = table(&Settings::defaults(), &manifest, 100.0, 0.35).unwrap();
        let document = std::fs::read_to_string(repository().join("docs/operations.md")).unwrap();
        let after = document.split_once("<!-- fleet-size: begin -->\n").unwrap().1;
        assert_eq!(after.split_once("<!-- fleet-size: end -->").unwrap().0, wanted);
    }

    #[test]
    fn the_released_model_answers_the_users_words_at_its_own_scale() {
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
            "the largest job fits a GPU of 80 GB"
        );
        // The user's own examples: 18 steps the first time 4.5 minutes, 25 steps cached 5.2, 45 steps 9.9.
        let cost = CostModel::from_prior(&manifest.cost_prior);
        for (steps, hit, minutes) in [(18, false, 4.5), (25, true, 5.2), (45, false, 9.9)] {
            let work = Work { tokens: shape.tokens(&manifest.geometry), steps, passes: 1, threshold: 0.0 };
            assert!((cost.estimate_s(&work, hit) / 60.0 - minutes).abs() < 0.05, "{steps} steps");
        }
    }
}
