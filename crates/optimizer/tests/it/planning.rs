//! Plans, estimates, learning and savings, with the numbers that the product promises.

use domain::{
    CacheMatch, Complexity, ModelManifest, Plan, QualityTier, RenderMode, RunRecord, StageSeconds, StepCacheMode,
    StepsReason, Tier, VideoRequest, model::RenderShape,
};
use optimizer::{
    ConvergenceRecord, CostBook, CostModel, CostRecord, Drafted, EstimateRules, LearnRules, Learned, Planned, Planner,
    Profiles, RunFacts, Saving, StepsOverride, Switches, saving,
};
use proptest::prelude::*;

/// The released model at full scale with the documented prior: at 540p and 129 frames 12 s a step and 54 s around the steps,
/// 12 s with cached embeddings. It names no steps, so it gets the documented ones.
fn manifest() -> ModelManifest {
    let text = r#"
        id = "hunyuan-video"
        name = "HunyuanVideo"
        fingerprint = { weights = "w", encoders = "e" }
        sampling = { flow_shift = 7.0, steps_max = 60 }
        sizes = [
          { name = "540p", aspects = [{ aspect = "16:9", width = 960, height = 544 }] },
          { name = "720p", aspects = [{ aspect = "16:9", width = 1280, height = 720 }] },
        ]
        custom_size = { multiple_of = 16, side_min = 256, pixels_max = 1000000 }
        length = { max = 129, rendered_at_max = 129, rendered_min = 5 }
        memory = { base_bytes = 30000000000, per_token_bytes = 200000 }
        cost_prior = { tokens = 67320, step_s = 12.0, around_s = 54.0, around_cached_s = 12.0, attention_share = 0.5, baseline_steps = 33 }
    "#;
    ModelManifest::parse(text).expect("a valid manifest")
}

fn shape(manifest: &ModelManifest, request: &VideoRequest) -> RenderShape {
    manifest.shape(&request.video_size, None, request.video_length).expect("a valid shape")
}

fn planned(request: &VideoRequest, switches: Switches, learned: &Learned) -> domain::Plan {
    let planner = Planner { switches, learned: learned.clone(), ..Planner::default() };
    let manifest = manifest();
    planner.plan(request, &manifest, shape(&manifest, request)).plan
}

fn simple(request: &VideoRequest) -> domain::Plan {
    planned(request, Switches::default(), &Learned::default())
}

fn with_tier(prompt: &str, tier: QualityTier, infer_steps: u32) -> VideoRequest {
    VideoRequest { quality_tier: tier, infer_steps, ..VideoRequest::new(prompt) }
}

const BUSY: &str = "Two dragons fight above a burning medieval city while soldiers run and crowds of people flee, explosions, fire and smoke swirling, dramatic backlight, \
    the camera spirals around them in slow motion, cinematic, highly detailed, 8k";

#[test]
fn the_promised_estimates_come_out_of_the_prior() {
    let plan = simple(&VideoRequest::new("A cat walks"));
    assert_eq!((plan.complexity, plan.steps, plan.steps_reason), (Complexity::Simple, 18, StepsReason::Adaptive));
    assert!((plan.estimate_s / 60.0 - 4.5).abs() < 1e-9);
    let cached = simple(&with_tier("A cat walks", QualityTier::Standard, 0));
    assert_eq!(cached.steps, 25);
    assert!((cached.estimate_cached_s / 60.0 - 5.2).abs() < 1e-9);
    let premium = simple(&with_tier("A cat walks", QualityTier::Premium, 0));
    assert_eq!(premium.steps, 45);
    assert!((premium.estimate_s / 60.0 - 9.9).abs() < 1e-9);
}

#[test]
fn tiers_keep_their_ranges_and_explicit_steps_win() {
    for prompt in ["A cat walks", BUSY] {
        assert_eq!(simple(&with_tier(prompt, QualityTier::Preview, 0)).steps, 15);
        assert!((25..=35).contains(&simple(&with_tier(prompt, QualityTier::Standard, 0)).steps));
        assert!((45..=50).contains(&simple(&with_tier(prompt, QualityTier::Premium, 0)).steps));
        let explicit = simple(&with_tier(prompt, QualityTier::Preview, 42));
        assert_eq!((explicit.steps, explicit.steps_reason, explicit.tier), (42, StepsReason::Explicit, Tier::Preview));
    }
    assert_eq!(simple(&with_tier(BUSY, QualityTier::Standard, 0)).steps, 35);
    assert_eq!(simple(&VideoRequest::new(BUSY)).tier, Tier::Premium);
    assert_eq!(simple(&with_tier("A cat walks", QualityTier::Auto, 50)).tier, Tier::Premium);
    assert_eq!(simple(&with_tier(BUSY, QualityTier::Auto, 12)).tier, Tier::Preview);
}

