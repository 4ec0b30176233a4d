//! Replays as JSON.

use domain::replay::{self, Difference};
use domain::{Job, JobStatus};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A video and its replay, compared.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayView {
    /// The job of the original.
    pub original: Uuid,
    /// The job of the replay.
    pub replay: Uuid,
    /// State of the replay.
    pub status: JobStatus,
    /// `pending` while the replay is not finished; `identical` if both videos have the same bytes; `different` if not;
    /// `incomplete` if the replay ended without a video, or the original was purged or has no hash.
    pub verdict: &'static str,
    /// Why there is no comparison; null if there is one or there will be.
    pub reason: Option<String>,
    /// What the bytes depend on and differs, field by field, and the hashes if they differ. Empty until there is a comparison.
    pub differences: Vec<Difference>,
}

impl ReplayView {
    /// Compares a replay with its original, which may have been purged.
    pub(crate) fn new(original_id: Uuid, original: Option<&Job>, again: &Job) -> Self {
        let view = |verdict, reason: Option<&str>, differences| Self {
            original: original_id,
            replay: again.id.0,
            status: again.status,
            verdict,
            reason: reason.map(str::to_owned),
            differences,
        };
        if !again.status.is_terminal() {
            return view("pending", None, Vec::new());
        }
        if again.status != JobStatus::Completed {
            let reason = again.failure.as_ref().map_or(
                "the replay was cancelled: by its owner, or because no worker is left with the original worker's identity",
                |failure| failure.reason.as_str(),
            );
            return view("incomplete", Some(reason), Vec::new());
        }
        let Some(original) = original else {
            return view("incomplete", Some("the original was deleted and purged"), Vec::new());
        };
        match replay::is_identical(original, again) {
            Some(true) => view("identical", None, replay::differences(original, again)),
            Some(false) => view("different", None, replay::differences(original, again)),
            None => view("incomplete", Some("a video has no hash; it was made by an earlier release"), Vec::new()),
        }
    }
}
