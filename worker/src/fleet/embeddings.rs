//! A job's embeddings: from the cache, or encoded once and put there.

use std::time::Instant;

use cache::{Found, Similar, Source, StoredEmbeddings};
use domain::CacheMatch;
use tracing::info;

use super::Fleet;
use super::assignment::{Assignment, Ended};
use super::heart::HeldLease;
use super::watch;
use crate::engine::Control;

/// Embeddings and where they came from.
pub(super) struct Text {
    /// The encoders' output.
    pub(super) embeddings: StoredEmbeddings,
    /// For the record.
    pub(super) matched: CacheMatch,
    /// Similarity of the prompt they were made for, if it is another.
    pub(super) score: Option<f64>,
}

/// The prompt's embeddings.
///
/// # Errors
/// [`Ended`] when encoding was stopped or failed; the cache itself never fails a job.
pub(super) async fn find(fleet: &Fleet, job: &Assignment, lease: &HeldLease, control: &Control) -> Result<Text, Ended> {
    let begun = Instant::now();
    let request = &job.job.request;
    let tenant = job.job.tenant_id.to_string();
    let allowed = request.similar_prompts.unwrap_or(fleet.cache.similar_by_default());
    let similar = Similar { tenant: &tenant, allowed };
    let found = encode_once(fleet, (&tenant, &request.prompt), Some(similar), lease, control).await?;
    let matched = match found.source {
        _ if !fleet.cache.is_enabled() => CacheMatch::Off,
        Source::Memory | Source::Redis | Source::Awaited => CacheMatch::Identical,
        Source::Similar => CacheMatch::Similar,
        Source::Encoded => CacheMatch::Miss,
    };
    fleet.metrics.looked_up(matched, place(found.source), begun.elapsed().as_secs_f64());
    job.trace.note("fleet.cache", word(matched));
    let (source, score) = (found.source, found.score);
    info!(job.id = %job.job.id, ?source, score, bytes = found.embeddings.size_bytes(), "Cache {}", word(matched));
    Ok(Text { embeddings: StoredEmbeddings::clone(&found.embeddings), matched, score })
}

/// blake3 of all embeddings that a run uses.
pub(super) fn fingerprint(text: &Text, negative: Option<&StoredEmbeddings>) -> String {
    let mut hash = blake3::Hasher::new();
    for embeddings in [Some(&text.embeddings), negative].into_iter().flatten() {
        hash.update(&embeddings.to_bytes());
    }
    hash.finalize().to_hex().to_string()
}

/// The negative prompt's embeddings, if true guidance is on.
///
/// # Errors
/// As [`find`].
pub(super) async fn negative(
    fleet: &Fleet,
    job: &Assignment,
    lease: &HeldLease,
    control: &Control,
) -> Result<Option<StoredEmbeddings>, Ended> {
    let request = &job.job.request;
    if request.true_cfg_scale <= 1.0 {
        return Ok(None);
    }
    let text = request.negative_prompt.as_deref().unwrap_or_default();
    let found = encode_once(fleet, (&job.job.tenant_id.to_string(), text), None, lease, control).await?;
    Ok(Some(StoredEmbeddings::clone(&found.embeddings)))
}

async fn encode_once(
    fleet: &Fleet,
    (tenant, text): (&str, &str),
    similar: Option<Similar<'_>>,
    lease: &HeldLease,
    control: &Control,
) -> Result<Found, Ended> {
    let fingerprint = &fleet.engine.info().encoder_fingerprint;
    let encode = |text: String| watch::answer(fleet, lease, fleet.engine.encode(text, control));
    fleet.cache.get_or_encode(fingerprint, tenant, text, similar, encode).await
}

/// A word for the metrics' label.
fn place(source: Source) -> &'static str {
    match source {
        Source::Memory => "memory",
        // Whether memory or Redis held those of a similar prompt does not matter; the result says what they are.
        Source::Redis | Source::Similar => "redis",
        Source::Awaited => "awaited",
        Source::Encoded => "encoder",
    }
}

/// The job's id as it appears in the log.
fn word(matched: CacheMatch) -> &'static str {
    match matched {
        CacheMatch::Identical | CacheMatch::Similar => "HIT",
        CacheMatch::Miss => "MISS",
        CacheMatch::Off => "OFF",
    }
}
