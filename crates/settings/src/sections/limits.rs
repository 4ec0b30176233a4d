//! What a request may ask for, and how much the fleet takes on.

use domain::RequestLimits;
use serde::Deserialize;

impl LimitsSettings {
    /// The limits as `domain` checks them.
    #[must_use]
    pub fn request(&self) -> RequestLimits {
        RequestLimits {
            prompt_chars_max: self.prompt_chars_max,
            cfg_scale_max: self.cfg_scale_max,
            true_cfg_scale_max: self.true_cfg_scale_max,
            deadline_s_max: self.deadline_s_max,
        }
    }
}

/// `[limits]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSettings {
    /// Longest prompt, characters.
    pub prompt_chars_max: usize,
    /// Largest embedded guidance.
    pub cfg_scale_max: f64,
    /// Largest real guidance.
    pub true_cfg_scale_max: f64,
    /// Furthest deadline, seconds.
    pub deadline_s_max: u32,
    /// Waiting jobs in all.
    pub backlog_max: u64,
    /// Waiting jobs of one tenant; 0 for no limit.
    pub backlog_per_tenant_max: u64,
    /// Submissions of one key each minute; 0 for no limit.
    pub submissions_per_minute: u32,
    /// Submissions at once before that applies.
    pub submissions_burst: u32,
    /// Items of one batch.
    pub batch_max: usize,
    /// Rows of one INSERT.
    pub ingest_rows_max: usize,
    /// INSERTs under way at the same time.
    pub ingest_lanes: usize,
    /// Submissions waiting for theirs.
    pub ingest_queue_max: usize,
    /// Largest page of a list.
    pub page_max: u32,
    /// Jobs that one page looks at.
    pub list_scan_max: u32,
    /// A queue position is counted up to this.
    pub queue_position_max: u32,
}