#[test]
fn without_adaptive_steps_every_prompt_gets_the_fixed_number() {
    let fixed = |tier, prompt| {
        planned(
            &with_tier(prompt, tier, 0),
            Switches { adaptive_steps: false, ..Switches::default() },
            &Learned::default(),
        )
    };
    for prompt in ["A cat walks", BUSY] {
        assert_eq!(fixed(QualityTier::Auto, prompt).steps, 33);
        assert_eq!(fixed(QualityTier::Standard, prompt).steps, 30);
        assert_eq!(fixed(QualityTier::Premium, prompt).steps, 50);
        assert_eq!(fixed(QualityTier::Auto, prompt).steps_reason, StepsReason::Fixed);
    }
}

#[test]
fn the_step_cache_follows_tier_request_and_switch() {
    let mode = |request: &VideoRequest| simple(request).step_cache;
    assert_eq!(mode(&with_tier("a dog", QualityTier::Premium, 0)).threshold, 0.0);
    assert_eq!(mode(&with_tier("a dog", QualityTier::Standard, 0)).threshold, 0.025);
    let asked = VideoRequest { step_cache: Some(StepCacheMode::Fast), ..with_tier("a dog", QualityTier::Premium, 0) };
    assert_eq!((mode(&asked).mode, mode(&asked).threshold), (StepCacheMode::Fast, 0.05));
    let off = planned(&asked, Switches { step_cache: false, ..Switches::default() }, &Learned::default());
    assert_eq!((off.step_cache.mode, off.step_cache.threshold), (StepCacheMode::Off, 0.0));
}

#[test]
fn a_tier_may_lower_named_sizes_but_never_pixels() {
    let manifest = manifest();
    let mut planner = Planner::default();
    planner.profiles.preview.size_max = Some("540p".to_owned());
    let plan = |request: &VideoRequest| planner.plan(request, &manifest, shape(&manifest, request));
    let request = VideoRequest { video_size: "720p".to_owned(), ..with_tier("a dog", QualityTier::Preview, 0) };
    let Planned { plan: lowered, shape: small } = plan(&request);
    assert_eq!((small.width, small.height), (960, 544));
    let asked = VideoRequest { video_size: "540p".to_owned(), ..request.clone() };
    assert_eq!(lowered, plan(&asked).plan, "estimate and memory are those of the lowered size");
    assert_eq!(planner.plan_stored(&request, &manifest, &small), lowered, "a stored job keeps its shape");
    let pixels = VideoRequest { video_size: "1280x720".to_owned(), ..request.clone() };
    assert_eq!(plan(&pixels).shape.height, 720);
    let standard = VideoRequest { quality_tier: QualityTier::Standard, ..request };
    assert_eq!(plan(&standard).shape.height, 720);
}

#[test]
fn profiles_that_make_no_sense_are_reported_by_key() {
    let mut profiles = Profiles::default();
    assert!(profiles.problems().is_empty());
    profiles.standard.steps = StepsOverride { min: Some(40), max: Some(35), fixed: None };
    profiles.premium.error_max = 0.0;
    let keys: Vec<_> = profiles.problems().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["standard.steps_min", "premium.error_max"]);
}

#[test]
fn an_operator_may_override_the_steps_of_a_tier() {
    let manifest = manifest();
    let mut planner = Planner::default();
    let range = |planner: &Planner, tier| {
        let range = planner.steps_range(&manifest, tier);
        (range.min, range.max)
    };
    planner.profiles.preview.steps.max = Some(12);
    planner.profiles.standard.steps.min = Some(40);
    planner.profiles.premium.steps.max = Some(99);
    planner.profiles.auto.steps = StepsOverride { min: Some(20), max: Some(30), fixed: None };
    assert_eq!(range(&planner, QualityTier::Preview), (12, 12), "the model's 15 to 15 gives way");
    assert_eq!(range(&planner, QualityTier::Standard), (40, 40), "the model's 25 to 35 gives way");
    assert_eq!(range(&planner, QualityTier::Premium), (45, 60), "the model runs at most 60 steps");
    assert_eq!(range(&planner, QualityTier::Auto), (20, 30));
    planner.switches.adaptive_steps = false;
    planner.profiles.standard.steps.fixed = Some(28);
    assert_eq!(range(&planner, QualityTier::Standard), (28, 28));
    assert_eq!(range(&planner, QualityTier::Auto), (33, 33));
}

