//! A job's embeddings: from the cache, or encoded once and put there.

use std::time::Instant;

use cache::{Found, Source, StoredEmbeddings};
use domain::CacheMatch;
use tracing::info;

use super::Fleet;
use super::job::{Assignment, Ended};
use crate::engine::Control;

/// Embeddings and how they were come by.
pub(super) struct Text {
    /// Both encoders' output.
    pub(super) embeddings: StoredEmbeddings,
    /// For the record.
    pub(super) matched: CacheMatch,
}

/// The prompt's embeddings.
///
/// # Errors
/// [`Ended`] when encoding was stopped or failed; the cache itself never fails a job.
pub(super) async fn find(fleet: &Fleet, job: &Assignment, control: &Control) -> Result<Text, Ended> {
    let begun = Instant::now();
    let found = encode_once(fleet, &job.job.request.prompt, control).await?;
    let matched = match (fleet.cache.is_enabled(), found.source.is_hit()) {
        (false, _) => CacheMatch::Off,
        (true, true) => CacheMatch::Identical,
        (true, false) => CacheMatch::Miss,
    };
    fleet.metrics.looked_up(matched, place(found.source), begun.elapsed().as_secs_f64());
    info!(job.id = %job.job.id, source = ?found.source, tokens = found.embeddings.rows, "Cache {}", word(matched));
    Ok(Text { embeddings: StoredEmbeddings::clone(&found.embeddings), matched })
}

/// The negative prompt's embeddings, where real guidance wants them.
///
/// # Errors
/// As [`find`].
pub(super) async fn negative(
    fleet: &Fleet,
    job: &Assignment,
    control: &Control,
) -> Result<Option<StoredEmbeddings>, Ended> {
    let request = &job.job.request;
    if request.true_cfg_scale <= 1.0 {
        return Ok(None);
    }
    let text = request.negative_prompt.as_deref().unwrap_or_default();
    let found = encode_once(fleet, text, control).await?;
    Ok(Some(StoredEmbeddings::clone(&found.embeddings)))
}

async fn encode_once(fleet: &Fleet, text: &str, control: &Control) -> Result<Found, Ended> {
    let fingerprint = &fleet.engine.info().encoder_fingerprint;
    let encode = |text: String| fleet.engine.encode(text, control);
    fleet.cache.get_or_encode(fingerprint, text, encode).await.map_err(Ended::from)
}

/// A word for the metrics' label.
fn place(source: Source) -> &'static str {
    match source {
        Source::Memory => "memory",
        Source::Redis => "redis",
        Source::Awaited => "awaited",
        Source::Encoded => "encoder",
    }
}

/// As people search for it in the log.
fn word(matched: CacheMatch) -> &'static str {
    match matched {
        CacheMatch::Identical | CacheMatch::Similar => "HIT",
        CacheMatch::Miss => "MISS",
        CacheMatch::Off => "OFF",
    }
}
