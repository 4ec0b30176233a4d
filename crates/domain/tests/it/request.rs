//! Goal: the request's JSON is the documented one, all its errors are reported at once by field, and what is stored of it
//! survives releases that add fields.

use domain::model::ManifestError;
use domain::{
    Geometry, ModelFamily, ModelManifest, ProgressiveLevels, ProgressiveMode, QualityTier, RequestLimits, VideoRequest,
};
use proptest::prelude::*;

const LIMITS: RequestLimits = RequestLimits {
    prompt_chars_max: 2000,
    cfg_scale_max: 20.0,
    true_cfg_scale_max: 20.0,
    deadline_s_max: 86_400,
    interpolated_frames_max: 129,
};

const FULL_SCALE: &str = r#"
id = "hunyuan-video"
name = "HunyuanVideo"
fingerprint = { weights = "w", encoders = "e" }
sampling = { flow_shift = 7.0, steps_max = 100 }
sizes = [
  { name = "540p", aspects = [{ aspect = "16:9", width = 960, height = 544 }, { aspect = "9:16", width = 544, height = 960 }] },
  { name = "720p", aspects = [{ aspect = "16:9", width = 1280, height = 720 }] },
]
custom_size = { multiple_of = 16, side_min = 256, pixels_max = 921600 }
length = { max = 129, rendered_at_max = 129, rendered_min = 1 }
memory = { base_bytes = 30000000000, per_token_bytes = 250000 }
cost_prior = { tokens = 67320, step_s = 12.0, around_s = 54.0, around_cached_s = 12.0, attention_share = 0.79, baseline_steps = 33 }
"#;

fn full_scale() -> ModelManifest {
    ModelManifest::parse(FULL_SCALE).expect("a valid manifest")
}

fn small_scale() -> ModelManifest {
    let small = FULL_SCALE.replace("rendered_at_max = 129, rendered_min = 1", "rendered_at_max = 17, rendered_min = 5");
    ModelManifest::parse(&small).expect("a valid manifest")
}

#[test]
fn only_the_prompt_is_needed_and_the_defaults_are_the_documented_ones() {
    let request: VideoRequest = serde_json::from_str(r#"{"prompt": "A cat walks"}"#).expect("valid");
    assert_eq!(request, VideoRequest::new("A cat walks"));
    assert_eq!((request.video_size.as_str(), request.video_length, request.infer_steps), ("540p", 129, 0));
    assert_eq!((request.quality_tier, request.seed, request.flow_reverse), (QualityTier::Auto, None, true));
    assert!((request.cfg_scale - 6.0).abs() < f64::EPSILON);
    let shape = request.validate(&LIMITS, &full_scale()).expect("valid");
    assert_eq!(
        (shape.width, shape.height, shape.frames, shape.tokens(&full_scale().geometry)),
        (960, 544, 129, 67_320)
    );
}

/// An estimate before the first run is the prior, scaled by tokens: in other units it would be wrong by their ratio.
#[test]
fn the_default_models_prior_is_for_its_own_default_request() {
    let model = ModelManifest::parse(include_str!("../../../../models/default/fleet.toml")).expect("a valid manifest");
    let shape = VideoRequest::new("A cat walks").validate(&LIMITS, &model).expect("valid");
    assert_eq!(shape.tokens(&model.geometry), model.cost_prior.tokens);
}

#[test]
fn early_steps_at_half_the_size_are_refused_where_the_model_has_none() {
    let request = |progressive| VideoRequest { progressive: Some(progressive), ..VideoRequest::new("x") };
    let without = ModelManifest { progressive: None, ..full_scale() };
    let with = ModelManifest { progressive: Some(ProgressiveLevels { balanced: 0.8, fast: 0.6 }), ..full_scale() };
    let reason = |request: &VideoRequest, model: &ModelManifest| {
        let errors = request.validate(&LIMITS, model).expect_err("refused");
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, "progressive"), "{errors:?}");
        errors[0].reason.clone()
    };
    assert!(reason(&request(ProgressiveMode::Fast), &without).contains("not offered by this model"));
    assert!(request(ProgressiveMode::Off).validate(&LIMITS, &without).is_ok());
    assert!(request(ProgressiveMode::Balanced).validate(&LIMITS, &with).is_ok());
    let inverted = VideoRequest { flow_reverse: false, ..request(ProgressiveMode::Fast) };
    assert!(reason(&inverted, &with).contains("flow_reverse"));
}

