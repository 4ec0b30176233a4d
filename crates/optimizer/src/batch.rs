//! How many jobs a worker renders together.
//!
//! A device that is not busy with one video renders several in nearly the same time. A GPU is busy with a single video from about
//! 4,000 tokens on: of images with 1,000 tokens it renders 1.8 times as many per second in pairs and 3.1 times as many in groups of
//! eight, of those with 4,000 tokens the same number (Qwen-Image on an H200, SGLang PR 22183). One thread of a CPU is busy at once: 50
//! ms a sample in groups of 1 to 8 for the embedded model. So the limit is a number of jobs, one of tokens, and the memory.

use domain::model::Memory;

/// Most jobs of `tokens` video tokens each that a worker renders together, at least 1.
///
/// `batch_max` and `batch_tokens` are what the worker registered (a worker that renders one at a time, or each on several devices, has
/// registered 1), `memory_bytes` is its memory and `memory` the model's needs.
#[must_use]
pub fn limit(tokens: u64, batch_max: u32, batch_tokens: u64, memory_bytes: u64, memory: &Memory) -> u32 {
    let tokens = tokens.max(1);
    let activations = memory_bytes.saturating_sub(memory.base_bytes);
    let by_memory = activations.checked_div(memory.per_token_bytes.saturating_mul(tokens)).unwrap_or(u64::MAX);
    let most = u64::from(batch_max).min(batch_tokens / tokens).min(by_memory).max(1);
    u32::try_from(most).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;
    /// The embedded model: 320 tokens for a short video.
    const MEMORY: Memory = Memory { base_bytes: GB, per_token_bytes: 1 << 20 };

    #[test]
    fn a_worker_that_renders_one_at_a_time_renders_one() {
        assert_eq!(limit(320, 1, 4096, 80 * GB, &MEMORY), 1);
        assert_eq!(limit(320, 0, 4096, 80 * GB, &MEMORY), 1);
    }

    #[test]
    fn few_tokens_are_limited_by_the_number_and_many_by_their_sum() {
        assert_eq!(limit(320, 8, 4096, 80 * GB, &MEMORY), 8);
        assert_eq!(limit(1_024, 8, 4096, 80 * GB, &MEMORY), 4);
        assert_eq!(limit(2_048, 8, 4096, 80 * GB, &MEMORY), 2);
        assert_eq!(limit(2_049, 8, 4096, 80 * GB, &MEMORY), 1);
        assert_eq!(limit(118_800, 8, 4096, 80 * GB, &MEMORY), 1);
    }

    #[test]
    fn memory_is_the_last_limit() {
        assert_eq!(limit(320, 8, 4096, GB + 3 * 320 * (1 << 20), &MEMORY), 3);
        // A job that hardly fits was released to this worker, so it is rendered alone.
        assert_eq!(limit(320, 8, 4096, GB, &MEMORY), 1);
        let free = Memory { base_bytes: GB, per_token_bytes: 0 };
        assert_eq!(limit(320, 8, 4096, 80 * GB, &free), 8);
    }

    #[test]
    fn nothing_to_attend_to_is_no_division_by_zero() {
        assert_eq!(limit(0, 4, 4096, 80 * GB, &MEMORY), 4);
    }
}
