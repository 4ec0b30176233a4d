//! Videos, posters and checkpoints in a folder or an S3-compatible store.
//!
//! Rule: an object is written once, under the job and the lease that made it (`<job>/<token>/...`), and only the row says
//! which object counts. So a stale worker can write whatever it likes without touching what another wrote, and nobody
//! needs to overwrite. Deleting is for whoever has just moved the row's pointer away, and for the orphan sweep.
//!
//! Only this crate knows `object_store`.

mod error;
pub mod keys;
mod object;
mod open;
mod read;
mod unfinished;
mod write;

pub use error::ArtifactError;
pub use object::ObjectInfo;
pub use open::Artifacts;
pub use read::ByteStream;