#[test]
fn interpolation_is_refused_where_nothing_can_do_it_and_where_it_would_make_too_many_frames() {
    let request = |factor: u32, video_length: u32| VideoRequest {
        interpolate: Some(factor),
        video_length,
        ..VideoRequest::new("A cat walks")
    };
    let reason = |request: &VideoRequest, limits: &RequestLimits| {
        let errors = request.validate(limits, &full_scale()).expect_err("refused");
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, "interpolate"), "{errors:?}");
        errors[0].reason.clone()
    };
    for factor in [1, 2] {
        let shape = request(factor, 65).validate(&LIMITS, &full_scale()).expect("valid");
        assert_eq!(shape.frames, 65, "the model renders what it would without");
    }
    assert!(reason(&request(4, 65), &LIMITS).contains("257 frames of 65; at most 129"));
    assert!(reason(&request(3, 65), &LIMITS).contains("1, 2, 4 or 8, not 3"));
    assert!(reason(&request(0, 65), &LIMITS).contains("not 0"));
    assert!(reason(&request(2, 1), &LIMITS).contains("at least two frames"));
    let without = RequestLimits { interpolated_frames_max: 0, ..LIMITS };
    assert!(reason(&request(2, 65), &without).contains("scripts/fetch-interpolator"));
    assert!(request(1, 65).validate(&without, &full_scale()).is_ok());
    let written: VideoRequest = serde_json::from_str(r#"{"prompt": "x", "interpolate": 2.0}"#).expect("valid");
    assert_eq!(written.interpolate, Some(2));
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    let error = serde_json::from_str::<VideoRequest>(r#"{"prompt": "x", "stepz": 3}"#).expect_err("unknown field");
    assert!(error.to_string().contains("stepz"), "{error}");
}

#[test]
fn a_stored_document_is_read_leniently() {
    let document = serde_json::json!({ "prompt": "x", "infer_steps": 3, "a_later_field": [1], "deadline_s": null });
    let request = VideoRequest::from_document(document).expect("another release's document");
    assert_eq!(request, VideoRequest { infer_steps: 3, ..VideoRequest::new("x") });
    for broken in [serde_json::json!({}), serde_json::json!([]), serde_json::json!({ "prompt": "x", "seed": "one" })] {
        VideoRequest::from_document(broken.clone()).expect_err(&broken.to_string());
    }
}

/// Pinned, because hashes are stored: a change here would turn every repeated submission into a reused key. A new field must
/// not change them, since it counts only when it differs from its default.
#[test]
fn the_payload_hash_is_the_one_that_was_stored() {
    const PLAIN: &str = r#"{"prompt":"A cat walks","video_size":"540p","aspect_ratio":null,"video_length":129,"infer_steps":0,"quality_tier":"auto","seed":null,"cfg_scale":6.0,"flow_reverse":true,"negative_prompt":null,"true_cfg_scale":1.0,"step_cache":null,"similar_prompts":null,"model":null,"deadline_s":null}"#;
    let plain = VideoRequest::new("A cat walks");
    assert_eq!(plain.payload_hash(), *blake3::hash(PLAIN.as_bytes()).as_bytes());
    let seeded = PLAIN.replace(r#""seed":null"#, r#""seed":7"#);
    assert_eq!(VideoRequest { seed: Some(7), ..plain }.payload_hash(), *blake3::hash(seeded.as_bytes()).as_bytes());
}

#[test]
fn all_errors_are_reported_at_once() {
    let mut request = VideoRequest::new("  ");
    request.video_length = 128;
    request.infer_steps = 1000;
    request.cfg_scale = f64::NAN;
    request.true_cfg_scale = 3.0;
    request.aspect_ratio = Some("4:3".to_owned());
    request.deadline_s = Some(0);
    let errors = request.validate(&LIMITS, &full_scale()).expect_err("nearly all is wrong");
    let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(
        fields,
        ["prompt", "infer_steps", "cfg_scale", "negative_prompt", "deadline_s", "aspect_ratio", "video_length"]
    );
}

#[test]
fn sizes_are_names_of_the_model_or_pixels_within_its_limits() {
    let model = full_scale();
    let pixels = |size: &str, aspect: Option<&str>| model.shape(size, aspect, 129).map(|s| (s.width, s.height));
    assert_eq!(pixels("540p", Some("9:16")), Ok((544, 960)));
    assert_eq!(pixels("720x720", None), Ok((720, 720)));
    assert_eq!(pixels("4k", None).expect_err("unknown")[0].field, "video_size");
    assert_eq!(pixels("+720x720", None).expect_err("a sign")[0].field, "video_size");
    assert_eq!(pixels("721x720", None).expect_err("not a multiple of 16")[0].field, "video_size");
    assert_eq!(pixels("4096x4096", None).expect_err("too many pixels")[0].field, "video_size");
    assert_eq!(pixels("720x720", Some("1:1")).expect_err("says it twice")[0].field, "aspect_ratio");
}

#[test]
fn a_small_model_keeps_the_duration_with_fewer_frames() {
    let shape = small_scale().shape("540p", None, 129).expect("valid");
    assert_eq!(shape.frames, 17);
    assert!((shape.duration_s() - 129.0 / 24.0).abs() < 1e-9);
}

#[test]
fn a_manifest_that_makes_no_sense_names_the_key() {
    let cases = [
        (FULL_SCALE.replace("\"hunyuan-video\"", "\"Hunyuan Video\""), "id"),
        (FULL_SCALE.replace("width = 960", "width = 961"), "sizes.540p"),
        (FULL_SCALE.replace("rendered_min = 1 ", "rendered_min = 2 "), "length.rendered_min"),
        (FULL_SCALE.replace("step_s = 12.0", "step_s = -1.0"), "cost_prior.step_s"),
        (FULL_SCALE.replace("width = 960", "width = 4294967280"), "sizes.540p"),
        (FULL_SCALE.replace("max = 129, ", "max = 4294967293, "), "length.max"),
        (FULL_SCALE.replace("pixels_max = 921600", "pixels_max = 4294967295"), "custom_size.pixels_max"),
        (FULL_SCALE.replace("flow_shift = 7.0", "flow_shift = nan"), "sampling.flow_shift"),
        (FULL_SCALE.replace("multiple_of = 16", "multiple_of = 0"), "custom_size.multiple_of"),
    ];
    for (text, expected) in cases {
        match ModelManifest::parse(&text) {
            Err(ManifestError::Value { key, .. }) => assert_eq!(key, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert!(ModelManifest::parse(&format!("{FULL_SCALE}\nsurprise = 1")).is_err());
}

#[test]
fn a_manifest_without_family_and_geometry_is_one_of_the_first_family() {
    let model = full_scale();
    assert_eq!((model.family, model.geometry), (ModelFamily::V1, Geometry::default()));
}

#[test]
fn geometry_decides_which_sizes_and_lengths_exist() {
    let with = |table: &str| ModelManifest::parse(&format!("{FULL_SCALE}\n[geometry]\n{table}\n"));
    let released = with("spatial = 16\npatch = 1").expect("HunyuanVideo 1.5 takes the same sizes");
    assert_eq!(released.shape("540p", None, 129).expect("valid").tokens(&released.geometry), 67_320);
    for (table, expected) in [
        ("spatial = 32", "custom_size.multiple_of"),
        ("temporal = 5", "length.max"),
        ("patch = 0", "geometry.patch"),
        ("temporal = 1000", "geometry.temporal"),
    ] {
        match with(table) {
            Err(ManifestError::Value { key, .. }) => assert_eq!(key, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn an_unknown_family_is_refused_with_the_known_ones() {
    let error = ModelManifest::parse(&format!("family = \"v9\"\n{FULL_SCALE}")).expect_err("unknown").to_string();
    assert!(error.contains("v9") && error.contains("v1"), "{error}");
}

proptest! {
    #[test]
    fn no_request_panics_and_every_refusal_names_a_field(
        prompt in ".{0,80}", size in ".{0,12}", length in any::<u32>(), steps in any::<u32>(), seed in any::<Option<u64>>(),
        scale in any::<f64>(),
    ) {
        let mut request = VideoRequest::new(prompt);
        (request.video_size, request.video_length, request.infer_steps) = (size, length, steps);
        (request.seed, request.cfg_scale) = (seed, scale);
        if let Err(errors) = request.validate(&LIMITS, &full_scale()) {
            prop_assert!(!errors.is_empty() && errors.iter().all(|e| !e.field.is_empty() && !e.reason.is_empty()));
        }
    }

    #[test]
    fn any_text_is_a_manifest_or_is_refused(text in ".{0,200}") {
        prop_assert!(ModelManifest::parse(&text).is_err());
    }

    /// One value of a good manifest at a time becomes something else: it is refused, or everything it names can be
    /// planned.
    #[test]
    fn a_manifest_with_any_one_value_changed_is_refused_or_whole(
        at in any::<prop::sample::Index>(),
        value in prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()), any::<u32>().prop_map(|n| n.to_string()), Just("0".to_owned()),
            any::<f64>().prop_map(|n| format!("{n:?}").to_lowercase()), Just("\"x\"".to_owned()), Just("[]".to_owned()),
        ],
    ) {
        let values: Vec<_> = FULL_SCALE.match_indices(" = ").map(|(start, _)| start + 3).collect();
        let start = values[at.index(values.len())];
        let length = FULL_SCALE[start..].find([',', '}', '\n']).expect("a value ends");
        let text = format!("{}{value} {}", &FULL_SCALE[..start], &FULL_SCALE[start + length..]);
        let Ok(manifest) = ModelManifest::parse(&text) else { return Ok(()) };
        for size in &manifest.sizes {
            for aspect in &size.aspects {
                for length in [1, manifest.length.rendered_at_max, manifest.length.max] {
                    let shape = manifest.shape(&size.name, Some(&aspect.aspect), length).expect("a size it names");
                    prop_assert!(shape.tokens(&manifest.geometry) > 0 && shape.duration_s() > 0.0, "{:?}", shape);
                    prop_assert!(manifest.memory.need_bytes(shape.tokens(&manifest.geometry)) >= manifest.memory.base_bytes);
                    prop_assert!(manifest.cost_prior.step_scale(shape.tokens(&manifest.geometry)).is_finite());
                }
            }
        }
    }

    #[test]
    fn rendered_frames_are_always_4k_plus_1_within_the_model(k in 0..=32u32) {
        let shape = small_scale().shape("540p", None, 4 * k + 1).expect("valid");
        prop_assert_eq!(shape.frames % 4, 1);
        prop_assert!(shape.frames <= 17);
    }

    #[test]
    fn a_payload_hash_tells_requests_apart(a in ".{1,20}", b in ".{1,20}") {
        prop_assume!(a != b);
        prop_assert_ne!(VideoRequest::new(a).payload_hash(), VideoRequest::new(b).payload_hash());
    }
}

#[test]
fn a_prompt_must_show_something() {
    for empty in ["", " \t\n", "\u{200B}\u{FEFF}", "\u{7}\u{85}", "\u{2060}\u{E0041} \u{3164}", "\u{2800}\u{3000}"] {
        let errors = VideoRequest::new(empty).validate(&LIMITS, &full_scale()).expect_err("nothing to see");
        assert_eq!(errors[0].field, "prompt", "{empty:?}");
    }
    for shown in ["a", "猫", "⚽", "\u{200D}x", "."] {
        assert!(VideoRequest::new(shown).validate(&LIMITS, &full_scale()).is_ok(), "{shown:?}");
    }
}

/// It would be stored and shown, and change nothing in the video.
#[test]
fn a_negative_prompt_without_effect_is_refused() {
    let with = |text: &str, scale: f64| {
        let negative_prompt = Some(text.to_owned());
        let request = VideoRequest { negative_prompt, true_cfg_scale: scale, ..VideoRequest::new("a cat") };
        request.validate(&LIMITS, &full_scale())
    };
    let errors = with("blur", 1.0).expect_err("no effect");
    assert_eq!(errors[0].field, "negative_prompt");
    assert!(errors[0].reason.contains("true_cfg_scale"), "{}", errors[0].reason);
    assert!(with("", 1.0).is_ok() && with("blur", 1.5).is_ok() && with("", 1.5).is_ok());
}

#[test]
fn candidates_have_limits_and_need_a_preview() {
    let wrong = |edit: &dyn Fn(&mut VideoRequest)| {
        let mut request = VideoRequest::new("A cat walks");
        edit(&mut request);
        request.validate(&LIMITS, &full_scale()).map_err(|errors| errors[0].field.clone())
    };
    assert!(wrong(&|request| request.candidates = 8).is_ok());
    for candidates in [0, 9] {
        assert_eq!(wrong(&|request| request.candidates = candidates), Err("candidates".to_owned()));
    }
    assert_eq!(wrong(&|request| (request.candidates, request.flow_reverse) = (2, false)), Err("candidates".to_owned()));
}

#[test]
fn a_request_is_stored_with_the_guidance_of_its_model() {
    let text = "true_cfg_scale = 6.0";
    let mut guided = full_scale();
    guided.sampling.guidance = toml::from_str(text).expect("guidance");
    let mut request = VideoRequest::new("A cat walks");
    request.validate(&LIMITS, &guided).expect("valid");
    request.fill_guidance(&guided);
    assert_eq!((request.true_cfg_scale, request.negative_prompt.as_deref()), (6.0, Some("")));
    // What was filled in is valid by itself, so that a job can be submitted again.
    request.validate(&LIMITS, &guided).expect("valid");
    let negative = VideoRequest { negative_prompt: Some("blurry".to_owned()), ..VideoRequest::new("A cat walks") };
    negative.validate(&LIMITS, &guided).expect("the model's guidance gives it an effect");
    assert!(negative.validate(&LIMITS, &full_scale()).is_err());
    let mut plain = VideoRequest::new("A cat walks");
    plain.fill_guidance(&full_scale());
    assert_eq!(plain, VideoRequest::new("A cat walks"));
}

#[test]
fn steps_and_scales_that_a_distilled_model_does_not_run_are_refused() {
    let mut distilled = full_scale();
    (distilled.sampling.steps_min, distilled.sampling.steps_max) = (4, 8);
    distilled.sampling.guidance = toml::from_str("kind = \"none\"").expect("guidance");
    let fields = |request: VideoRequest| -> Vec<String> {
        let errors = request.validate(&LIMITS, &distilled).err().unwrap_or_default();
        errors.into_iter().map(|error| error.field).collect()
    };
    for (steps, wrong) in [(0, false), (3, true), (4, false), (8, false), (9, true)] {
        let refused = fields(VideoRequest { infer_steps: steps, ..VideoRequest::new("A cat walks") });
        assert_eq!(refused == ["infer_steps"], wrong, "{steps}: {refused:?}");
    }
    let guided =
        VideoRequest { true_cfg_scale: 3.0, negative_prompt: Some(String::new()), ..VideoRequest::new("A cat walks") };
    assert_eq!(fields(guided), ["true_cfg_scale"]);
    distilled.sampling.steps_max = 4;
    let request = VideoRequest { infer_steps: 5, ..VideoRequest::new("A cat walks") };
    let errors = request.validate(&LIMITS, &distilled).expect_err("one number of steps is possible");
    assert_eq!(errors[0].reason, "must be 0 (adaptive) or 4, not 5");
}

#[test]
fn long_videos_are_stretched_by_the_models_rule_or_as_asked() {
    let offered = FULL_SCALE.replace("rendered_min = 1 }", "rendered_min = 1, riflex_above = 100, good_max = 101 }");
    let offered = ModelManifest::parse(&offered).expect("a valid manifest");
    let asked = |riflex| VideoRequest { riflex, ..VideoRequest::new("x") };
    for (riflex, frames, wanted) in
        [(None, 97, false), (None, 101, true), (Some(true), 97, true), (Some(false), 101, false)]
    {
        assert_eq!(asked(riflex).stretches(&offered, frames), wanted, "{riflex:?} {frames}");
        asked(riflex).validate(&LIMITS, &offered).expect("valid");
    }
    assert!(!asked(None).stretches(&full_scale(), 129));
    let wrong = asked(Some(true)).validate(&LIMITS, &full_scale()).expect_err("not offered");
    assert_eq!(wrong[0].field, "riflex");
    let unreachable = FULL_SCALE.replace("rendered_min = 1 }", "rendered_min = 1, good_max = 133 }");
    let error = ModelManifest::parse(&unreachable).expect_err("beyond the maximum").to_string();
    assert!(error.contains("length.good_max"), "{error}");
}
