//! Every message that crosses RabbitMQ, in one versioned envelope.
//!
//! A message is a hint, and the row is the truth: no work may be lost because a message is lost, late, duplicated or
//! unreadable. A reader refuses a version that it does not know (the message is dead-lettered and counted) and ignores
//! fields that it does not know, so that fields can be added without a new version.

use chrono::{DateTime, Utc};
use domain::{JobEvent, JobId, PoolId, Preview, Progress, TenantId, WorkerId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Version of the envelope and of all bodies. Raise it only when an older reader would misread a message.
pub const ENVELOPE_VERSION: u32 = 1;

/// A doorbell for the scheduler: these jobs are committed and wait for a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSubmitted {
    /// The jobs. May be empty, which means "look into the database".
    pub job_ids: Vec<JobId>,
}

/// A job was released to a pool; any worker of the pool may claim it with this number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReady {
    /// The job.
    pub job_id: JobId,
    /// Its release; a claim with an older number is refused by the row.
    pub dispatch_no: i32,
    /// The pool whose queue carries this.
    pub pool: PoolId,
}

/// An event published to all listeners. It is lost when there are none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum FleetEvent {
    /// A committed change of state.
    Job(JobEvent),
    /// Progress of a running job.
    Progress(Progress),
    /// A picture of a running job. Older readers ignore it.
    Preview(Preview),
    /// A user asked to stop a job; its worker should notice now rather than at its next heartbeat.
    CancelRequested {
        /// The job.
        job_id: JobId,
        /// Its owner.
        tenant_id: TenantId,
    },
    /// A worker registered, changed state or left, so lists of workers are stale.
    WorkerChanged {
        /// The worker.
        worker_id: WorkerId,
    },
}

impl FleetEvent {
    /// Routing key on the events exchange: `job.<tenant>`, `progress.<tenant>`, `cancel`, `worker`.
    #[must_use]
    pub fn routing_key(&self) -> String {
        match self {
            Self::Job(event) => format!("job.{}", event.tenant_id),
            Self::Progress(progress) => format!("progress.{}", progress.tenant_id),
            Self::Preview(preview) => format!("progress.{}", preview.tenant_id),
            Self::CancelRequested { .. } => "cancel".to_owned(),
            Self::WorkerChanged { .. } => "worker".to_owned(),
        }
    }
}

/// A body with a name on the wire.
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The envelope's `type`.
    const TYPE: &'static str;
}

impl Message for JobSubmitted {
    const TYPE: &'static str = "job.submitted";
}

impl Message for JobReady {
    const TYPE: &'static str = "job.ready";
}

impl Message for FleetEvent {
    const TYPE: &'static str = "fleet.event";
}

/// The wrapper of a body on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<M> {
    /// Id of this message; unchanged when it is published again.
    pub id: Uuid,
    /// When it was made, by the sender's clock. Informational: no decision depends on it.
    pub at: DateTime<Utc>,
    /// W3C traceparent of its cause.
    pub traceparent: Option<String>,
    /// The body.
    pub body: M,
}

/// The envelope on the wire. Its version and type decide whether the body may be read at all.
#[derive(Serialize, Deserialize)]
struct Wire<B> {
    v: u32,
    #[serde(rename = "type")]
    kind: String,
    id: Uuid,
    at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    body: B,
}

/// The two fields that are read first.
#[derive(Deserialize)]
struct WireHead {
    v: u32,
    #[serde(rename = "type")]
    kind: String,
}

/// Why a message cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not JSON, or not an envelope, or not the body that its type promises.
    #[error("the message is malformed: {reason}")]
    Malformed {
        /// Position and kind of the mistake. Never the content.
        reason: String,
    },
    /// Written by a newer release.
    #[error("the message has version {found}; this release understands {ENVELOPE_VERSION}")]
    UnknownVersion {
        /// Its version.
        found: u32,
    },
    /// A type that this queue does not carry.
    #[error("the message is a '{found}' where a '{expected}' was expected")]
    UnexpectedType {
        /// Its type.
        found: String,
        /// The type that the queue carries.
        expected: &'static str,
    },
    /// Larger than the settings allow.
    #[error("the message has {bytes} bytes; at most {max_bytes} are allowed")]
    TooLarge {
        /// Its size, bytes.
        bytes: usize,
        /// The limit, bytes.
        max_bytes: usize,
    },
}

impl MessageError {
    /// Label value for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::UnexpectedType { .. } => "unexpected_type",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

impl<M: Message> Envelope<M> {
    /// Wraps a body with a fresh id.
    #[must_use]
    pub fn new(body: M, at: DateTime<Utc>, traceparent: Option<String>) -> Self {
        Self { id: Uuid::new_v4(), at, traceparent, body }
    }

    /// The bytes to publish.
    ///
    /// # Errors
    /// [`MessageError::TooLarge`].
    pub fn encode(&self, max_bytes: usize) -> Result<Vec<u8>, MessageError> {
        let wire = Wire {
            v: ENVELOPE_VERSION,
            kind: M::TYPE.to_owned(),
            id: self.id,
            at: self.at,
            traceparent: self.traceparent.clone(),
            body: &self.body,
        };
        let bytes = serde_json::to_vec(&wire).map_err(|error| MessageError::Malformed { reason: error.to_string() })?;
        check_size(bytes.len(), max_bytes)?;
        Ok(bytes)
    }

    /// Decodes a published message.
    ///
    /// # Errors
    /// [`MessageError`]. Never panics, whatever the bytes.
    pub fn decode(bytes: &[u8], max_bytes: usize) -> Result<Self, MessageError> {
        check_size(bytes.len(), max_bytes)?;
        // Read the head first: the body of another version may have any shape.
        let head: WireHead = serde_json::from_slice(bytes).map_err(malformed)?;
        if head.v != ENVELOPE_VERSION {
            return Err(MessageError::UnknownVersion { found: head.v });
        }
        if head.kind != M::TYPE {
            let found = head.kind.chars().take(64).collect();
            return Err(MessageError::UnexpectedType { found, expected: M::TYPE });
        }
        let wire: Wire<M> = serde_json::from_slice(bytes).map_err(malformed)?;
        Ok(Self { id: wire.id, at: wire.at, traceparent: wire.traceparent, body: wire.body })
    }
}

fn check_size(bytes: usize, max_bytes: usize) -> Result<(), MessageError> {
    if bytes > max_bytes { Err(MessageError::TooLarge { bytes, max_bytes }) } else { Ok(()) }
}

/// Returns line, column and kind of the mistake. serde's own text may quote the content, which must not reach a log.
#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err requires")]
fn malformed(error: serde_json::Error) -> MessageError {
    let kind = match error.classify() {
        serde_json::error::Category::Syntax => "invalid JSON",
        serde_json::error::Category::Eof => "unexpected end",
        serde_json::error::Category::Data => "a field is missing or has the wrong type",
        serde_json::error::Category::Io => "it cannot be read",
    };
    MessageError::Malformed { reason: format!("{kind} at line {} column {}", error.line(), error.column()) }
}
