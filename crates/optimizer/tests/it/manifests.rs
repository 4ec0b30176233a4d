//! Steps and step caching belong to the model: the shipped manifests keep the documented numbers, and a distilled model
//! never gets the steps of a model without distillation.

use domain::model::StepRange;
use domain::{
    CacheMatch, ImageInput, ModelManifest, QualityTier, RunRecord, StageSeconds, StepCacheMode, StepsReason,
    VideoRequest,
};
use optimizer::{CostModel, Learned, Planner, RunFacts, Switches, saving};

const RELEASED: &str = include_str!("../../../../models/hunyuanvideo.fleet.toml");
const DEFAULT: &str = include_str!("../../../../models/default/fleet.toml");

/// Prompts from the simplest to the most complex.
const PROMPTS: [&str; 3] = [
    "A cat walks",
    "a zebra running to join a herd of its kind",
    "Two dragons fight above a burning medieval city while soldiers run and crowds of people flee, explosions, fire and \
     smoke swirling, dramatic backlight, the camera spirals around them in slow motion, cinematic, highly detailed, 8k",
];

fn parse(text: &str) -> ModelManifest {
    ModelManifest::parse(text).expect("a valid manifest")
}

/// A model that runs six steps and says nothing else about steps, like one whose manifest predates `[sampling.steps]`.
fn distilled() -> ModelManifest {
    let cut = RELEASED.find("[sampling.steps]").expect("the released manifest names its steps");
    let end = cut + RELEASED[cut..].find("\n[[sizes]]").expect("sizes follow");
    parse(&format!("{}{}", &RELEASED[..cut], &RELEASED[end..]).replace("steps_max = 100", "steps_max = 6"))
}

fn plan(planner: &Planner, manifest: &ModelManifest, request: &VideoRequest) -> domain::Plan {
    let shape = manifest.shape(&request.video_size, None, request.video_length).expect("a valid shape");
    planner.plan(request, manifest, shape).plan
}

fn planner(adaptive_steps: bool) -> Planner {
    Planner { switches: Switches { adaptive_steps, ..Switches::default() }, ..Planner::default() }
}

#[test]
fn the_shipped_manifests_keep_the_documented_numbers() {
    for text in [RELEASED, DEFAULT] {
        let manifest = parse(text);
        let expected = [
            (QualityTier::Preview, (15, 15), 15),
            (QualityTier::Standard, (25, 35), 30),
            (QualityTier::Premium, (45, 50), 50),
            (QualityTier::Auto, (18, 45), manifest.cost_prior.baseline_steps),
        ];
        for (tier, (min, max), fixed) in expected {
            assert_eq!(planner(true).steps_range(&manifest, tier), StepRange { min, max });
            assert_eq!(planner(false).steps_range(&manifest, tier), StepRange { min: fixed, max: fixed });
        }
        assert_eq!(manifest.step_cache.threshold(StepCacheMode::Balanced), 0.025);
        assert_eq!(manifest.step_cache.threshold(StepCacheMode::Fast), 0.05);
    }
}

#[test]
fn the_shipped_manifests_look_to_older_processes_as_before() {
    for text in [RELEASED, DEFAULT] {
        let json = serde_json::to_value(parse(text)).expect("plain data");
        assert!(json.get("step_cache").is_none() && json["sampling"].get("steps").is_none(), "{json}");
    }
}

#[test]
fn a_distilled_model_never_plans_more_steps_than_it_runs() {
    let manifest = distilled();
    for adaptive in [true, false] {
        let planner = planner(adaptive);
        for &tier in QualityTier::ALL {
            assert_eq!(planner.steps_range(&manifest, tier), StepRange { min: 6, max: 6 }, "{tier}");
            for prompt in PROMPTS {
                let request = VideoRequest { quality_tier: tier, ..VideoRequest::new(prompt) };
                assert_eq!(plan(&planner, &manifest, &request).steps, 6, "{tier}: {prompt}");
            }
        }
    }
}

