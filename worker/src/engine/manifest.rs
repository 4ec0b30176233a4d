//! Whether a model folder's `fleet.toml` describes the checkpoint beside it.
//!
//! The API and the scheduler believe the manifest: other weights would make other videos under the same name, and another
//! geometry would let them accept sizes that the model cannot render.

use domain::ModelManifest;

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
    for ((factor, written), (_, found)) in manifest.geometry.factors().into_iter().zip(info.geometry.factors()) {
        anyhow::ensure!(
            written == found,
            "fleet.toml says geometry.{factor} = {written}, but the checkpoint's configuration says {found}; write \
             {factor} = {found} under [geometry]"
        );
    }
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

#[cfg(test)]
mod tests {
    use domain::{Geometry, ModelFamily};

    use super::*;

    fn manifest() -> ModelManifest {
        ModelManifest::parse(include_str!("../../../models/default/fleet.toml")).unwrap()
    }

    fn info() -> RendererInfo {
        let manifest = manifest();
        RendererInfo {
            family: ModelFamily::V1,
            geometry: manifest.geometry,
            model_fingerprint: manifest.fingerprint.weights,
            encoder_fingerprint: manifest.fingerprint.encoders,
            device: "cpu".to_owned(),
            device_class: "cpu".to_owned(),
            build: "test".to_owned(),
            threads: 1,
            memory_bytes: 0,
            attention_flops: 0.0,
            attention: None,
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
