//! `fleet.toml`: any text. With a manifest that is accepted, every size it names and every length can be planned.

#![no_main]

use domain::ModelManifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(manifest) = ModelManifest::parse(text) else { return };
    for size in &manifest.sizes {
        for aspect in &size.aspects {
            for length in [1, 5, manifest.length.rendered_at_max, manifest.length.max] {
                let shape = manifest.shape(&size.name, Some(&aspect.aspect), length).unwrap_or_else(|_| panic!("{length}"));
                assert!(shape.tokens() > 0 && shape.duration_s() > 0.0 && shape.duration_s().is_finite());
                assert!(manifest.memory.need_bytes(shape.tokens()) >= manifest.memory.base_bytes);
                assert!(manifest.cost_prior.step_scale(shape.tokens()).is_finite());
            }
        }
    }
});
