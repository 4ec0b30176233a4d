//! Videos, posters and checkpoints in a folder or an S3-compatible store.
//!
//! Rule: an object is written once, under the job and the lease that produced it (`<job>/<token>/...`), and only the job's
//! row says which object counts. A worker that lost its lease therefore cannot touch the objects of another worker, and
//! nothing is ever overwritten. An object is deleted only by the code that has just removed the row's pointer to it, or by
//! the orphan sweep.
//!
//! Only this crate uses `object_store`.

mod error;
pub mod keys;
mod object;
mod open;
mod read;
mod unfinished;
mod write;

// Used by object_store's client; this crate only turns on its TLS feature.
use reqwest as _;

pub use error::ArtifactError;
pub use object::ObjectInfo;
pub use open::Artifacts;
pub use read::ByteStream;
