//! What optimisations saved.

/// Seconds that optimisations saved, and their price.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SavedBy {
    /// Fewer steps than the model's default, seconds.
    pub steps_s: f64,
    /// US dollars.
    pub steps_usd: f64,
    /// Skipped steps, seconds.
    pub step_cache_s: f64,
    /// US dollars.
    pub step_cache_usd: f64,
    /// Prompts that were not encoded again, seconds.
    pub embeddings_s: f64,
    /// US dollars.
    pub embeddings_usd: f64,
    /// Steps of drafts that nobody continued, seconds.
    pub drafts_s: f64,
    /// US dollars.
    pub drafts_usd: f64,
}

impl SavedBy {
    /// Adds what was saved elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        self.steps_s += other.steps_s;
        self.steps_usd += other.steps_usd;
        self.step_cache_s += other.step_cache_s;
        self.step_cache_usd += other.step_cache_usd;
        self.embeddings_s += other.embeddings_s;
        self.embeddings_usd += other.embeddings_usd;
        self.drafts_s += other.drafts_s;
        self.drafts_usd += other.drafts_usd;
    }
}

/// Reads it from the columns of a row, which has a type of its own in each query.
macro_rules! saved_by {
    ($row:ident) => {
        SavedBy {
            steps_s: $row.steps_s,
            steps_usd: $row.steps_usd,
            step_cache_s: $row.step_cache_s,
            step_cache_usd: $row.step_cache_usd,
            embeddings_s: $row.embeddings_s,
            embeddings_usd: $row.embeddings_usd,
            drafts_s: $row.drafts_s,
            drafts_usd: $row.drafts_usd,
        }
    };
}
pub(super) use saved_by;
