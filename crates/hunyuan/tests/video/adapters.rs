//! Adapters of every family against diffusers and PEFT, and what they leave behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]

use std::path::PathBuf;

use formats::layout::TransformerSizes;
use hunyuan::{
    Adapter, AdapterPath, AdapterUse, Checkpoint, Control, DenoiseRequest, Dtype, Engine, EngineOptions, Error, Storage,
};
use serde::Deserialize;
use tch::Tensor;

use crate::fixture::{Fixture, denoise, distance, go_on, small};

/// What fp32 must reach; values are of order one, and every adapter changes them by a tenth and more.
const AGREEMENT: f64 = 2e-5;

#[derive(Deserialize)]
struct Case {
    name: String,
    uses: Vec<Use>,
}

#[derive(Deserialize)]
struct Use {
    file: String,
    scale: f64,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters")
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&std::fs::read_to_string(folder().join("cases.json")).unwrap()).unwrap()
}

fn open(engine: &Engine, file: &str) -> Adapter {
    engine.open_adapter(&folder().join(file)).unwrap()
}

fn activate(engine: &mut Engine, adapters: &[(&Adapter, f64)]) {
    let uses: Vec<AdapterUse> = adapters.iter().map(|&(adapter, strength)| AdapterUse { adapter, strength }).collect();
    engine.set_adapters(&uses, &Control::new()).unwrap();
}

/// The first prediction of the case `base`.
fn first_velocity(engine: &Engine, request: &DenoiseRequest) -> Tensor {
    let mut first = None;
    let stopped = engine.denoise(request, None, &Control::new(), &mut |end| {
        first = end.velocity().map(Tensor::shallow_clone);
        std::ops::ControlFlow::Break(())
    });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    first.unwrap()
}

/// Every value of the transformer's weights.
fn weights(engine: &Engine) -> Vec<Tensor> {
    let placements = engine.placements();
    let keys: Vec<String> =
        placements.names().flat_map(|name| placements.provenance(name)).map(|range| range.key.clone()).collect();
    keys.iter().map(|key| placements.view(key).unwrap().copy()).collect()
}

#[test]
fn every_case_agrees_with_the_reference_and_the_base_comes_back_bit_for_bit() {
    let fixture = Fixture::open("base");
    let mut engine = fixture.engine();
    let request = fixture.request();
    let reference: std::collections::BTreeMap<String, Tensor> =
        Tensor::read_safetensors(folder().join("reference.safetensors")).unwrap().into_iter().collect();
    let before = weights(&engine);
    let plain = first_velocity(&engine, &request);
    for case in cases() {
        let opened: Vec<(Adapter, f64)> = case.uses.iter().map(|one| (open(&engine, &one.file), one.scale)).collect();
        let uses: Vec<(&Adapter, f64)> = opened.iter().map(|(adapter, scale)| (adapter, *scale)).collect();
        activate(&mut engine, &uses);
        let velocity = first_velocity(&engine, &request);
        let difference = distance(&velocity, &reference[&case.name]);
        assert!(difference <= AGREEMENT, "{}: {difference:.3e}", case.name);
        // The order in which they are named makes no difference, and neither does what was active before.
        activate(&mut engine, &[]);
        let reversed: Vec<_> = uses.iter().rev().copied().collect();
        activate(&mut engine, &reversed);
        assert!(first_velocity(&engine, &request).equal(&velocity), "{}", case.name);
    }
    activate(&mut engine, &[]);
    assert!(before.iter().zip(weights(&engine)).all(|(before, after)| before.equal(&after)));
    assert!(first_velocity(&engine, &request).equal(&plain));
}

/// The factors act beside the weights instead of being merged: the same in fp32 up to the order of sums.
#[test]
fn every_case_agrees_with_the_reference_beside_the_weights_too() {
    let fixture = Fixture::open("base");
    let options = EngineOptions { adapter_path: AdapterPath::Beside, ..fixture.options() };
    let mut engine = Engine::load(&options).unwrap();
    let request = fixture.request();
    let reference: std::collections::BTreeMap<String, Tensor> =
        Tensor::read_safetensors(folder().join("reference.safetensors")).unwrap().into_iter().collect();
    let plain = first_velocity(&engine, &request);
    for case in cases() {
        let opened: Vec<(Adapter, f64)> = case.uses.iter().map(|one| (open(&engine, &one.file), one.scale)).collect();
        let uses: Vec<(&Adapter, f64)> = opened.iter().map(|(adapter, scale)| (adapter, *scale)).collect();
        activate(&mut engine, &uses);
        let difference = distance(&first_velocity(&engine, &request), &reference[&case.name]);
        assert!(difference <= AGREEMENT, "{}: {difference:.3e}", case.name);
    }
    activate(&mut engine, &[]);
    assert!(first_velocity(&engine, &request).equal(&plain));
}

