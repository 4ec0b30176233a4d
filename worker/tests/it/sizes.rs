//! The manifest's `[transformer]`, by which the API checks adapters, describes the checkpoint's layers exactly.

use std::path::Path;

use formats::layout::TransformerSizes;
use hunyuan::{DeviceChoice, Engine, EngineOptions, Residency};

#[test]
fn the_default_models_manifest_names_the_sizes_of_its_transformer() {
    let model_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/default");
    let sizes = settings::read_manifest(&model_dir).unwrap().transformer.unwrap();
    let options = EngineOptions {
        device: DeviceChoice::Cpu,
        text_encoders: Residency::OnDemand,
        ..EngineOptions::new(&model_dir)
    };
    let engine = Engine::load(&options).unwrap();
    let named = TransformerSizes {
        hidden: sizes.hidden,
        mlp: sizes.mlp,
        double_blocks: sizes.double_blocks,
        single_blocks: sizes.single_blocks,
        refiner_blocks: sizes.refiner_blocks,
        text: sizes.text,
        pooled: sizes.pooled,
        patch: sizes.patch,
        guidance: sizes.guidance,
    };
    assert_eq!(named.layers(), engine.placements().layers());
}
