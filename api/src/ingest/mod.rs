//! Submissions on their way into the database: micro-batches, and a doorbell after each commit.
//!
//! What arrived while the last batch committed goes into the next multi-row INSERT; a lone request waits for nobody. The
//! answer to a client is given after the commit, never before. With `ingest_rows_max = 1` every submission is a
//! transaction of its own on the same code path, which is what the benchmark compares with.

mod lanes;

pub use lanes::{Ingest, IngestError, LaneOptions};