fn record(computed: u32, skipped: u32, cache_match: CacheMatch, convergence: Vec<f32>) -> RunRecord {
    RunRecord {
        cache_match,
        cache_score: None,
        steps_computed: computed,
        steps_skipped: skipped,
        stages: StageSeconds {
            encode_s: 42.0,
            adapters_s: 0.0,
            denoise_s: 12.0 * f64::from(computed),
            decode_s: 10.0,
            interpolate_s: 0.0,
            deliver_s: 2.0,
        },
        interpolation: None,
        progressive: None,
        batch: None,
        devices: 1,
        device: "test".to_owned(),
        build: "test".to_owned(),
        resumed_from: None,
        restarted_because: None,
        adapters: Vec::new(),
        convergence,
        gpu_seconds: 0.0,
        cost_usd: 0.0,
        saved_s: 0.0,
        saved_usd: 0.0,
        savings: domain::Savings::default(),
        reproduction: None,
    }
}

/// A run with adapters takes as long as others, and the time to merge them: by the bytes of the blocks, then as measured.
#[test]
fn an_estimate_contains_the_time_to_merge_adapters() {
    let mut manifest = manifest();
    manifest.transformer = Some(domain::model::TransformerSizes {
        hidden: 3072,
        mlp: 12_288,
        double_blocks: 20,
        single_blocks: 40,
        refiner_blocks: 2,
        text: 4096,
        pooled: 768,
        patch: 64,
        guidance: true,
    });
    let plain = VideoRequest::new("A cat walks");
    let lora = domain::LoraUse { name: "a".into(), scale: 0.8, fingerprint: Some("f".into()), sampling: None };
    let with = VideoRequest { loras: vec![lora.clone()], ..plain.clone() };
    let unused = VideoRequest { loras: vec![domain::LoraUse { scale: 0.0, ..lora }], ..plain.clone() };
    let extra = |planner: &Planner, request: &VideoRequest| {
        let of = |request: &VideoRequest| planner.plan(request, &manifest, shape(&manifest, request)).plan;
        let (of_this, of_plain) = (of(request), of(&plain));
        let [hit, miss] =
            [of_this.estimate_cached_s - of_plain.estimate_cached_s, of_this.estimate_s - of_plain.estimate_s];
        assert!((hit - miss).abs() < 1e-9);
        miss
    };
    let planner = Planner::default();
    // 12.4 billion weights of 2 bytes, at 4 GB/s.
    assert!((extra(&planner, &with) - 6.2).abs() < 0.1, "{}", extra(&planner, &with));
    assert_eq!(extra(&planner, &unused), 0.0);

    let run = |swap_s: f64| {
        let mut record = record(25, 0, CacheMatch::Miss, Vec::new());
        record.adapters = vec!["f".to_owned()];
        record.stages.adapters_s = swap_s;
        let facts = RunFacts {
            model_id: &manifest.id,
            worker_class: "c",
            request: &with,
            tokens: 67_320,
            plan: &simple(&with),
            record: &record,
        };
        CostRecord::of(&facts).expect("a whole run")
    };
    // Of four runs one needed no swap.
    let records = [run(0.0), run(2.0), run(2.2), run(1.8)];
    let costs = CostBook::fit([(manifest.id.as_str(), &manifest.cost_prior)], &records, EstimateRules::default());
    let planner = Planner { costs, ..Planner::default() };
    assert!((extra(&planner, &with) - 1.5).abs() < 1e-6, "{}", extra(&planner, &with));
    assert_eq!(extra(&planner, &unused), 0.0);
}

