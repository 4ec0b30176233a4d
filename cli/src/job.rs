//! Reads a job document of the API. Fields that a newer server adds are kept and ignored; a missing one is simply not shown.

use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::text::{dollars, duration, plain};

/// A view of a job document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a>(pub(crate) &'a Value);

/// Progress of a running job, as its event says.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    /// The job.
    pub(crate) job_id: String,
    /// `encode`, `denoise` and so on.
    pub(crate) stage: Option<String>,
    /// Steps done.
    pub(crate) step: u64,
    /// Steps in all.
    pub(crate) steps: u64,
    /// Steps that the step cache replaced.
    pub(crate) skipped: u64,
    /// Estimated seconds until the run ends.
    pub(crate) remaining_s: Option<f64>,
}

impl<'a> Job<'a> {
    pub(crate) fn id(self) -> &'a str {
        self.0["job_id"].as_str().unwrap_or_default()
    }

    pub(crate) fn status(self) -> &'a str {
        self.0["status"].as_str().unwrap_or_default()
    }

    pub(crate) fn prompt(self) -> String {
        plain(self.0["request"]["prompt"].as_str().unwrap_or_default())
    }

    pub(crate) fn tier(self) -> &'a str {
        let planned = self.0["optimization"]["quality_tier"].as_str();
        planned.or(self.0["request"]["quality_tier"].as_str()).unwrap_or_default()
    }

    pub(crate) fn has_ended(self) -> bool {
        matches!(self.status(), "completed" | "failed" | "cancelled")
    }

    pub(crate) fn created_at(self) -> Option<chrono::DateTime<chrono::Utc>> {
        self.0["created_at"].as_str()?.parse().ok()
    }

    /// What the row says about the progress of a running job.
    pub(crate) fn progress(self) -> Option<Progress> {
        let progress = Progress::deserialize(self.0.get("progress")?).ok()?;
        Some(Progress { job_id: self.id().to_owned(), ..progress })
    }

    /// Estimated seconds of the whole run.
    pub(crate) fn estimate_s(self) -> Option<f64> {
        Some(self.0["optimization"]["estimated_time"].as_f64()? * 60.0)
    }

    /// US dollars: of the run if it has completed, otherwise estimated at this price of a GPU hour.
    pub(crate) fn cost_usd(self, gpu_hour_usd: Option<f64>) -> Option<f64> {
        let actual = self.0["optimization"]["cost_usd"].as_f64();
        actual.or_else(|| Some(self.estimate_s()? / 3600.0 * gpu_hour_usd?))
    }

    /// Success for a completed job; the failure of one that ended otherwise.
    pub(crate) fn verdict(self) -> Result<(), Failure> {
        match self.status() {
            "failed" => {
                let reason = plain(self.0["failure"]["reason"].as_str().unwrap_or("the server gave no reason"));
                Err(Failure::JobFailed(format!("job {} failed: {reason}", self.id())))
            }
            "cancelled" => Err(Failure::JobCancelled(format!("job {} was cancelled", self.id()))),
            _ => Ok(()),
        }
    }

    /// One line about a completed job.
    pub(crate) fn summary(self) -> String {
        let optimization = &self.0["optimization"];
        let mut parts = vec![format!("{} {}", self.id(), self.status())];
        if let Some(minutes) = optimization["actual_time"].as_f64() {
            parts.push(format!("rendered in {}", duration(minutes * 60.0)));
        }
        if let (Some(steps), Some(skipped)) =
            (optimization["final_steps"].as_u64(), optimization["steps_skipped"].as_u64())
        {
            parts.push(if skipped > 0 {
                format!("{steps} steps, {skipped} of them skipped")
            } else {
                format!("{steps} steps")
            });
        }
        if let Some(cost) = optimization["cost_usd"].as_f64() {
            parts.push(dollars(cost));
        }
        parts.join(", ")
    }
}
