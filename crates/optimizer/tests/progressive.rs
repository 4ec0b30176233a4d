//! Goal: early steps at half the size are planned where the model and the tier or the request say so, and estimates, learning and savings
//! count them as what they cost.

use domain::{
    CacheMatch, ModelManifest, ProgressiveMode, ProgressiveRecord, QualityTier, RenderMode, RunRecord, StageSeconds,
    StepCacheMode, Tier, VideoRequest,
};
use optimizer::{
    CostModel, CostRecord, Drafted, EstimateRules, Planned, Planner, RunFacts, cost, cost::StageSteps, saving,
};

fn manifest() -> ModelManifest {
    ModelManifest::parse(include_str!("../../../models/hunyuanvideo.fleet.toml")).expect("a valid manifest")
}

/// A request of 50 steps for 720p without a step cache.
fn request(progressive: Option<ProgressiveMode>) -> VideoRequest {
    VideoRequest {
        video_size: "720p".to_owned(),
        infer_steps: 50,
        quality_tier: QualityTier::Premium,
        step_cache: Some(StepCacheMode::Off),
        progressive,
        ..VideoRequest::new("a dog")
    }
}

fn planned(planner: &Planner, manifest: &ModelManifest, request: &VideoRequest) -> Planned {
    let shape = manifest.shape(&request.video_size, None, request.video_length).expect("a shape");
    planner.plan(request, manifest, shape)
}

#[test]
fn no_tier_has_them_by_default_and_a_request_or_a_tier_can() {
    let (manifest, mut planner) = (manifest(), Planner::default());
    let early = |planner: &Planner, manifest: &ModelManifest, request: &VideoRequest| {
        planned(planner, manifest, request).plan.progressive.map(|early| (early.mode, early.steps))
    };
    assert_eq!(early(&planner, &manifest, &request(None)), None);
    let balanced = Some((ProgressiveMode::Balanced, 25));
    assert_eq!(early(&planner, &manifest, &request(Some(ProgressiveMode::Balanced))), balanced);
    planner.profiles.premium.progressive = ProgressiveMode::Balanced;
    assert_eq!(early(&planner, &manifest, &request(None)), balanced);
    assert_eq!(early(&planner, &manifest, &request(Some(ProgressiveMode::Off))), None);
    let inverted = VideoRequest { flow_reverse: false, ..request(None) };
    assert_eq!(early(&planner, &manifest, &inverted), None);
    let without = ModelManifest { progressive: None, ..manifest };
    assert_eq!(early(&planner, &without, &request(None)), None, "a tier asks only models that can");
}

/// The target of the released size: at most half the arithmetic of the steps.
#[test]
fn the_estimate_counts_a_step_at_half_the_size_as_what_it_costs() {
    let (manifest, planner) = (manifest(), Planner::default());
    let whole = planned(&planner, &manifest, &request(None)).plan;
    let fast = planned(&planner, &manifest, &request(Some(ProgressiveMode::Fast))).plan;
    let early = fast.progressive.expect("early steps");
    let (full, lower) = (manifest.cost_prior.step_scale(118_800), manifest.cost_prior.step_scale(early.tokens));
    assert!((early.step_share - lower / full).abs() < 1e-9 && early.step_share < 0.1, "{early:?}");
    let steps = f64::from(early.steps) * early.step_share + f64::from(50 - early.steps);
    assert!(steps < 25.0, "{steps}");
    let saved_s = (50.0 - steps) * manifest.cost_prior.step_s * full;
    assert!((whole.estimate_s - fast.estimate_s - saved_s).abs() < 1e-6, "{whole:?} {fast:?}");
    // Half of the steps are far less than half of the time.
    assert!((fast.done(25) - 25.0 * early.step_share / steps).abs() < 1e-9 && fast.done(50) == 1.0);
}

#[test]
fn a_draft_that_is_continued_in_a_higher_tier_ends_its_early_steps_with_the_draft() {
    let (manifest, planner) = (manifest(), Planner::default());
    let draft = VideoRequest {
        mode: RenderMode::Draft,
        infer_steps: 0,
        quality_tier: QualityTier::Standard,
        ..request(Some(ProgressiveMode::Balanced))
    };
    let Planned { plan, shape } = planned(&planner, &manifest, &draft);
    let early = plan.progressive.expect("early steps");
    let continued = |step| {
        let drafted = Drafted { request: &draft, shape: &shape, plan: &plan, step };
        planner.continued(&drafted, &manifest, Some(Tier::Premium))
    };
    for (step, at) in [(early.steps - 1, early.steps - 1), (early.steps, early.steps), (early.steps + 1, early.steps)] {
        let plan = continued(step);
        assert_eq!(plan.progressive.map(|early| early.steps), Some(at));
        assert_eq!(plan.continues.and_then(|schedule| schedule.lower_steps), Some(early.steps));
    }
    let same = planner.continued(&Drafted { request: &draft, shape: &shape, plan: &plan, step: 3 }, &manifest, None);
    assert_eq!(same, plan);
}

