//! What a request may ask for, and how much work the fleet accepts.

use serde::Deserialize;

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
    /// Most waiting jobs in total.
    pub backlog_max: u64,
    /// Most waiting jobs of one tenant; 0 for `backlog_tenant_share`.
    pub backlog_per_tenant_max: u64,
    /// Largest part of `backlog_max` that one tenant may fill, 0 to 1.
    pub backlog_tenant_share: f64,
    /// Submissions of one key per minute; 0 for no limit.
    pub submissions_per_minute: u32,
    /// Submissions that may arrive at once before that applies.
    pub submissions_burst: u32,
    /// Most items of one batch.
    pub batch_max: usize,
    /// Most rows of one INSERT of new jobs.
    pub ingest_rows_max: usize,
    /// INSERTs of new jobs at the same time.
    pub ingest_lanes: usize,
    /// Most submissions that may wait for their INSERT.
    pub ingest_queue_max: usize,
    /// Largest page of a list, jobs.
    pub page_max: u32,
    /// Most jobs that one page examines.
    pub list_scan_max: u32,
    /// Largest file of an adapter, bytes.
    pub lora_bytes_max: u64,
    /// Most adapters of one tenant.
    pub loras_per_tenant_max: u64,
    /// Most bytes of one tenant's adapters.
    pub loras_tenant_bytes_max: u64,
    /// Longest time of an upload of an adapter or a picture, seconds.
    pub lora_upload_s: u64,
    /// Largest file of a picture, bytes.
    pub image_bytes_max: usize,
    /// Most pixels of a picture.
    pub image_pixels_max: u64,
    /// Most bytes of one tenant's pictures.
    pub images_tenant_bytes_max: u64,
    /// Most memory that the decoder of one picture may use, bytes.
    pub image_memory_max_bytes: u64,
    /// Longest time for decoding a picture, seconds.
    pub image_decode_s: u64,
    /// Pictures that are decoded at the same time.
    pub image_decodes_max: usize,
    /// Largest queue position that is counted.
    pub queue_position_max: u32,
}
