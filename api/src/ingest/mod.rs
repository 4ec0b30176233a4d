//! Writes submissions to the database in micro-batches, and announces them after each commit.
//!
//! Submissions that arrive while a batch is being committed go into the next multi-row INSERT; a single request does not wait for
//! others. A client receives its response after the commit, never before. With `ingest_rows_max = 1` every submission is a
//! separate transaction on the same code path; the benchmark uses this as its baseline.

mod lanes;

pub use lanes::{Ingest, IngestError, LaneOptions};
