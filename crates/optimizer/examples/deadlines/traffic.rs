//! A day of bursty traffic: which jobs arrive when. The same seed gives the same day.

use std::path::Path;

use domain::{ModelManifest, VideoRequest};
use optimizer::{Planner, Profiles, Switches};

/// Seconds of a day.
pub(crate) const DAY_S: f64 = 86_400.0;
/// Tenants; the first ones send most.
pub(crate) const TENANTS: usize = 200;
/// Share of the jobs that have a deadline.
const WITH_DEADLINE: f64 = 0.35;
/// Bursts of the day, and how many times an average minute's jobs one of them holds.
const BURSTS: usize = 60;
const BURST_MINUTES: f64 = 6.0;

/// A job as it arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Seconds since the day began.
    pub(crate) at_s: f64,
    /// Number of its tenant.
    pub(crate) tenant: usize,
    /// What the planner estimates, seconds.
    pub(crate) estimate_s: f64,
    /// What the run takes, seconds.
    pub(crate) run_s: f64,
    /// One step, seconds.
    pub(crate) step_s: f64,
    /// The tier's weight.
    pub(crate) weight: f64,
    /// Seconds from its arrival to its deadline.
    pub(crate) deadline_s: Option<u32>,
}

/// Random numbers (splitmix64), so that the day depends on nothing but the seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Between 0 and 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    fn index(&mut self, count: usize) -> usize {
        ((self.share() * count as f64) as usize).min(count - 1)
    }
}

/// A kind of request with the planner's estimate for the released model on an H100.
struct Kind {
    estimate_s: f64,
    step_s: f64,
    weight: f64,
}

/// Prompts of different complexity, which give different steps.
const PROMPTS: [&str; 3] = [
    "A red ball",
    "A cat walks on the grass in the evening sun, realistic style",
    "Aerial view of a city at night, neon lights reflect in the rain, crowds cross the street, the camera moves forward quickly",
];

fn kinds(manifest: &ModelManifest) -> Vec<Kind> {
    let planner = Planner::new(Profiles::default(), Switches::default());
    let limits = domain::RequestLimits {
        prompt_chars_max: 2_000,
        cfg_scale_max: 20.0,
        true_cfg_scale_max: 20.0,
        deadline_s_max: 604_800,
        interpolated_frames_max: 0,
    };
    let mut kinds = Vec::new();
    for (tier, weight) in [("preview", 3.0), ("standard", 2.0), ("premium", 1.0)] {
        for (size, length) in [("540p", 61), ("540p", 129), ("720p", 129)] {
            for prompt in PROMPTS {
                let request = VideoRequest {
                    video_size: size.to_owned(),
                    video_length: length,
                    quality_tier: tier.parse().expect("a tier"),
                    ..VideoRequest::new(prompt)
                };
                let shape = request.validate(&limits, manifest).expect("a valid request");
                let plan = planner.plan(&request, manifest, shape).plan;
                let step_s = planner.cost(manifest, plan.tier).step_s(shape.tokens(&manifest.geometry));
                kinds.push(Kind { estimate_s: plan.estimate_s, step_s, weight });
            }
        }
    }
    kinds
}

/// The manifest of the released model, whose times are those of one H100.
pub(crate) fn manifest() -> ModelManifest {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/hunyuanvideo.fleet.toml");
    let text = std::fs::read_to_string(file).expect("the manifest exists");
    ModelManifest::parse(&text).expect("a manifest")
}

/// All jobs of a day that keeps `workers` busy to the share `load`, in the order of their arrival.
pub(crate) fn day(manifest: &ModelManifest, workers: usize, load: f64, seed: u64) -> Vec<Arrival> {
    let kinds = kinds(manifest);
    let mut random = Random(seed);
    #[expect(clippy::cast_precision_loss, reason = "numbers of kinds and workers")]
    let (mean_s, capacity_s) =
        (kinds.iter().map(|kind| kind.estimate_s).sum::<f64>() / kinds.len() as f64, workers as f64 * DAY_S * load);
    let rate = capacity_s / mean_s / DAY_S;
    let mut jobs = Vec::new();
    // A fifth of the work arrives in bursts of single tenants, the rest follows the day.
    let steady = rate * 0.8;
    let mut at_s = 0.0;
    while at_s < DAY_S {
        // More in the afternoon than at night.
        let busy = 1.0 + 0.6 * (std::f64::consts::TAU * (at_s / DAY_S - 0.35)).sin();
        at_s += -random.share().max(f64::MIN_POSITIVE).ln() / (steady * busy);
        // Few tenants send most.
        let tenant = random.index(TENANTS).min(random.index(TENANTS)).min(random.index(TENANTS));
        jobs.push(job(&mut random, &kinds, at_s, tenant));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "numbers of jobs"
    )]
    let in_burst = (rate * 0.2 * DAY_S / BURSTS as f64) as usize;
    for _ in 0..BURSTS {
        let (begun_s, tenant) = (random.between(0.0, DAY_S), random.index(TENANTS));
        for _ in 0..in_burst {
            let at_s = begun_s + random.between(0.0, BURST_MINUTES * 60.0);
            jobs.push(job(&mut random, &kinds, at_s, tenant));
        }
    }
    jobs.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    jobs
}

fn job(random: &mut Random, kinds: &[Kind], at_s: f64, tenant: usize) -> Arrival {
    let kind = &kinds[random.index(kinds.len())];
    // Runs differ from their estimates by up to a sixth.
    let run_s = kind.estimate_s * random.between(0.85, 1.15);
    // From barely longer than the run to ten times as long.
    let deadline_s = (random.share() < WITH_DEADLINE).then(|| kind.estimate_s * random.between(1.2, 10.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds within a day or two")]
    let deadline_s = deadline_s.map(|seconds| seconds as u32);
    Arrival { at_s, tenant, estimate_s: kind.estimate_s, run_s, step_s: kind.step_s, weight: kind.weight, deadline_s }
}
