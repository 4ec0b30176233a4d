//! Whether a model folder's `fleet.toml` describes the checkpoint beside it.
//!
//! The API and the scheduler believe the manifest: other weights would make other videos under the same name, another geometry
//! would let them accept sizes that the model cannot render, and another schedule or guidance would spoil every video.

use domain::ModelManifest;
use domain::model::Override;

use super::RendererInfo;

/// Compares family and geometry; the fingerprints too unless `skip_fingerprints`, which is for the command that writes them.
///
/// # Errors
/// The first difference, with what to change.
pub(crate) fn check(info: &RendererInfo, manifest: &ModelManifest, skip_fingerprints: bool) -> anyhow::Result<()> {
    let (written, found) = (manifest.family, info.family);
    anyhow::ensure!(
        written == found,
        "fleet.toml says family = \"{written}\", but the checkpoint is of the family \"{found}\"; write family = \"{found}\""
    );
    let (written, found) = (manifest.image, info.image);
    anyhow::ensure!(
        written == found,
        "fleet.toml says image = \"{written}\", but the checkpoint's pipeline says \"{found}\"; write image = \"{found}\" below \
         family"
    );
    for ((factor, written), (_, found)) in manifest.geometry.factors().into_iter().zip(info.geometry.factors()) {
        anyhow::ensure!(
            written == found,
            "fleet.toml says geometry.{factor} = {written}, but the checkpoint's configuration says {found}; write \
             {factor} = {found} under [geometry]"
        );
    }
    check_sampling(info, manifest)?;
    let fingerprints = [
        ("weights", &manifest.fingerprint.weights, &info.model_fingerprint),
        ("encoders", &manifest.fingerprint.encoders, &info.encoder_fingerprint),
    ];
    for (what, written, found) in fingerprints.into_iter().filter(|_| !skip_fingerprints) {
        anyhow::ensure!(
            written == found,
            "fleet.toml says fingerprint.{what} = \"{written}\", but the folder's {what} are {found}; if the folder is the \
             right one, run `worker fingerprint --model DIR --write`"
        );
    }
    Ok(())
}

/// Compares the numbers that both the manifest and the checkpoint's files hold; those that the manifest overrides may differ.
fn check_sampling(info: &RendererInfo, manifest: &ModelManifest) -> anyhow::Result<()> {
    let sampling = &manifest.sampling;
    let numbers = [
        (Override::FlowShift, "sampling", "flow_shift", sampling.flow_shift, info.flow_shift),
        (
            Override::TrueCfgScale,
            "sampling.guidance",
            "true_cfg_scale",
            sampling.guidance.true_cfg_scale,
            info.true_cfg_scale,
        ),
    ];
    for (value, table, key, written, found) in numbers {
        anyhow::ensure!(
            written == found || sampling.overrides(value),
            "fleet.toml says {table}.{key} = {written}, but the checkpoint's files say {found}; write {key} = {found} under \
             [{table}], or list \"{key}\" in sampling.overrides if the checkpoint's number is wrong"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::{Geometry, ImageInput, ModelFamily};

    use super::*;

    fn manifest() -> ModelManifest {
        ModelManifest::parse(include_str!("../../../models/default/fleet.toml")).unwrap()
    }

    fn info() -> RendererInfo {
        let manifest = manifest();
        RendererInfo {
            family: ModelFamily::V1,
            image: ImageInput::None,
            geometry: manifest.geometry,
            flow_shift: manifest.sampling.flow_shift,
            true_cfg_scale: 1.0,
            model_fingerprint: manifest.fingerprint.weights,
            encoder_fingerprint: manifest.fingerprint.encoders,
            device: "cpu".to_owned(),
            devices: 1,
            device_class: "cpu".to_owned(),
            build: "test".to_owned(),
            threads: 1,
            memory_bytes: 0,
            attention_flops: 0.0,
            attention: None,
            formats: "f32/f32/f32".to_owned(),
        }
    }

    #[test]
    fn a_manifest_of_this_checkpoint_passes_and_every_difference_is_named() {
        check(&info(), &manifest(), false).unwrap();
        let geometry = Geometry { spatial: 16, ..info().geometry };
        let error = check(&RendererInfo { geometry, ..info() }, &manifest(), true).unwrap_err().to_string();
        assert!(error.contains("geometry.spatial = 4") && error.contains("spatial = 16"), "{error}");
        let other = RendererInfo { encoder_fingerprint: "other".to_owned(), ..info() };
        let error = check(&other, &manifest(), false).unwrap_err().to_string();
        assert!(error.contains("fingerprint.encoders"), "{error}");
        check(&other, &manifest(), true).unwrap();
    }

    #[test]
    fn a_manifest_that_says_otherwise_about_pictures_is_refused_with_both_words() {
        let error = check(&RendererInfo { image: ImageInput::Required, ..info() }, &manifest(), true).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("image = \"none\"") && error.contains("write image = \"required\""), "{error}");
    }

    #[test]
    fn a_schedule_or_guidance_that_contradicts_the_checkpoint_is_refused_with_both_values_unless_it_is_meant() {
        let shifted = RendererInfo { flow_shift: 17.0, ..info() };
        let error = check(&shifted, &manifest(), true).unwrap_err().to_string();
        assert!(error.contains("sampling.flow_shift = 3") && error.contains("say 17"), "{error}");
        let guided = RendererInfo { true_cfg_scale: 6.0, ..info() };
        let error = check(&guided, &manifest(), true).unwrap_err().to_string();
        assert!(error.contains("sampling.guidance.true_cfg_scale = 1") && error.contains("say 6"), "{error}");
        let mut meant = manifest();
        meant.sampling.overrides = vec![Override::FlowShift];
        check(&shifted, &meant, true).unwrap();
        assert!(check(&guided, &meant, true).is_err());
    }

    /// The fleet plans with one formula, the model checks with its own: they must agree on every size.
    #[test]
    fn the_fleets_geometry_is_the_models() {
        for (spatial, patch, patch_t) in [(8, 2, 1), (16, 1, 1), (4, 2, 1), (8, 2, 2)] {
            let ours = Geometry { spatial, temporal: 4, patch, patch_t };
            let [spatial, patch, patch_t] = [spatial, patch, patch_t].map(i64::from);
            let theirs = ::hunyuan::Geometry { channels: 16, spatial, temporal: 4, patch, patch_t };
            for (width, height) in [(64, 64), (96, 32), (40, 64), (848, 480)] {
                for frames in 0..40_u32 {
                    let shape = theirs.latent_shape(i64::from(width), i64::from(height), i64::from(frames)).ok();
                    let step = ours.size_step();
                    let fits = width % step == 0 && height % step == 0 && ours.allows_frames(frames);
                    assert_eq!(fits, shape.is_some(), "{width}x{height}x{frames} of {ours:?}");
                    let tokens = shape.map(|shape| theirs.tokens(shape));
                    let wanted = fits.then(|| i64::try_from(ours.tokens(width, height, frames)).unwrap());
                    assert_eq!(tokens, wanted, "{width}x{height}x{frames} of {ours:?}");
                }
            }
        }
    }
}