/// Matrices in FP8: a stated error without adapters, the same adapters beside them, and nothing left behind.
#[test]
fn weights_in_fp8_have_a_small_error_and_take_adapters() {
    let fixture = Fixture::open("base");
    let options = EngineOptions { storage: Storage::Fp8, ..fixture.options() };
    let (full, mut small) = (fixture.engine(), Engine::load(&options).unwrap());
    let request = fixture.request();
    let (exact, plain) = (first_velocity(&full, &request), first_velocity(&small, &request));
    let size = exact.square().mean(None).sqrt().double_value(&[]);
    let relative = |left: &Tensor, right: &Tensor| (left - right).square().mean(None).sqrt().double_value(&[]) / size;
    // docs/models.md states it.
    let error = relative(&plain, &exact);
    assert!((1e-4..FP8_ERROR_MAX).contains(&error), "{error:.3e}");
    assert!(small.info().resident_bytes < full.info().resident_bytes);
    assert_ne!(small.identity(&request).unwrap(), full.identity(&request).unwrap(), "its videos are others");

    let adapter = open(&small, "musubi.safetensors");
    activate(&mut small, &[(&adapter, 0.8)]);
    let changed = first_velocity(&small, &request);
    let mut merged = fixture.engine();
    let same = open(&merged, "musubi.safetensors");
    activate(&mut merged, &[(&same, 0.8)]);
    let wanted = first_velocity(&merged, &request);
    let effect = relative(&wanted, &exact);
    assert!(effect > 0.1, "the adapter has an effect: {effect:.3e}");
    assert!(relative(&changed, &wanted) < 2.0 * FP8_ERROR_MAX, "{:.3e}", relative(&changed, &wanted));
    activate(&mut small, &[]);
    assert!(first_velocity(&small, &request).equal(&plain));

    // A whole difference of a matrix cannot be kept beside it.
    let layer = "transformer_blocks.0.attn.to_q";
    let [outputs, inputs] = small.placements().layers()[layer].map(|size| i64::try_from(size).unwrap());
    let difference = Tensor::ones([outputs, inputs], (tch::Kind::Float, tch::Device::Cpu));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("difference.safetensors");
    Tensor::write_safetensors(&[(format!("{layer}.diff").as_str(), &difference)], &path).unwrap();
    let adapter = small.open_adapter(&path).unwrap();
    let both = [AdapterUse { adapter: &adapter, strength: 1.0 }];
    let refused = small.set_adapters(&both, &Control::new()).unwrap_err().to_string();
    assert!(refused.contains("FP8") && refused.contains("transformer_storage"), "{refused}");
    assert!(first_velocity(&small, &request).equal(&plain), "a refused adapter leaves nothing");
}

/// The largest error of the first prediction with matrices in FP8, relative to its size.
const FP8_ERROR_MAX: f64 = 0.03;

#[test]
fn in_16_bits_too_nothing_is_left_behind_after_many_changes() {
    let fixture = Fixture::open("base");
    let options = EngineOptions { dtype: Some(Dtype::Bf16), ..fixture.options() };
    let mut engine = Engine::load(&options).unwrap();
    let before = weights(&engine);
    let (one, two) = (open(&engine, "original.safetensors"), open(&engine, "comfy.safetensors"));
    activate(&mut engine, &[(&one, 0.7), (&two, -0.4)]);
    let merged = weights(&engine);
    for strength in [0.1, 0.7, -1.0] {
        activate(&mut engine, &[(&one, strength)]);
        activate(&mut engine, &[(&two, strength)]);
    }
    activate(&mut engine, &[(&two, -0.4), (&one, 0.7)]);
    assert!(merged.iter().zip(weights(&engine)).all(|(before, after)| before.equal(&after)));
    activate(&mut engine, &[]);
    assert!(before.iter().zip(weights(&engine)).all(|(before, after)| before.equal(&after)));
}

