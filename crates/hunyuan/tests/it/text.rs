//! Goal: prompts become the same embeddings as in diffusers and transformers, whatever the prompt.
//! Method: the committed fixtures' models on the prompts that the reference was run on; fp32, absolute differences.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hunyuan::v1::text::{POOLED, PROMPT};
use hunyuan::{Control, DeviceChoice, Dtype, Embeddings, Engine, EngineOptions, Error, Residency};
use serde::Deserialize;
use tch::{Kind, Tensor};

/// Largest difference of an embedding's value; they are of order one.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Case {
    model: String,
    prompt: Option<String>,
    prompts: Option<BTreeMap<String, String>>,
    #[serde(default)]
    dtype: Option<String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn engine(model: &Path, text_encoders: Residency) -> Engine {
    let options = EngineOptions {
        device: DeviceChoice::Cpu,
        dtype: Some(Dtype::F32),
        threads: Some(1),
        text_encoders,
        ..EngineOptions::new(model)
    };
    Engine::load(&options).unwrap()
}

fn distance(ours: &Tensor, reference: &Tensor) -> f64 {
    assert_eq!(ours.size(), reference.size());
    (ours.to_kind(Kind::Double) - reference.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// Name, model folder, prompt and what the reference made of it.
fn recorded() -> Vec<(String, PathBuf, String, Tensor, Tensor)> {
    let mut all = Vec::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if !folder.join("case.json").exists() {
            continue; // another family's
        }
        let case: Case = serde_json::from_str(&std::fs::read_to_string(folder.join("case.json")).unwrap()).unwrap();
        if case.dtype.is_some_and(|dtype| dtype != "f32") {
            continue;
        }
        let tensors: BTreeMap<String, Tensor> =
            Tensor::read_safetensors(folder.join("reference.safetensors")).unwrap().into_iter().collect();
        let model = folder.join(&case.model);
        let mut take = |label: String, prefix: &str, prompt: String| {
            let tensor = |key: &str| tensors[&format!("{prefix}{key}")].shallow_clone();
            all.push((label, model.clone(), prompt, tensor("prompt_embeds"), tensor("pooled_prompt_embeds")));
        };
        if let Some(prompt) = case.prompt {
            take(name.clone(), "", prompt);
        }
        for (key, prompt) in case.prompts.unwrap_or_default() {
            take(format!("{name}/{key}"), &format!("{key}."), prompt);
        }
    }
    all
}

#[test]
fn every_recorded_prompt_agrees_with_the_reference() {
    let recorded = recorded();
    let long = recorded.iter().any(|(_, _, _, embeds, _)| embeds.size()[1] == 256);
    let empty = recorded.iter().any(|(_, _, prompt, _, _)| prompt.is_empty());
    assert!(long && empty, "the fixtures hold an empty prompt and one beyond 256 tokens");
    for (name, model, prompt, embeds, pooled) in recorded {
        let ours = engine(&model, Residency::Resident).encode(&[&prompt], &Control::new()).unwrap().remove(0);
        let (states, vector) =
            (distance(ours.get(PROMPT).unwrap(), &embeds), distance(ours.get(POOLED).unwrap(), &pooled));
        assert!(states <= TOLERANCE && vector <= TOLERANCE, "{name}: states {states:e}, pooled {vector:e}");
    }
}

#[test]
fn a_batch_equals_single_runs() {
    let engine = engine(&fixtures().join("base/model"), Residency::Resident);
    let prompts = ["", "a cat", "a much longer prompt about a cat that walks on the grass, 一只猫 🐈"];
    let together = engine.encode(&prompts, &Control::new()).unwrap();
    for (prompt, batched) in prompts.iter().zip(together) {
        let single = engine.encode(&[prompt], &Control::new()).unwrap().remove(0);
        for name in [PROMPT, POOLED] {
            assert!(distance(batched.get(name).unwrap(), single.get(name).unwrap()) < 1e-5, "{name} of {prompt}");
        }
    }
}

#[test]
fn encoders_loaded_on_demand_give_the_same_and_do_not_stay() {
    let model = fixtures().join("base/model");
    let (resident, on_demand) = (engine(&model, Residency::Resident), engine(&model, Residency::OnDemand));
    assert!(on_demand.info().resident_bytes < resident.info().resident_bytes);
    assert_eq!(on_demand.info().encoder_fingerprint, resident.info().encoder_fingerprint);
    let encode = |engine: &Engine| engine.encode(&["a cat"], &Control::new()).unwrap().remove(0);
    let (one, other): (Embeddings, Embeddings) = (encode(&resident), encode(&on_demand));
    assert_eq!(one.fingerprint(), other.fingerprint());
}

#[test]
fn a_cancel_is_noticed_within_a_layer() {
    let engine = engine(&fixtures().join("base/model"), Residency::Resident);
    let whole = Control::new();
    engine.encode(&["a cat"], &whole).unwrap();
    assert!(whole.beats() > 1);
    for budget in 1..=whole.beats() {
        let control = Control::with_budget(budget);
        assert!(matches!(engine.encode(&["a cat"], &control), Err(Error::Cancelled)), "budget {budget}");
        assert_eq!(control.beats(), budget);
    }
}

#[test]
fn the_fingerprint_follows_every_file_that_embeddings_depend_on() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    };
    copy(&fixtures().join("base/model"), &folder.path().join("model"));
    let model = folder.path().join("model");
    let fingerprint = || engine(&model, Residency::OnDemand).info().encoder_fingerprint.clone();
    let before = fingerprint();
    let path = model.join("tokenizer/tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text} ")).unwrap();
    assert_ne!(fingerprint(), before);
}
