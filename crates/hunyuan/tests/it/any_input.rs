//! Goal: nothing that a model folder or a saved state may hold makes this crate panic or take memory without bound.
//! Method: a good folder with one file changed (a value of a configuration, bytes of a weights file), and saved states
//! with any content under a right checksum. Each is refused with an error, or it is whole.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hunyuan::runtime::weights::{Weights, key_table};
use hunyuan::v1::config::ModelConfig;
use hunyuan::v1::transformer::Transformer;
use hunyuan::v1::vae::Decoder;
use hunyuan::{Checkpoint, Engine, EngineOptions, Error};
use proptest::prelude::*;
use tempfile::TempDir;

const CONFIGS: [&str; 6] = [
    "model_index.json",
    "transformer/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "scheduler/scheduler_config.json",
];
const WEIGHTS: [&str; 4] = [
    "transformer/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
];

fn good() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/base/model")
}

/// The good folder with this file's content replaced.
fn folder_with(changed: &str, content: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for component in fs::read_dir(good()).expect("the fixture") {
        let (from, name) = component.map(|entry| (entry.path(), entry.file_name())).expect("an entry");
        let to = folder.path().join(name);
        if from.is_file() {
            symlink(&from, &to).expect("a link");
            continue;
        }
        fs::create_dir(&to).expect("a folder");
        for file in fs::read_dir(&from).expect("a component") {
            let file = file.expect("a file");
            symlink(file.path(), to.join(file.file_name())).expect("a link");
        }
    }
    let path = folder.path().join(changed);
    fs::remove_file(&path).expect("it is there");
    fs::write(&path, content).expect("it is written");
    folder
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        any::<i64>().prop_map(|n| serde_json::json!(n)),
        (-3..2000_i64).prop_map(|n| serde_json::json!(n)),
        (0..63u32).prop_map(|bit| serde_json::json!(1_i64 << bit)),
        any::<f64>().prop_map(|n| serde_json::json!(n)),
        any::<bool>().prop_map(|b| serde_json::json!(b)),
        ".{0,8}".prop_map(|text| serde_json::json!(text)),
        proptest::collection::vec(any::<i64>(), 0..5).prop_map(|list| serde_json::json!(list)),
        Just(serde_json::Value::Null),
        Just(serde_json::json!({})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_configuration_with_any_value_changed_is_refused_or_describes_a_network(
        file in 0..CONFIGS.len(), at in any::<prop::sample::Index>(), value in any_value(),
    ) {
        let text = fs::read(good().join(CONFIGS[file])).expect("the fixture");
        let mut json: serde_json::Map<_, _> = serde_json::from_slice(&text).expect("JSON");
        let key = json.keys().nth(at.index(json.len())).expect("a key").clone();
        json.insert(key, value);
        let folder = folder_with(CONFIGS[file], &serde_json::to_vec(&json).expect("JSON"));
        if let Ok(config) = ModelConfig::read(folder.path()) {
            prop_assert!(key_table(|loader| Transformer::load(loader, &config.transformer)).is_ok());
            prop_assert!(key_table(|loader| Decoder::load(loader, &config.vae)).is_ok());
            // Whether the weights still fit is told, not found out by a crash.
            drop(Engine::load(&EngineOptions::new(folder.path())));
        }
    }

    #[test]
    fn a_configuration_of_any_text_is_refused(file in 1..CONFIGS.len(), text in ".{0,60}") {
        let folder = folder_with(CONFIGS[file], text.as_bytes());
        // An empty object is a configuration with every value at its default; it does not fit the others.
        prop_assert!(ModelConfig::read(folder.path()).is_err());
    }

    #[test]
    fn weights_with_any_header_are_refused_or_listed(
        file in 0..WEIGHTS.len(), at in any::<prop::sample::Index>(), flip in 1..=255u8, cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = fs::read(good().join(WEIGHTS[file])).expect("the fixture");
        let header = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"))).expect("a length");
        bytes[at.index(header)] ^= flip;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = folder_with(WEIGHTS[file], &bytes);
        let component = folder.path().join(WEIGHTS[file]);
        if let Ok(weights) = Weights::open(component.parent().expect("its folder")) {
            prop_assert!(weights.shapes().all(|(_, shape)| shape.iter().all(|size| *size >= 0)));
        }
        drop(Engine::load(&EngineOptions::new(folder.path())));
    }

    #[test]
    fn a_saved_state_of_any_content_is_refused(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let signed = [b"HYVCKP01".as_slice(), blake3::hash(&content).as_bytes(), &content].concat();
        for bytes in [content.as_slice(), &signed] {
            let refused = matches!(Checkpoint::from_bytes(bytes), Err(Error::Resume { .. }));
            prop_assert!(refused);
        }
    }

    /// A safetensors file as a checkpoint has it, with a header of our own making.
    #[test]
    fn a_saved_state_with_any_tensors_is_refused(
        shape in proptest::collection::vec(prop_oneof![0..4_u64, any::<u64>()], 0..6),
        kind in proptest::sample::select(vec!["F32", "F16", "BF16", "I64", "U8", "F8_E4M3"]),
        data in proptest::collection::vec(any::<u8>(), 0..64),
        run in ".{0,20}",
    ) {
        let header = serde_json::json!({
            "__metadata__": {"run": run},
            "latents": {"dtype": kind, "shape": shape, "data_offsets": [0, data.len()]},
        });
        let header = serde_json::to_vec(&header).expect("JSON");
        let body = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat();
        let signed = [b"HYVCKP01".as_slice(), blake3::hash(&body).as_bytes(), &body].concat();
        let refused = matches!(Checkpoint::from_bytes(&signed), Err(Error::Resume { .. }));
        prop_assert!(refused);
    }
}