#[test]
fn a_distilled_model_may_name_its_own_steps_and_thresholds() {
    let text = RELEASED
        .replace("preview = { min = 15, max = 15, fixed = 15 }", "preview = { min = 4, max = 4, fixed = 4 }")
        .replace("standard = { min = 25, max = 35, fixed = 30 }", "standard = { min = 6, max = 6, fixed = 6 }")
        .replace("premium = { min = 45, max = 50, fixed = 50 }", "premium = { min = 8, max = 8, fixed = 8 }")
        .replace("auto = { min = 18, max = 45 }", "auto = { min = 4, max = 8 }")
        .replace("fast = 0.05", "fast = 0.03")
        .replace("steps_max = 100", "steps_max = 8");
    let manifest = parse(&text);
    let planner = Planner::default();
    let of = |tier| plan(&planner, &manifest, &VideoRequest { quality_tier: tier, ..VideoRequest::new(PROMPTS[2]) });
    let preview = of(QualityTier::Preview);
    assert_eq!((preview.steps, preview.step_cache.mode), (4, StepCacheMode::Fast));
    assert_eq!(preview.step_cache.threshold, 0.03);
    assert_eq!([QualityTier::Standard, QualityTier::Premium, QualityTier::Auto].map(|tier| of(tier).steps), [6, 8, 8]);
    // Named steps: the cheapest tier that reaches them on this model.
    let named = |infer_steps| plan(&planner, &manifest, &VideoRequest { infer_steps, ..VideoRequest::new("a dog") });
    assert_eq!([4, 5, 8].map(|steps| named(steps).tier.as_str()), ["preview", "standard", "premium"]);
}

#[test]
fn learning_does_not_take_a_distilled_model_out_of_its_range() {
    let learned = r#"{"frozen": false, "groups": [{"model_id": "hunyuanvideo", "requested": "auto", "complexity": "simple",
        "lower_by": 12, "runs": 99, "fresh": 0, "spare": []}]}"#;
    let learned: Learned = serde_json::from_str(learned).expect("plain data");
    let planner = Planner { learned, ..Planner::default() };
    let plan = plan(&planner, &distilled(), &VideoRequest::new(PROMPTS[0]));
    assert_eq!((plan.steps, plan.steps_reason), (6, StepsReason::Adaptive));
}

#[test]
fn a_distilled_model_saves_nothing_by_running_its_own_steps() {
    let manifest = distilled();
    assert_eq!(manifest.baseline_steps(), 6, "the manifest still names the 33 of the released model");
    let request = VideoRequest::new(PROMPTS[0]);
    let plan = plan(&Planner::default(), &manifest, &request);
    let record = RunRecord {
        cache_match: CacheMatch::Miss,
        cache_score: None,
        steps_computed: 6,
        steps_skipped: 0,
        stages: StageSeconds {
            encode_s: 42.0,
            adapters_s: 0.0,
            denoise_s: 72.0,
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
        convergence: Vec::new(),
        gpu_seconds: 0.0,
        cost_usd: 0.0,
        saved_s: 0.0,
        saved_usd: 0.0,
        savings: domain::Savings::default(),
        reproduction: None,
    };
    let shape = manifest.shape(&request.video_size, None, request.video_length).expect("a valid shape");
    let run = RunFacts {
        model_id: &manifest.id,
        worker_class: "test",
        request: &request,
        tokens: shape.tokens(&manifest.geometry),
        plan: &plan,
        record: &record,
    };
    let found = saving(&run, &manifest, &CostModel::from_prior(&manifest.cost_prior), 2.16);
    assert!(found.saved_s.abs() < 1e-6, "{found:?}");
}

/// Every manifest that is shipped for weights of others, by its file's name.
fn shipped() -> Vec<(String, ModelManifest)> {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
    let files = std::fs::read_dir(models).expect("the folder of models").map(|entry| entry.expect("an entry").path());
    let name = |path: &std::path::Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let manifests = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).map(|path| {
        let text = std::fs::read_to_string(&path).expect("a manifest");
        (name(&path).unwrap_or_default(), parse(&text))
    });
    manifests.collect()
}

