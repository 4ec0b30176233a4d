//! The result of a run: its record, or the failure that ended it.

use serde::{Deserialize, Serialize};

use crate::interpolation::InterpolationRecord;
use crate::progressive::ProgressiveRecord;
use crate::tier::UnknownWord;
use crate::tier::words;
use crate::worker::WorkerIdentity;
use std::fmt;
use std::str::FromStr;

words!(
    /// Where a job's embeddings came from.
    CacheMatch {
        /// Encoded for this job.
        Miss = "miss",
        /// The same text had been encoded before.
        Identical = "identical",
        /// Those of a similar prompt, because the request or the settings allowed it.
        Similar = "similar",
        /// The cache was off.
        Off = "off",
    }
);

impl CacheMatch {
    /// Whether the encoder's work was saved.
    #[must_use]
    pub fn is_hit(self) -> bool {
        matches!(self, Self::Identical | Self::Similar)
    }
}

/// Seconds of each stage of a run; of the last attempt, except `denoise_s`, which adds up over a resumed run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StageSeconds {
    /// Prompt to embeddings, look-up included.
    #[serde(with = "crate::finite")]
    pub encode_s: f64,
    /// Merging the run's adapters into the weights, or restoring the model's own; 0 where nothing had to change.
    #[serde(default, with = "crate::finite")]
    pub adapters_s: f64,
    /// All denoising steps.
    #[serde(with = "crate::finite")]
    pub denoise_s: f64,
    /// Latents to frames.
    #[serde(with = "crate::finite")]
    pub decode_s: f64,
    /// New frames between those of the model.
    #[serde(default, skip_serializing_if = "is_zero", with = "crate::finite")]
    pub interpolate_s: f64,
    /// Frames to MP4 and poster, and their upload.
    #[serde(with = "crate::finite")]
    pub deliver_s: f64,
}

impl StageSeconds {
    /// The whole run, seconds.
    #[must_use]
    pub fn total_s(&self) -> f64 {
        self.encode_s + self.adapters_s + self.denoise_s + self.decode_s + self.interpolate_s + self.deliver_s
    }
}

/// Runs without interpolation keep the record that they had before there was any.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

/// Seconds that each optimisation saved, by the fleet's cost model and this run's own speed. Their sum is the saving of the run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Savings {
    /// Fewer steps than the model's default, because the prompt needs no more, and steps at half the size; negative if the run needs
    /// more.
    #[serde(with = "crate::finite")]
    pub steps_s: f64,
    /// Steps that the step cache replaced.
    #[serde(with = "crate::finite")]
    pub step_cache_s: f64,
    /// Embeddings that were not computed again.
    #[serde(with = "crate::finite")]
    pub embeddings_s: f64,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_one(devices: &u32) -> bool {
    *devices == 1
}

/// What a video's bytes depend on besides the request, the shape, the plan and the adapters; and the bytes' hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reproduction {
    /// The worker that made it.
    pub worker: WorkerIdentity,
    /// blake3 of the embeddings that were used, those of the negative prompt included.
    pub embeddings: String,
    /// Version and quality of the video encoder.
    pub encoder: String,
    /// blake3 of the frames before they were encoded as a video.
    pub frames: String,
    /// SHA-256 of the MP4, hex.
    pub video_sha256: String,
}

/// Everything worth knowing about a finished run; kept with the job permanently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunRecord {
    /// Where the embeddings came from.
    pub cache_match: CacheMatch,
    /// Similarity of the prompt whose embeddings were used, 0 to 1; only with `similar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_score: Option<f64>,
    /// Steps that went through the transformer.
    pub steps_computed: u32,
    /// Steps that the step cache replaced.
    pub steps_skipped: u32,
    /// Seconds by stage.
    pub stages: StageSeconds,
    /// What interpolation did; absent without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<InterpolationRecord>,
    /// The steps at half the size, which are part of those above; absent without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressive: Option<ProgressiveRecord>,
    /// Mean number of jobs that shared this run's forward passes, itself included; absent for a run that had them alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<f64>,
    /// Devices that computed the last attempt together.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub devices: u32,
    /// Device of the last attempt.
    pub device: String,
    /// Worker and libtorch version.
    pub build: String,
    /// Step from which the last attempt resumed; `None` when it started from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<u32>,
    /// Fingerprints of the adapters that were active.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<String>,
    /// Why an existing checkpoint was not used; `None` when there was none or it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_because: Option<String>,
    /// Relative change of the predicted velocity from one computed step to the next, one value per step from the second.
    #[serde(default, with = "crate::finite::list")]
    pub convergence: Vec<f32>,
    /// GPU seconds of this job over all attempts.
    #[serde(with = "crate::finite")]
    pub gpu_seconds: f64,
    /// Price of the GPU seconds, US dollars.
    #[serde(with = "crate::finite")]
    pub cost_usd: f64,
    /// Seconds saved against the fixed-step baseline without caches, by the fleet's cost model; may be negative.
    #[serde(with = "crate::finite")]
    pub saved_s: f64,
    /// Price of the saved seconds, US dollars.
    #[serde(with = "crate::finite")]
    pub saved_usd: f64,
    /// The saved seconds by optimisation.
    #[serde(default)]
    pub savings: Savings,
    /// What rendering it again depends on; absent in records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduction: Option<Reproduction>,
}

/// What happens to a job after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// Try again after a backoff, if attempts are left.
    Retry,
    /// The same would happen again, so fail now.
    Fail,
}

/// Why a run ended without a video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// A stable code for programs, for example `out_of_memory`.
    pub code: String,
    /// What happened and what to do, for people.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RunRecord {
        let text = r#"{"cache_match": "miss", "steps_computed": 3, "steps_skipped": 0, "device": "cpu", "build": "b",
            "stages": {"encode_s": 1.0, "denoise_s": 2.0, "decode_s": 3.0, "deliver_s": 4.0}, "convergence": [0.5, 0.25],
            "gpu_seconds": 10.0, "cost_usd": 0.1, "saved_s": 5.0, "saved_usd": 0.2}"#;
        serde_json::from_str(text).expect("a record")
    }

    #[test]
    fn a_record_with_numbers_that_json_lacks_can_be_read_again() {
        let mut record = record();
        assert_eq!(
            serde_json::from_value::<RunRecord>(serde_json::to_value(&record).expect("JSON")).expect("read"),
            record
        );
        record.convergence = vec![f32::NAN, 0.25, f32::INFINITY];
        (record.saved_s, record.stages.denoise_s) = (f64::NEG_INFINITY, f64::NAN);
        let read: RunRecord = serde_json::from_value(serde_json::to_value(&record).expect("JSON")).expect("read");
        assert_eq!(read.convergence, [0.0, 0.25, 0.0]);
        assert_eq!((read.saved_s, read.stages.denoise_s, read.stages.decode_s), (0.0, 0.0, 3.0));
    }

    #[test]
    fn nulls_of_an_earlier_release_are_read_as_zero() {
        let mut stored = serde_json::to_value(record()).expect("JSON");
        stored["convergence"] = serde_json::json!([null, 0.5]);
        stored["cost_usd"] = serde_json::Value::Null;
        let read: RunRecord = serde_json::from_value(stored).expect("read");
        assert_eq!((read.convergence, read.cost_usd), (vec![0.0, 0.5], 0.0));
    }
}
