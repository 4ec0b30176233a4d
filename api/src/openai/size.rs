//! Which size a model renders for a size in pixels.

use domain::{FieldError, ModelManifest};

/// Shorter side from which on a scaled model's clients mean its larger named size, pixels.
const LARGE_FROM: u32 = 640;

/// A size as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Size {
    /// A named size, or `WIDTHxHEIGHT`.
    pub(super) video_size: String,
    /// The aspect ratio of a named size.
    pub(super) aspect_ratio: Option<String>,
}

/// The size for `WIDTHxHEIGHT`: a named size with exactly these pixels; the pixels themselves if the model renders them; for a
/// model that renders every size at a smaller scale, the named size and aspect that come closest.
///
/// # Errors
/// A full-scale model cannot render it. The reason lists what it can.
pub(super) fn find(manifest: &ModelManifest, width: u32, height: u32) -> Result<Size, String> {
    let named = |name: &str, aspect: &str| Size { video_size: name.to_owned(), aspect_ratio: Some(aspect.to_owned()) };
    for size in &manifest.sizes {
        if let Some(exact) = size.aspects.iter().find(|aspect| (aspect.width, aspect.height) == (width, height)) {
            return Ok(named(&size.name, &exact.aspect));
        }
    }
    let custom = format!("{width}x{height}");
    let Err(errors) = manifest.shape(&custom, None, manifest.geometry.frames_min()) else {
        return Ok(Size { video_size: custom, aspect_ratio: None });
    };
    let is_scaled = manifest.length.rendered_at_max < manifest.length.max;
    let short = width.min(height);
    let wanted = if short >= LARGE_FROM { "720p" } else { "540p" };
    let scaled = manifest.sizes.iter().find(|size| size.name == wanted).or(manifest.sizes.first());
    match scaled.filter(|_| is_scaled && short > 0) {
        Some(size) => {
            let ratio = f64::from(width) / f64::from(height);
            let distance = |w: u32, h: u32| (f64::from(w) / f64::from(h) / ratio).ln().abs();
            let nearest =
                size.aspects.iter().min_by(|a, b| distance(a.width, a.height).total_cmp(&distance(b.width, b.height)));
            Ok(Size { video_size: size.name.clone(), aspect_ratio: nearest.map(|aspect| aspect.aspect.clone()) })
        }
        None => Err(choices(manifest, &custom, errors.first())),
    }
}

fn choices(manifest: &ModelManifest, asked: &str, error: Option<&FieldError>) -> String {
    let aspects = manifest.sizes.iter().flat_map(|size| &size.aspects);
    let mut sizes: Vec<String> = aspects.map(|aspect| format!("{}x{}", aspect.width, aspect.height)).collect();
    sizes.dedup();
    let because = error.map(|error| format!(" ({})", error.reason)).unwrap_or_default();
    format!("{asked} is not a size that this model renders{because}; use {}", sizes.join(", "))
}

/// Reads `1280x720`.
pub(super) fn parse(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.trim().split_once(['x', 'X'])?;
    let side = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_scale() -> ModelManifest {
        ModelManifest::parse(include_str!("../../../models/hunyuanvideo.fleet.toml")).unwrap()
    }

    fn embedded() -> ModelManifest {
        ModelManifest::parse(include_str!("../../../models/default/fleet.toml")).unwrap()
    }

    fn found(manifest: &ModelManifest, width: u32, height: u32) -> Option<(String, Option<String>)> {
        find(manifest, width, height).ok().map(|size| (size.video_size, size.aspect_ratio))
    }

    #[test]
    fn openai_sizes_are_named_sizes_of_the_released_model() {
        let model = full_scale();
        assert_eq!(found(&model, 1280, 720), Some(("720p".into(), Some("16:9".into()))));
        assert_eq!(found(&model, 720, 1280), Some(("720p".into(), Some("9:16".into()))));
        assert_eq!(found(&model, 640, 368), Some(("640x368".into(), None)), "a legal custom size");
        let refused = find(&model, 1792, 1024).unwrap_err();
        assert!(refused.contains("1280x720") && refused.contains("pixels"), "{refused}");
        assert!(find(&model, 641, 360).is_err() && find(&model, 0, 0).is_err());
    }

    #[test]
    fn a_scaled_model_renders_any_size_at_its_own_scale() {
        let model = embedded();
        assert_eq!(found(&model, 1280, 720), Some(("720p".into(), Some("1:1".into()))));
        assert_eq!(found(&model, 512, 320), Some(("540p".into(), Some("1:1".into()))));
        assert_eq!(found(&model, 64, 64), Some(("540p".into(), Some("1:1".into()))));
        assert!(find(&model, 0, 720).is_err());
    }

    #[test]
    fn sizes_are_digits() {
        assert_eq!((parse("1280x720"), parse("1280X720")), (Some((1280, 720)), Some((1280, 720))));
        for wrong in ["720p", "1280", "-1x2", "1280x", "x", "99999999999x1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
