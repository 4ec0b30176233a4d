//! How many frames a length in seconds is, and which lengths a model renders.

use domain::ModelManifest;

/// Length of a video when the request names none, seconds: what OpenAI's API makes.
pub(super) const SECONDS_DEFAULT: u32 = 4;

/// Frames per second that a length counts in, as `domain::model::Length` says.
const FPS: u32 = 24;

/// The request's `video_length` for whole seconds: 24 frames for each and the first frame, at the nearest length that the model's
/// geometry allows.
///
/// # Errors
/// The model does not render such a length; the reason names the longest.
pub(super) fn of_seconds(manifest: &ModelManifest, seconds: i64) -> Result<u32, String> {
    let longest = manifest.length.max.saturating_sub(1) / FPS;
    let seconds = u32::try_from(seconds).ok().filter(|seconds| (1..=longest).contains(seconds));
    let Some(seconds) = seconds else {
        return Err(format!("must be a whole number from 1 to {longest}, the longest that this model renders"));
    };
    let frames = seconds * FPS + 1;
    let (min, step) = (manifest.geometry.frames_min(), manifest.geometry.frame_step());
    let steps = (frames.saturating_sub(min) + step / 2) / step;
    Ok((min + steps * step).min(manifest.length.max))
}

/// Checks a number of frames.
///
/// # Errors
/// The model does not render it; the reason names its neighbours.
pub(super) fn of_frames(manifest: &ModelManifest, frames: i64) -> Result<u32, String> {
    let (geometry, max) = (&manifest.geometry, manifest.length.max);
    let (min, step) = (geometry.frames_min(), geometry.frame_step());
    let Some(given) = u32::try_from(frames).ok().filter(|frames| (min..=max).contains(frames)) else {
        return Err(format!("must be {min} to {max} frames, not {frames}"));
    };
    if geometry.allows_frames(given) {
        return Ok(given);
    }
    let below = given - (given - min) % step;
    let above = below + step;
    let neighbours = if above <= max { format!("{below} or {above}") } else { below.to_string() };
    Err(format!("must be {min} plus a multiple of {step}, for example {neighbours}, not {frames}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_frames_and_are_never_cut() {
        assert_eq!(f64::from(FPS), domain::model::Length::FPS);
        let model = ModelManifest::parse(include_str!("../../../models/hunyuanvideo.fleet.toml")).unwrap();
        assert_eq!([1, 2, 3, 4, 5].map(|s| of_seconds(&model, s)), [25, 49, 73, 97, 121].map(Ok));
        for wrong in [0, -1, 6, 8, 12, i64::MAX] {
            assert!(of_seconds(&model, wrong).unwrap_err().contains("1 to 5"), "{wrong}");
        }
        assert_eq!(of_frames(&model, 97), Ok(97));
        assert!(of_frames(&model, 96).unwrap_err().contains("93 or 97"));
        assert!(of_frames(&model, 128).unwrap_err().contains("125 or 129"));
        assert!(of_frames(&model, 130).is_err() && of_frames(&model, -1).is_err());
    }
}
