//! Model folders: a valid one in which the first byte chooses the file whose content is replaced by the rest. An accepted folder
//! describes networks that can be listed and compared with the weights.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use hunyuan::v1::config::ModelConfig;
use hunyuan::v1::transformer::Transformer;
use hunyuan::v1::vae::Decoder;
use hunyuan::runtime::weights::{Weights, key_table};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const FILES: [&str; 10] = [
    "model_index.json",
    "transformer/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "scheduler/scheduler_config.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
];

static GOOD: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hunyuan/tests/fixtures/base/model"));

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    for file in FILES {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("its folder");
        fs::copy(GOOD.join(file), path).expect("the fixture is copied");
    }
    folder
});

fn read(folder: &Path) {
    let Ok(config) = ModelConfig::read(folder) else { return };
    let transformer = key_table(|loader| Transformer::load(loader, &config.transformer)).expect("it was accepted");
    let decoder = key_table(|loader| Decoder::load(loader, &config.vae)).expect("it was accepted");
    assert!(transformer.parameters() >= 0 && decoder.parameters() >= 0);
    for (component, table) in [("transformer", transformer), ("vae", decoder)] {
        if let Ok(weights) = Weights::open(&folder.join(component)) {
            drop(weights.compare(&table).to_string());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, content)) = data.split_first() else { return };
    let file = FILES[usize::from(*choice) % FILES.len()];
    fs::write(FOLDER.path().join(file), content).expect("it is written");
    read(FOLDER.path());
    fs::copy(GOOD.join(file), FOLDER.path().join(file)).expect("the fixture is put back");
});
