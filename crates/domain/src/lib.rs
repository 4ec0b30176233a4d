//! The vocabulary of the fleet: what a job is, how it moves, what a model folder contains.
//!
//! Invariant: this crate does no I/O. It reads no file, no clock (time comes in as a value or through [`Clock`]), no
//! environment. That is what lets the API, the scheduler, the worker and the tests agree on one meaning of every word.
//!
//! # Reading order
//! [`request`]: what a user asks for; [`model`]: what a model folder can render, with [`geometry`] (how many tokens) and
//! [`sampling`] (how many steps, at what cost, with which [`guidance`]); [`plan`]: what the scheduler decides; [`draft`]: runs that
//! pause; [`lifecycle`]: the states of a job
//! and every legal move between them; [`job`]: the whole job as others read it; [`record`]: the result of a run; [`event`]:
//! what the fleet publishes.
//!
//! # Adding a field to the request
//! 1. Declare it in [`request::VideoRequest`] with a doc comment and `#[serde(default)]`; a default that is not empty, false or
//!    zero is a function in `request::defaults`. If it has limits, check them in `validate`.
//! 2. Use it (planner, worker).
//! 3. Give it an entry in `web/src/features/generate/fields.ts`; without one the page does not compile.
//! 4. Regenerate `docs/openapi.json` and `web/src/api/schema.ts`.
//!
//! Storage, the idempotency hash, batches, retries, the job's echo of the request and the parameters of the analysis follow from
//! the struct. A field that SQL filters or sorts by needs a column as well; see `migrations/README.md`.

pub mod batch;
pub mod budget;
pub mod checkpoint;
pub mod clock;
pub mod draft;
pub mod event;
pub mod family;
pub mod field_error;
pub mod finite;
pub mod geometry;
pub mod guidance;
pub mod ids;
mod image;
mod image_input;
pub mod interpolation;
pub mod job;
pub mod lifecycle;
pub mod lora;
mod manifest_error;
pub mod model;
pub mod origin;
pub mod plan;
pub mod pool;
pub mod progressive;
pub mod record;
pub mod replay;
pub mod request;
pub mod sampling;
pub mod seed;
pub mod tier;
pub mod webhook;
pub mod worker;
mod world;

pub use batch::{BatchKey, PromptTokens};
pub use budget::{Budget, BudgetPeriod, BudgetUnit};
pub use checkpoint::CheckpointRef;
pub use clock::{Clock, SystemClock};
pub use draft::{Candidate, Choice, DraftRecord, DraftScores, Judge, RenderMode};
pub use event::{EventCursor, JobEvent, JobEventKind, Preview, Progress, Stage};
pub use family::ModelFamily;
pub use field_error::FieldError;
pub use geometry::Geometry;
pub use guidance::{Guidance, GuidanceKind};
pub use ids::{GroupId, JobId, KeyId, LeaseToken, TenantId, WorkerId};
pub use image::{ImageCrop, ImageSource, ImageUse};
pub use image_input::ImageInput;
pub use interpolation::InterpolationRecord;
pub use job::{Job, PreviewRef, Rendered};
pub use lifecycle::{InvalidTransition, JobStatus, Lifecycle};
pub use lora::{LoraSampling, LoraUse};
pub use model::{ModelManifest, World};
pub use origin::Origin;
pub use plan::{DraftSchedule, Plan, StepCachePlan, StepsReason};
pub use pool::PoolId;
pub use progressive::{ProgressiveLevels, ProgressiveMode, ProgressivePlan, ProgressiveRecord};
pub use record::{CacheMatch, Failure, FailureAction, Reproduction, RunRecord, Savings, StageSeconds};
pub use request::{DeadlinePolicy, RequestLimits, VideoRequest};
pub use tier::{Complexity, QualityTier, StepCacheMode, Tier};
pub use webhook::{DEFAULT_EVENTS, check_webhook_url, read_webhook_events};
pub use worker::WorkerIdentity;
