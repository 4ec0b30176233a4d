//! The names of other servers' fields, and what becomes of them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use domain::VideoRequest;
use serde_json::Value;

/// Fields that say how another server computes, stores or bills, which has no meaning here.
pub(super) const IGNORED: [&str; 14] = [
    "user",
    "quality",
    "metadata",
    "max_sequence_length",
    "generator_device",
    "output_path",
    "output_compression",
    "x264_preset",
    "perf_dump_path",
    "profile",
    "num_profiled_timesteps",
    "frame_interpolation_exp",
    "frame_interpolation_scale",
    "frame_interpolation_model_path",
];
/// Switches of other servers that only may be off.
pub(super) const ONLY_OFF: [&str; 2] = ["enable_frame_interpolation", "enable_upscaling"];
/// What other models take and these do not.
pub(super) const REFUSED: [(&str, &str); 2] = [
    ("guidance_scale_2", "is not supported: this model has one guidance scale"),
    ("boundary_ratio", "is not supported: this model has one transformer"),
];
/// Names of the picture that a video begins from, beside our own.
pub(super) const PICTURE: [&str; 2] = ["input_reference", "image_reference"];
/// Fields that only have another name here.
pub(super) const RENAMED: [(&str, &str); 2] = [("num_inference_steps", "infer_steps"), ("guidance_scale", "cfg_scale")];

/// The fields of a request of this fleet.
pub(super) static OWN: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| match serde_json::to_value(VideoRequest::new("")) {
        Ok(Value::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        other => unreachable!("a request serialises to an object, not {other:?}; this is a bug"),
    });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_has_two_meanings() {
        let mut known: Vec<&str> = IGNORED.to_vec();
        known.extend(ONLY_OFF);
        known.extend(REFUSED.map(|(name, _)| name));
        known.extend(RENAMED.map(|(name, _)| name));
        known.extend(PICTURE);
        known.extend([
            "n",
            "num_outputs_per_prompt",
            "fps",
            "flow_shift",
            "enable_teacache",
            "seconds",
            "num_frames",
            "size",
            "width",
            "height",
        ]);
        let unique: BTreeSet<&str> = known.iter().copied().collect();
        assert_eq!(unique.len(), known.len());
        let both: Vec<_> = unique.into_iter().filter(|name| OWN.contains(*name)).collect();
        assert!(both.is_empty(), "translated, though requests have these fields now: {both:?}");
    }
}
