//! The request document of a row, also for rows of releases that stored columns only.
//!
//! The superseded columns are named in two queries: here, to read rows without a document, and in `insert_jobs`, which
//! still writes them for releases that read only columns. `migrations/README.md` says when both can be removed.

use domain::VideoRequest;
use serde_json::Value;
use uuid::Uuid;

use crate::error::{Result, StoreError};

/// `query_as!` with the row's request document (`request`, never null) selected between the two parts of a statement.
macro_rules! query_with_request {
    ($row:ty, $head:tt, $tail:tt $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            $row,
            $head
                + r#"
                COALESCE(request, jsonb_build_object(
                    'prompt', prompt, 'video_size', video_size, 'aspect_ratio', aspect_ratio, 'video_length', video_length,
                    'infer_steps', infer_steps, 'quality_tier', quality_tier, 'seed', seed, 'cfg_scale', cfg_scale,
                    'flow_reverse', flow_reverse, 'negative_prompt', negative_prompt, 'true_cfg_scale', true_cfg_scale,
                    'step_cache', step_cache, 'similar_prompts', similar_prompts, 'model', model_id,
                    'deadline_s', deadline_s)) AS "request!""#
                + $tail
            $(, $arg)*
        )
    };
}
pub(crate) use query_with_request;

/// Reads the request document of job `id`.
pub(crate) fn read_request(id: Uuid, document: Value) -> Result<VideoRequest> {
    VideoRequest::from_document(document).map_err(|error| StoreError::unreadable("jobs", "request", id, error))
}