fn saved(request: &VideoRequest, record: &RunRecord) -> Saving {
    let manifest = manifest();
    let run = RunFacts {
        model_id: &manifest.id,
        worker_class: "c",
        request,
        tokens: shape(&manifest, request).tokens(&manifest.geometry),
        plan: &simple(request),
        record,
    };
    saving(&run, &manifest, &CostModel::from_prior(&manifest.cost_prior), 2.16)
}

#[test]
fn a_saving_is_the_baseline_less_the_run() {
    let request = VideoRequest::new("A cat walks");
    let found = saved(&request, &record(18, 0, CacheMatch::Miss, Vec::new()));
    assert!((found.baseline_s - 450.0).abs() < 1e-6, "33 steps and 54 s");
    assert!((found.saved_s - 180.0).abs() < 1e-6);
    assert!((found.saved_usd - 0.108).abs() < 1e-9);

    let explicit = VideoRequest { infer_steps: 18, ..request };
    let nothing = saved(&explicit, &record(18, 0, CacheMatch::Miss, Vec::new()));
    assert!(nothing.saved_s.abs() < 1e-6, "steps that the user named are the user's saving");
    let skipped = saved(&explicit, &record(12, 6, CacheMatch::Miss, Vec::new()));
    assert!(skipped.saved_s > 0.0);
}

#[test]
fn interpolation_saves_nothing_and_costs_nothing_of_the_saving() {
    let request = VideoRequest::new("A cat walks");
    let mut run = record(18, 0, CacheMatch::Miss, Vec::new());
    let plain = saved(&request, &run);
    run.stages.interpolate_s = 30.0;
    let interpolated = saved(&request, &run);
    assert!((interpolated.saved_s - plain.saved_s).abs() < 1e-9);
    assert!((interpolated.baseline_s - plain.baseline_s - 30.0).abs() < 1e-9, "the baseline is interpolated as well");
}

#[test]
fn a_request_or_its_tier_chooses_the_interpolation_within_the_limit_of_frames() {
    let manifest = manifest();
    let mut profiles = Profiles { interpolated_frames_max: 200, ..Profiles::default() };
    profiles.standard.interpolate = 4;
    let planner = Planner::new(profiles, Switches::default());
    let plan = |interpolate: Option<u32>, video_length: u32, tier: QualityTier| {
        let request = VideoRequest { interpolate, video_length, ..with_tier("a dog", tier, 20) };
        planner.plan(&request, &manifest, shape(&manifest, &request)).plan
    };
    let factor = |interpolate, video_length, tier| plan(interpolate, video_length, tier).interpolate;
    assert_eq!(factor(None, 33, QualityTier::Standard), Some(4), "129 frames");
    assert_eq!(factor(None, 65, QualityTier::Standard), Some(2), "257 would be too many");
    assert_eq!(factor(None, 129, QualityTier::Standard), None, "even 257 of twice as many are");
    assert_eq!(factor(Some(1), 33, QualityTier::Standard), None, "the request does not want any");
    assert_eq!(factor(Some(2), 33, QualityTier::Standard), Some(2));
    assert_eq!((factor(None, 33, QualityTier::Premium), factor(Some(8), 17, QualityTier::Premium)), (None, Some(8)));
    let (with, without) = (plan(Some(2), 65, QualityTier::Standard), plan(Some(1), 65, QualityTier::Standard));
    let megapixels = 960.0 * 544.0 * 64.0 / 1e6;
    assert!((with.estimate_s - without.estimate_s - megapixels * manifest.cost_prior.interpolate_mpx_s).abs() < 1e-9);
    let problems = |profiles: &Profiles| profiles.problems().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(problems(&planner.profiles).is_empty());
    let off = Profiles { interpolated_frames_max: 0, ..planner.profiles.clone() };
    assert!(
        matches!(problems(&off).as_slice(), [one] if one.contains("tiers.standard.interpolate") && one.contains("interpolation.enabled"))
    );
    let mut odd = planner.profiles;
    odd.preview.interpolate = 3;
    assert!(
        matches!(problems(&odd).as_slice(), [one] if one.contains("tiers.preview.interpolate") && one.contains("not 3"))
    );
}

