//! Which planned jobs may share forward passes, and what the tier of a job means where workers have different numbers of devices.

use domain::{
    BatchKey, ModelManifest, Plan, PromptTokens, QualityTier, RenderMode, StepCacheMode, Tier, VideoRequest,
    model::RenderShape,
};
use optimizer::cost::CostRecord;
use optimizer::several::Devices;
use optimizer::{CostBook, EstimateRules, Planned, Planner};

const RELEASED: &str = include_str!("../../../models/hunyuanvideo.fleet.toml");
const DEFAULT: &str = include_str!("../../../models/default/fleet.toml");

fn manifest() -> ModelManifest {
    ModelManifest::parse(DEFAULT).expect("a valid manifest")
}

fn planned(request: &VideoRequest) -> (Plan, RenderShape) {
    let manifest = manifest();
    let shape = manifest.shape(&request.video_size, None, request.video_length).expect("a valid shape");
    let Planned { plan, shape } = Planner::default().plan(request, &manifest, shape);
    (plan, shape)
}

fn tokens(prompt: u64) -> PromptTokens {
    PromptTokens { prompt: vec![prompt], negative: vec![5] }
}

fn key_with(request: &VideoRequest, prompt: u64) -> Option<BatchKey> {
    let (plan, shape) = planned(request);
    BatchKey::of(request, &shape, &plan, &manifest(), &tokens(prompt))
}

fn key(request: &VideoRequest) -> BatchKey {
    key_with(request, 12).expect("it shares")
}

/// Of 25 steps, so that the prompt does not decide.
fn request(prompt: &str) -> VideoRequest {
    VideoRequest { infer_steps: 25, ..VideoRequest::new(prompt) }
}

#[test]
fn what_differs_from_sample_to_sample_is_not_in_the_key() {
    let one = request("a red circle");
    let same = [
        VideoRequest { seed: Some(7), ..request("a blue square moves") },
        VideoRequest { step_cache: Some(StepCacheMode::Fast), ..one.clone() },
        VideoRequest { webhook: Some("https://example.com".to_owned()), ..one.clone() },
    ];
    for other in same {
        assert_eq!(key(&other), key(&one));
    }
}

#[test]
fn what_a_forward_pass_has_in_common_is() {
    let one = request("a red circle");
    let other = [
        VideoRequest { infer_steps: 24, ..one.clone() },
        VideoRequest { cfg_scale: 5.0, ..one.clone() },
        VideoRequest { video_length: 65, ..one.clone() },
        VideoRequest { video_size: "720p".to_owned(), ..one.clone() },
        VideoRequest { flow_reverse: false, ..one.clone() },
        VideoRequest { mode: RenderMode::Draft, ..one.clone() },
        VideoRequest { true_cfg_scale: 2.0, negative_prompt: Some(String::new()), ..one.clone() },
    ];
    for other in &other {
        assert_ne!(key(other), key(&one), "{other:?}");
    }
    assert_ne!(key_with(&one, 13), key_with(&one, 12));
}

#[test]
fn some_jobs_are_always_rendered_alone() {
    let one = request("a red circle");
    let lora = serde_json::json!([{ "name": "style", "fingerprint": "f" }]);
    let with_lora = VideoRequest { loras: serde_json::from_value(lora).expect("adapters"), ..one.clone() };
    assert_eq!(key_with(&with_lora, 12), None);
    assert_eq!(key_with(&VideoRequest { deadline_s: Some(600), ..one.clone() }, 12), None);
    let (plan, shape) = planned(&one);
    let none = PromptTokens::default();
    assert_eq!(BatchKey::of(&one, &shape, &plan, &manifest(), &none), None, "nobody counted its tokens");
    let guided = VideoRequest { true_cfg_scale: 2.0, negative_prompt: Some(String::new()), ..one };
    let half = PromptTokens { prompt: vec![12], negative: Vec::new() };
    assert_eq!(BatchKey::of(&guided, &shape, &plan, &manifest(), &half), None);
}

fn estimate_s(planner: &Planner, tier: QualityTier) -> f64 {
    let manifest = ModelManifest::parse(RELEASED).expect("a valid manifest");
    let request = VideoRequest { quality_tier: tier, infer_steps: 40, ..VideoRequest::new("a cat walks") };
    let shape = manifest.shape(&request.video_size, None, request.video_length).expect("a valid shape");
    planner.plan(&request, &manifest, shape).plan.estimate_s
}

/// The estimate that a user is told is that of the workers which the tier gets.
#[test]
fn each_tier_is_estimated_on_the_devices_that_it_gets() {
    let id = ModelManifest::parse(RELEASED).expect("a valid manifest").id;
    let on = |least, most| Planner { devices: [(id.clone(), Devices { least, most })].into(), ..Planner::default() };
    let alone = estimate_s(&Planner::default(), QualityTier::Premium);
    assert_eq!(estimate_s(&on(1, 1), QualityTier::Premium), alone);
    let mixed = on(1, 4);
    assert_eq!(estimate_s(&mixed, QualityTier::Standard), estimate_s(&Planner::default(), QualityTier::Standard));
    let premium = estimate_s(&mixed, QualityTier::Premium);
    assert!(premium < 0.5 * alone && premium > 0.25 * alone, "{premium} of {alone}");
    let only_four = on(4, 4);
    assert!(estimate_s(&only_four, QualityTier::Standard) < 0.5 * estimate_s(&mixed, QualityTier::Standard));
}

/// Runs on one device say how long runs on several take, until those have runs of their own.
#[test]
fn runs_are_learned_from_by_their_number_of_devices() {
    let manifest = ModelManifest::parse(RELEASED).expect("a valid manifest");
    let prior = &manifest.cost_prior;
    let run = |class: &str, devices: u32, step_s: f64| CostRecord {
        model_id: manifest.id.clone(),
        worker_class: class.to_owned(),
        devices,
        tokens: prior.tokens,
        passes: 1,
        threshold: 0.0,
        computed: 40,
        skipped: 0,
        lower: None,
        hit: false,
        encode_s: 3.0,
        denoise_s: 40.0 * step_s,
        tail_s: prior.around_s - 3.0,
        swap_s: None,
        interpolated_mpx: 0.0,
        interpolate_s: 0.0,
    };
    let fitted = |records: &[CostRecord]| Planner {
        costs: CostBook::fit([(manifest.id.as_str(), prior)], records, EstimateRules::default()),
        devices: [(manifest.id.clone(), Devices { least: 1, most: 4 })].into(),
        ..Planner::default()
    };
    let step_s = |planner: &Planner, tier| planner.cost(&manifest, tier).step_s(prior.tokens);
    // Twice as fast as the prior, on one device.
    let mut records = vec![run("one", 1, prior.step_s / 2.0); 20];
    let planner = fitted(&records);
    assert!((step_s(&planner, Tier::Standard) / (prior.step_s / 2.0) - 1.0).abs() < 0.05);
    let scaled = step_s(&planner, Tier::Premium);
    assert!(scaled < prior.step_s / 6.0 && scaled > prior.step_s / 8.0, "{scaled}");
    records.extend(vec![run("four", 4, prior.step_s / 5.0); 20]);
    let planner = fitted(&records);
    assert!((step_s(&planner, Tier::Premium) / (prior.step_s / 5.0) - 1.0).abs() < 0.05);
    assert!((step_s(&planner, Tier::Standard) / (prior.step_s / 2.0) - 1.0).abs() < 0.05, "these stay apart");
    assert!(planner.baseline_s(&manifest, 4) < planner.baseline_s(&manifest, 1));
}
