//! Videos, posters and checkpoints in a folder or an S3-compatible store.
//!
//! Rule: an object is written once, under the job and the lease that made it (`<job>/<token>/...`), and only the row says
//! which object counts. A worker that lost its lease therefore cannot touch what another one wrote, and nothing is ever
//! overwritten. Only the code that has just moved the row's pointer away deletes an object, and the orphan sweep.
//!
//! Only this crate uses `object_store`.

mod error;
pub mod keys;
mod object;
mod open;
mod read;
mod unfinished;
mod write;

// object_store's client; this crate turns on its TLS feature.
use reqwest as _;

pub use error::ArtifactError;
pub use object::ObjectInfo;
pub use open::Artifacts;
pub use read::ByteStream;