#[test]
fn a_strength_of_zero_is_no_adapter_and_a_cancelled_change_leaves_none() {
    let fixture = Fixture::open("base");
    let mut engine = fixture.engine();
    let before = weights(&engine);
    let plain = engine.identity(&fixture.request()).unwrap();
    let adapter = open(&engine, "musubi.safetensors");
    activate(&mut engine, &[(&adapter, 0.0)]);
    assert_eq!(engine.identity(&fixture.request()).unwrap(), plain);
    activate(&mut engine, &[(&adapter, 1.0)]);
    let control = Control::new();
    control.cancel();
    let one = AdapterUse { adapter: &adapter, strength: 0.5 };
    assert!(matches!(engine.set_adapters(&[one], &control), Err(Error::Cancelled)));
    assert!(before.iter().zip(weights(&engine)).all(|(before, after)| before.equal(&after)));
    assert_eq!(engine.identity(&fixture.request()).unwrap(), plain);
    let twice = engine.set_adapters(&[one, one], &Control::new()).unwrap_err().to_string();
    assert!(twice.contains("twice"), "{twice}");
    let endless = AdapterUse { adapter: &adapter, strength: f64::INFINITY };
    assert!(engine.set_adapters(&[endless], &Control::new()).is_err());
}

#[test]
fn a_run_resumes_with_its_adapters_and_with_no_others() {
    let fixture = Fixture::open("base");
    let mut engine = fixture.engine();
    let (one, two) = (open(&engine, "diffusers.safetensors"), open(&engine, "musubi.safetensors"));
    let request = small(&fixture, 3, 5);
    activate(&mut engine, &[(&one, 0.8)]);
    let (checkpoints, whole) = crate::fixture::recorded(&engine, &request);
    let saved = Checkpoint::from_bytes(&checkpoints[1]).unwrap();
    for wrong in [vec![], vec![(&one, 0.9)], vec![(&two, 0.8)], vec![(&one, 0.8), (&two, 0.1)]] {
        activate(&mut engine, &wrong);
        let refused = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap_err();
        assert!(matches!(&refused, Error::Resume { reason } if reason.contains("adapters")), "{refused}");
    }
    activate(&mut engine, &[(&one, 0.8)]);
    let resumed = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap();
    assert!(resumed.latents.tensor.equal(&whole.latents.tensor));
    activate(&mut engine, &[]);
    assert!(!denoise(&engine, &request).latents.tensor.equal(&whole.latents.tensor));
}

#[test]
fn files_that_are_no_adapters_of_this_model_are_refused_with_the_reason() {
    let engine = Fixture::open("base").engine();
    let refused = |path: PathBuf| engine.open_adapter(&path).unwrap_err().to_string();
    let weights = Fixture::open("base").model_dir.join("transformer/diffusion_pytorch_model.safetensors");
    assert!(refused(weights).contains("another model"));
    let dir = tempfile::tempdir().unwrap();
    let write = |bytes: &[u8]| {
        let path = dir.path().join("a.safetensors");
        std::fs::write(&path, bytes).unwrap();
        path
    };
    assert!(refused(write(b"version https://git-lfs.github.com/spec/v1\noid sha256:00")).contains("git lfs pull"));
    assert!(refused(write(b"")).contains("empty"));
    let whole = std::fs::read(folder().join("musubi.safetensors")).unwrap();
    assert!(refused(write(&whole[..whole.len() - 1])).contains("cut off"));
    let wide = Fixture::open("wide").engine();
    let other = wide.open_adapter(&folder().join("musubi.safetensors")).unwrap_err().to_string();
    assert!(other.contains("another model"), "{other}");
}

/// The API checks adapters by these sizes alone, so they must give the layers that a loaded network has.
#[test]
fn the_layers_of_a_size_are_those_of_the_network() {
    for name in ["base", "wide", "deep"] {
        let fixture = Fixture::open(name);
        let config = fixture.config().transformer;
        let size = |value: i64| u64::try_from(value).unwrap();
        let sizes = TransformerSizes {
            hidden: size(config.hidden_size()),
            mlp: size(config.mlp_size()),
            double_blocks: size(config.num_layers),
            single_blocks: size(config.num_single_layers),
            refiner_blocks: size(config.num_refiner_layers),
            text: size(config.text_embed_dim),
            pooled: size(config.pooled_projection_dim),
            patch: size(config.in_channels * config.patch_size * config.patch_size * config.patch_size_t),
            guidance: config.guidance_embeds,
        };
        assert_eq!(sizes.layers(), fixture.engine().placements().layers(), "{name}");
    }
}