#[test]
fn a_saving_is_split_by_optimisation() {
    let request = VideoRequest::new("A cat walks");
    let found = saved(&request, &record(12, 6, CacheMatch::Identical, Vec::new()));
    let parts = found.parts;
    assert!((parts.steps_s + parts.step_cache_s + parts.embeddings_s - found.saved_s).abs() < 1e-6, "{found:?}");
    assert!(parts.steps_s > 0.0 && parts.step_cache_s > 0.0 && parts.embeddings_s > 0.0, "{found:?}");
    let explicit = VideoRequest { infer_steps: 18, ..request };
    let parts = saved(&explicit, &record(12, 6, CacheMatch::Miss, Vec::new())).parts;
    assert!(parts.steps_s.abs() < 1e-6 && parts.embeddings_s.abs() < 1e-6 && parts.step_cache_s > 0.0, "{parts:?}");
}

#[test]
fn resumed_runs_teach_nothing() {
    let (manifest, planner) = (manifest(), Planner::default());
    let request = VideoRequest::new("A cat walks");
    let (shape, plan) = (shape(&manifest, &request), simple(&request));
    let mut run = record(18, 0, CacheMatch::Miss, vec![0.1; 17]);
    let facts = |record: &RunRecord| {
        CostRecord::of(&RunFacts {
            model_id: "m",
            worker_class: "c",
            request: &request,
            tokens: shape.tokens(&manifest.geometry),
            plan: &plan,
            record,
        })
    };
    assert!(facts(&run).is_some());
    let lesson = planner.lesson(&manifest, QualityTier::Auto, &plan, &run).expect("a whole run");
    assert_eq!(lesson.lexicon_steps, 18);
    assert!((lesson.needed_steps - 1.7 / (2.0 * 0.02)).abs() < 1e-3, "V / (2 tolerance)");
    run.resumed_from = Some(5);
    assert!(facts(&run).is_none());
    assert!(planner.lesson(&manifest, QualityTier::Auto, &plan, &run).is_none());
}

fn lesson(complexity: Complexity, lexicon_steps: u32, needed_steps: f64) -> ConvergenceRecord {
    ConvergenceRecord {
        model_id: "hunyuan-video".to_owned(),
        requested: QualityTier::Auto,
        complexity,
        lexicon_steps,
        needed_steps,
    }
}

#[test]
fn steps_fall_in_small_moves_to_what_is_needed_and_rise_again() {
    let rules = LearnRules::default();
    let request = VideoRequest::new("A dog running on the beach at sunset");
    let before = simple(&request).steps;
    let mut learned = Learned::default();
    let mut last = before;
    for _ in 0..20 {
        let easy = vec![lesson(Complexity::Moderate, before, f64::from(before) - 3.5); rules.runs_min];
        learned = learned.learn(&easy, &rules);
        let steps = planned(&request, Switches::default(), &learned).steps;
        assert!(steps <= last && last - steps <= rules.move_max, "{last} to {steps}");
        last = steps;
    }
    assert_eq!(last, before - 3);
    assert_eq!(planned(&request, Switches::default(), &learned).steps_reason, StepsReason::Learned);
    assert_eq!(planned(&request, Switches { learned_steps: false, ..Switches::default() }, &learned).steps, before);
    for _ in 0..20 {
        learned = learned.learn(&vec![lesson(Complexity::Moderate, before, 99.0); rules.runs_min], &rules);
    }
    assert_eq!(planned(&request, Switches::default(), &learned).steps, before);
}

#[test]
fn learning_can_be_frozen_stored_and_reset() {
    let rules = LearnRules::default();
    let easy = vec![lesson(Complexity::Moderate, 27, 10.0); rules.runs_min];
    let mut learned = Learned::default().learn(&easy, &rules);
    learned.frozen = true;
    assert_eq!(learned.learn(&easy, &rules), learned);
    let stored = serde_json::to_string(&learned).expect("plain data");
    assert_eq!(serde_json::from_str::<Learned>(&stored).expect("plain data"), learned);
    learned.reset(Some("another model"));
    assert_eq!(learned.groups.len(), 1);
    learned.reset(Some("hunyuan-video"));
    assert!(learned.groups.is_empty());
}

#[test]
fn the_estimated_error_does_not_depend_on_the_number_of_steps() {
    // The same path cut into 20 and into 40 steps: the changes halve, their sum stays.
    let coarse = optimizer::estimated_error(&[0.08; 20], 20).expect("usable");
    let fine = optimizer::estimated_error(&[0.04; 40], 40).expect("usable");
    assert!((coarse * 20.0 - fine * 40.0).abs() < 1e-6);
    assert_eq!(optimizer::estimated_error(&[f32::NAN, 0.1], 20), None);
    assert_eq!(optimizer::estimated_error(&[0.1], 20), None);
}