fn record(progressive: Option<ProgressiveRecord>) -> RunRecord {
    let stages = StageSeconds { encode_s: 1.0, denoise_s: 300.0, decode_s: 10.0, deliver_s: 2.0, ..Default::default() };
    let text = serde_json::json!({
        "cache_match": CacheMatch::Miss, "steps_computed": 45, "steps_skipped": 5, "stages": stages, "device": "cuda-sm90",
        "build": "b", "convergence": vec![0.1; 48], "gpu_seconds": 313.0, "cost_usd": 1.0, "saved_s": 0.0, "saved_usd": 0.0,
        "progressive": progressive,
    });
    serde_json::from_value(text).expect("a record")
}

#[test]
fn runs_with_early_steps_teach_no_steps_and_their_saving_is_split_without_a_remainder() {
    let (manifest, planner) = (manifest(), Planner::default());
    let request = VideoRequest { infer_steps: 0, ..request(Some(ProgressiveMode::Balanced)) };
    let Planned { plan, shape } = planned(&planner, &manifest, &request);
    let early = plan.progressive.expect("early steps");
    let done = ProgressiveRecord {
        width: early.width,
        height: early.height,
        tokens: early.tokens,
        steps_computed: 22,
        steps_skipped: 3,
    };
    let saved = |record: &RunRecord| {
        let run = RunFacts {
            model_id: &manifest.id,
            worker_class: "cuda-sm90",
            request: &request,
            tokens: shape.tokens(&manifest.geometry),
            plan: &plan,
            record,
        };
        assert!(planner.lesson(&manifest, QualityTier::Premium, &plan, record).is_none());
        let kept = CostRecord::of(&run).expect("a whole run");
        (saving(&run, &manifest, &CostModel::from_prior(&manifest.cost_prior), 1.0), kept)
    };
    let (with, kept) = saved(&record(Some(done)));
    assert_eq!((kept.computed, kept.skipped), (45 - 22, 5 - 3));
    assert_eq!(kept.lower, Some(StageSteps { tokens: early.tokens, computed: 22, skipped: 3 }));
    assert_eq!((kept.work().steps, kept.work().lower.map(|lower| lower.steps)), (50, Some(25)));
    let parts = with.parts;
    assert!((parts.steps_s + parts.step_cache_s + parts.embeddings_s - with.saved_s).abs() < 1e-6, "{with:?}");
    let (without, _) = saved(&record(None));
    assert!(parts.steps_s > without.parts.steps_s + 100.0, "the same seconds for more steps at full size: {without:?}");
}

/// Seconds of steps at two sizes in one run: the fit must not take them for those of one size.
#[test]
fn the_cost_model_learns_from_runs_of_two_sizes() {
    let manifest = manifest();
    let run = |index: u32, lower: bool| {
        let step_s = |tokens: u64| {
            let ratio = tokens as f64 / 67_320.0;
            2.0 * ratio + 6.0 * ratio * ratio
        };
        let (tokens, computed) = (if index.is_multiple_of(3) { 118_800 } else { 67_320 }, 20 + index % 11);
        let lower = lower.then_some(StageSteps { tokens: tokens / 4, computed: 5 + index % 7, skipped: 0 });
        let lower_s = lower.map_or(0.0, |lower| f64::from(lower.computed) * step_s(lower.tokens));
        CostRecord {
            model_id: manifest.id.clone(),
            worker_class: "cuda-sm90".to_owned(),
            devices: 1,
            tokens,
            passes: 1,
            threshold: 0.0,
            computed,
            skipped: 0,
            lower,
            hit: true,
            encode_s: 0.0,
            denoise_s: f64::from(computed) * step_s(tokens) + lower_s,
            tail_s: 5.0,
            swap_s: None,
            interpolated_mpx: 0.0,
            interpolate_s: 0.0,
        }
    };
    let runs: Vec<CostRecord> = (0..60).map(|index| run(index, index % 2 == 0)).collect();
    for seen in [6, 60] {
        let model = cost::fit_model(&manifest.cost_prior, &runs[..seen], EstimateRules::default());
        let error = cost::median_relative_error(&model, &runs).expect("records");
        assert!(error < if seen == 6 { 0.2 } else { 0.02 }, "after {seen} runs {error}");
    }
}
