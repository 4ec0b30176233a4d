//! What the fleet publishes about a job: state events that are never lost, and progress that may be.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, TenantId};
use crate::tier::{UnknownWord, words};

words!(
    /// A change of state. Each event is written in the transaction of its transition.
    JobEventKind {
        /// Accepted and committed.
        Queued = "queued",
        /// Tier and steps are decided.
        Planned = "planned",
        /// Released to a pool.
        Scheduled = "scheduled",
        /// A worker holds it.
        Running = "running",
        /// Paused after its first steps; it waits until it is continued.
        Drafted = "drafted",
        /// Back in the backlog without an attempt spent: its worker is stopping.
        HandedBack = "handed_back",
        /// Back in the backlog after a failure or a lost worker.
        Retrying = "retrying",
        /// A user asked to cancel it; its worker has not noticed yet.
        CancelRequested = "cancel_requested",
        /// The video is stored.
        Completed = "completed",
        /// It ended without a video.
        Failed = "failed",
        /// It was stopped.
        Cancelled = "cancelled",
        /// Hidden by its owner; can be restored until retention.
        Deleted = "deleted",
        /// Restored by its owner.
        Restored = "restored",
    }
);

impl JobEventKind {
    /// Whether nothing more will happen to the job by itself.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

words!(
    /// What a running job is doing.
    Stage {
        /// Fetching a checkpoint or loading an encoder.
        Prepare = "prepare",
        /// Prompt to embeddings.
        Encode = "encode",
        /// Denoising steps.
        Denoise = "denoise",
        /// Latents to frames.
        Decode = "decode",
        /// New frames between those of the model.
        Interpolate = "interpolate",
        /// MP4, poster, upload.
        Deliver = "deliver",
    }
);

/// A position in the fleet's history, written `TXID-SEQ`. Readers see events in this order, and never one before a position
/// that they have passed. The events of one job are also in the order of `seq` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct EventCursor {
    /// Position of the database transaction that wrote the event.
    pub txid: i64,
    /// Number of the event.
    pub seq: i64,
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.txid, self.seq)
    }
}

/// A cursor that is not `TXID-SEQ`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an event id; send back the id of an event, for example 1042-77")]
pub struct InvalidCursor(pub String);

impl FromStr for EventCursor {
    type Err = InvalidCursor;
    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let invalid = || InvalidCursor(text.chars().take(64).collect());
        let (txid, seq) = text.split_once('-').ok_or_else(invalid)?;
        let number = |part: &str| part.parse::<i64>().ok().filter(|value| *value >= 0).ok_or_else(invalid);
        Ok(Self { txid: number(txid)?, seq: number(seq)? })
    }
}

impl Serialize for EventCursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventCursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A committed change of state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEvent {
    /// The job.
    pub job_id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its position in the fleet's history. The SSE `id`.
    pub cursor: EventCursor,
    /// What happened.
    pub kind: JobEventKind,
    /// Small facts that go with it (`attempt`, `steps`, `reason`), never the prompt.
    pub detail: serde_json::Value,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
}

/// Progress of a running job. Published often, and stored only as the row's last value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job_id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// What it is doing.
    pub stage: Stage,
    /// Denoising steps done.
    pub step: u32,
    /// Denoising steps in all.
    pub steps: u32,
    /// Of `step`, how many the step cache replaced.
    pub skipped: u32,
    /// Estimated seconds until the run ends, at this run's own pace; `None` until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_s: Option<f64>,
}

/// A picture of a running job: what the video will probably look like. Published at most once a second, and stored as an
/// object that the row points to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The job.
    pub job_id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// Denoising steps done.
    pub step: u32,
    /// Denoising steps in all.
    pub steps: u32,
    /// An animated WebP, base64.
    pub webp: String,
}
