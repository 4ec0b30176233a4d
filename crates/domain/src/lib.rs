//! The vocabulary of the fleet: what a job is, how it moves, what a model folder says.
//!
//! Invariant: this crate does no I/O. It reads no file, no clock (time comes in as a value or through [`Clock`]), no
//! environment. That is what lets the API, the scheduler, the worker and the tests agree on one meaning of every word.
//!
//! # Reading order
//! [`request`] what a user asks for; [`model`] what a model folder can render, [`geometry`] in how many tokens; [`plan`] what the scheduler decides;
//! [`lifecycle`] the states of a job and every legal move between them; [`job`] the whole job as others read it;
//! [`record`] what a run left behind; [`event`] what the fleet tells the world.
//!
//! # Adding a field to the request
//! 1. Add it to [`request::VideoRequest`] with its default, and to `validate` if it has limits.
//! 2. Add the column in a new migration (see `migrations/README.md`) and to `store`'s insert and row mapping.
//! 3. Use it where it matters (plan, worker); the OpenAPI file and the page's types follow from the build.

pub mod checkpoint;
pub mod clock;
pub mod event;
pub mod family;
pub mod finite;
pub mod geometry;
pub mod ids;
pub mod job;
pub mod lifecycle;
pub mod model;
pub mod plan;
pub mod pool;
pub mod record;
pub mod request;
pub mod tier;
pub mod worker;

pub use checkpoint::CheckpointRef;
pub use clock::{Clock, SystemClock};
pub use event::{EventCursor, JobEvent, JobEventKind, Progress, Stage};
pub use family::ModelFamily;
pub use geometry::Geometry;
pub use ids::{JobId, KeyId, LeaseToken, TenantId, WorkerId};
pub use job::{Job, Rendered};
pub use lifecycle::{InvalidTransition, JobStatus, Lifecycle};
pub use model::ModelManifest;
pub use plan::{Plan, StepCachePlan, StepsReason};
pub use pool::PoolId;
pub use record::{CacheMatch, Failure, FailureAction, RunRecord, StageSeconds};
pub use request::{FieldError, RequestLimits, VideoRequest};
pub use tier::{Complexity, QualityTier, StepCacheMode, Tier};