proptest! {
    #[test]
    fn whatever_was_learned_steps_stay_in_range_and_rise_with_the_score(
        lessons in prop::collection::vec((0..4usize, 0.0..60.0f64), 0..400),
        a in 0.0..20.0f64,
        b in 0.0..20.0f64,
    ) {
        let rules = LearnRules { runs_min: 3, window: 12, move_max: 4, ..LearnRules::default() };
        let records: Vec<_> = lessons.iter().map(|(class, needed)| lesson(Complexity::ALL[*class], [18, 27, 35, 42][*class], *needed)).collect();
        let learned = Learned::default().learn(&records, &rules);
        let range = Planner::default().steps_range(&manifest(), QualityTier::Auto);
        let range = (range.min, range.max);
        let steps = |score: f64| {
            let lexicon = optimizer::scoring::steps_in(score, range.0, range.1);
            let steps = learned.steps("hunyuan-video", QualityTier::Auto, optimizer::scoring::complexity(score), lexicon, range);
            (steps, lexicon)
        };
        let (low, high) = (steps(a.min(b)), steps(a.max(b)));
        prop_assert!(low.0 <= high.0, "{low:?} {high:?} {learned:?}");
        prop_assert!(low.0 >= range.0 && low.0 <= low.1 && low.1 - low.0 <= rules.lower_max);
    }
}

#[test]
fn a_draft_pauses_after_its_tiers_share_of_the_steps() {
    let planner = Planner::default();
    let manifest = manifest();
    let plan = |request: &VideoRequest| planner.plan(request, &manifest, shape(&manifest, request)).plan;
    let whole = plan(&with_tier("a dog", QualityTier::Standard, 0));
    assert_eq!((whole.draft_steps, whole.draft_share()), (None, 1.0));
    let draft = VideoRequest { mode: RenderMode::Draft, ..with_tier("a dog", QualityTier::Standard, 0) };
    let planned = plan(&draft);
    assert_eq!((planned.steps, planned.draft_steps), (25, Some(6)));
    assert!((planned.draft_share() - 0.24).abs() < 1e-9);
    let candidates = VideoRequest { candidates: 4, ..with_tier("a dog", QualityTier::Premium, 0) };
    assert_eq!(plan(&candidates).draft_steps, Some(11), "each candidate is a draft");
    assert_eq!(plan(&VideoRequest { infer_steps: 1, ..draft }).draft_steps, Some(1));
}

#[test]
fn a_draft_is_continued_with_its_own_plan_or_along_a_finer_schedule() {
    let planner = Planner::default();
    let manifest = manifest();
    let request = VideoRequest { mode: RenderMode::Draft, ..with_tier("a dog", QualityTier::Standard, 0) };
    let shape = shape(&manifest, &request);
    let plan = planner.plan(&request, &manifest, shape).plan;
    let drafted = Drafted { request: &request, shape: &shape, plan: &plan, step: 6 };
    assert_eq!(planner.continued(&drafted, &manifest, None), plan);
    let higher = planner.continued(&drafted, &manifest, Some(Tier::Premium));
    let schedule = higher.continues.expect("another number of steps");
    assert_eq!((schedule.steps, schedule.after, schedule.then), (25, 6, 45));
    assert_eq!((higher.tier, higher.steps), (Tier::Premium, 6 + 45 - 6 * 45 / 25));
    assert_eq!(schedule.step_cache, plan.step_cache);
    assert_eq!(higher.step_cache.mode, StepCacheMode::Off, "the rest follows the higher tier");
    assert!(higher.estimate_s > plan.estimate_s);
    // More steps than the tier has: the draft's own number stays.
    let many = VideoRequest { infer_steps: 60, ..request };
    let plan = planner.plan(&many, &manifest, shape).plan;
    let drafted = Drafted { request: &many, shape: &shape, plan: &Plan { tier: Tier::Standard, ..plan }, step: 15 };
    let higher = planner.continued(&drafted, &manifest, Some(Tier::Premium));
    assert_eq!((higher.steps, higher.continues.map(|schedule| schedule.then)), (60, Some(60)));
}