#[test]
fn the_shipped_manifests_plan_what_their_publishers_name() {
    let all = shipped();
    assert_eq!(all.len(), 12, "{:?}", all.iter().map(|(name, _)| name).collect::<Vec<_>>());
    let few_steps = [
        ("fasthunyuan", 4..=8, 17.0),
        ("accvideo", 5..=5, 7.0),
        ("hunyuanvideo-1.5-480p-4-steps", 4..=4, 5.0),
        ("hunyuanvideo-1.5-480p-i2v-step-distilled", 4..=12, 7.0),
    ];
    for (file, manifest) in &all {
        assert_eq!(*file, format!("{}.fleet.toml", manifest.id));
        let from_picture = manifest.image == ImageInput::Required;
        assert_eq!(from_picture, manifest.id.contains("-i2v"), "{file}");
        let mut request = VideoRequest::new(PROMPTS[2]);
        request.fill_guidance(manifest);
        for adaptive in [true, false] {
            for &tier in QualityTier::ALL {
                let request = VideoRequest { quality_tier: tier, ..request.clone() };
                let plan = plan(&planner(adaptive), manifest, &request);
                let sampling = &manifest.sampling;
                assert!(
                    (sampling.steps_min..=sampling.steps_max).contains(&plan.steps),
                    "{file} {tier}: {}",
                    plan.steps
                );
                if let Some((_, steps, shift)) = few_steps.iter().find(|(id, ..)| *id == manifest.id) {
                    assert!(
                        steps.contains(&plan.steps) && sampling.flow_shift == *shift,
                        "{file} {tier}: {}",
                        plan.steps
                    );
                    assert_eq!(
                        (plan.step_cache.mode, plan.step_cache.threshold),
                        (StepCacheMode::Off, 0.0),
                        "{file} {tier}"
                    );
                    assert!(steps.contains(&manifest.baseline_steps()));
                }
            }
        }
    }
}

#[test]
fn guidance_by_a_second_pass_doubles_the_estimate_of_the_steps() {
    let manifests: Vec<ModelManifest> = shipped().into_iter().map(|(_, manifest)| manifest).collect();
    let of = |id: &str| manifests.iter().find(|manifest| manifest.id == id).expect("shipped");
    let estimate = |manifest: &ModelManifest, infer_steps: u32| {
        let mut request = VideoRequest { infer_steps, ..VideoRequest::new("a cat") };
        request.fill_guidance(manifest);
        request.video_size = "480p".to_owned();
        request.step_cache = Some(StepCacheMode::Off);
        plan(&planner(true), manifest, &request).estimate_s
    };
    // What is around the steps is the same.
    let ten_steps = |manifest: &ModelManifest| estimate(manifest, 60) - estimate(manifest, 50);
    let (guided, distilled) =
        (ten_steps(of("hunyuanvideo-1.5-480p")), ten_steps(of("hunyuanvideo-1.5-480p-distilled")));
    assert!((guided / distilled - 2.0).abs() < 1e-9, "{guided} and {distilled}");
}

#[test]
fn the_default_model_understands_its_own_examples_and_says_what_it_does_not() {
    let manifest = parse(DEFAULT);
    let world = manifest.world.expect("the default model's world is small");
    for example in &manifest.examples {
        assert_eq!(optimizer::unknown_words(example, &world), [""; 0], "{example}");
    }
    assert_eq!(optimizer::unknown_words("Two dragons fly over the snow", &world), ["Two", "dragons"]);
    assert_eq!(parse(RELEASED).world, None, "the released model was trained on everything");
}
