//! The seconds that a run with adapters spends on merging them into the weights and on restoring the model's own.

use domain::model::TransformerSizes;
use domain::{ModelManifest, VideoRequest};

use super::model::CostModel;
use super::records::CostRecord;
use crate::robust;

/// Newest runs with adapters that are measured.
const RUNS: usize = 50;

/// Bytes of weights that are restored and merged in a second, until runs have shown it. The checkpoint is read again, usually from
/// the page cache, and each layer is added up in fp32.
const PRIOR_BYTES_PER_S: f64 = 4e9;

/// Bytes of a stored weight.
const WEIGHT_BYTES: f64 = 2.0;

/// Seconds that a request's adapters will probably take; 0 for a request without any.
#[must_use]
pub(crate) fn swap_s(cost: &CostModel, request: &VideoRequest, manifest: &ModelManifest) -> f64 {
    if request.adapters_key().is_empty() {
        return 0.0;
    }
    cost.swap_s.unwrap_or_else(|| manifest.transformer.as_ref().map_or(0.0, |sizes| bytes(sizes) / PRIOR_BYTES_PER_S))
}

/// What runs with adapters spent on them: the usual time of a swap, times the share of runs that needed one. `None` before the
/// first such run.
pub(super) fn measured(records: &[CostRecord]) -> Option<f64> {
    let all: Vec<f64> = records.iter().rev().filter_map(|record| record.swap_s).take(RUNS).collect();
    let swaps: Vec<f64> = all.iter().copied().filter(|seconds| *seconds > 0.0).collect();
    if all.is_empty() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few runs")]
    let share = swaps.len() as f64 / all.len() as f64;
    Some(robust::median(&swaps).unwrap_or(0.0) * share)
}

/// Bytes of the weights in all blocks, which an adapter usually changes.
fn bytes(sizes: &TransformerSizes) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let [hidden, mlp, double, single] =
        [sizes.hidden, sizes.mlp, sizes.double_blocks, sizes.single_blocks].map(|size| size as f64);
    // Per stream of a double block: queries, keys, values and output, six vectors of modulation, and the MLP. A single block joins
    // the output with the MLP's second matrix.
    let of_double = 2.0 * (10.0 * hidden * hidden + 2.0 * hidden * mlp);
    let of_single = 7.0 * hidden * hidden + 2.0 * hidden * mlp;
    WEIGHT_BYTES * (double * of_double + single * of_single)
}
