//! Statistics as JSON.

use chrono::{DateTime, Utc};
use serde::Serialize;
use store::stats::{Counters, StatsGroup, StatsPoint};
use utoipa::ToSchema;

/// Response of `GET /api/stats`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsView {
    /// Number of jobs submitted so far.
    pub total_generations: i64,
    /// Number of jobs completed so far.
    pub completed: i64,
    /// Number of jobs failed so far.
    pub failed: i64,
    /// Number of jobs cancelled so far.
    pub cancelled: i64,
    /// Number of jobs that are waiting or running now.
    pub in_progress: i64,
    /// Effect of the optimisations.
    pub optimization: OptimizationStatsView,
    /// State of the embedding cache, which all tenants share.
    pub cache_stats: CacheStatsView,
    /// Drafts so far.
    pub drafts: DraftsView,
    /// GPU time, cost and savings.
    pub savings: SavingsView,
    /// Numbers by tier. Jobs that ended before they were planned are not included.
    pub by_tier: Vec<GroupView>,
    /// Numbers by complexity.
    pub by_complexity: Vec<GroupView>,
}

/// Effect of the optimisations.
#[derive(Debug, Serialize, ToSchema)]
pub struct OptimizationStatsView {
    /// Whether embeddings are cached.
    pub cache_enabled: bool,
    /// Number of completed jobs whose embeddings came from the cache.
    pub cache_hits: i64,
    /// Share of completed jobs with cached embeddings, in percent.
    pub cache_hit_rate: f64,
    /// Mean planned steps per completed video; 0 if there is none.
    pub avg_steps: f64,
    /// Whether the number of steps adapts to the prompt.
    pub adaptive_enabled: bool,
    /// How many of the `cache_hits` used the embeddings of a similar prompt.
    pub cache_hits_similar: i64,
    /// Mean steps per completed video that ran through the transformer.
    pub avg_steps_computed: f64,
    /// Mean steps per completed video that the step cache replaced.
    pub avg_steps_skipped: f64,
}

/// The embedding cache.
#[derive(Debug, Serialize, ToSchema)]
pub struct CacheStatsView {
    /// Whether embeddings are cached.
    pub enabled: bool,
    /// `healthy`, `unavailable` or `disabled`.
    pub status: &'static str,
    /// Number of stored embeddings.
    pub total_keys: u64,
    /// Number of look-ups that found an embedding, in a worker's memory or in Redis.
    pub keyspace_hits: u64,
    /// Number of look-ups that found none.
    pub keyspace_misses: u64,
    /// Share of look-ups that found an embedding, in percent.
    pub hit_rate: f64,
}

/// Jobs that paused after their first steps.
#[derive(Debug, Serialize, ToSchema)]
pub struct DraftsView {
    /// Number of runs that paused.
    pub drafted: i64,
    /// Number of drafts that were continued.
    pub continued: i64,
    /// GPU time of the runs that paused in seconds, whether or not the draft was continued.
    pub gpu_seconds: f64,
}

impl DraftsView {
    /// From the counters of all jobs.
    #[must_use]
    pub fn new(all: &Counters) -> Self {
        Self { drafted: all.drafted, continued: all.continued, gpu_seconds: all.draft_gpu_seconds }
    }
}

/// GPU time, cost and savings of completed jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct SavingsView {
    /// GPU time in seconds, including all attempts.
    pub gpu_seconds: f64,
    /// Cost of the GPU time in US dollars.
    pub cost_usd: f64,
    /// Seconds saved compared with the model's default steps and no caches.
    pub saved_s: f64,
    /// Value of the saved time in US dollars.
    pub saved_usd: f64,
    /// Mean cost per completed video in US dollars; 0 if there is none.
    pub cost_per_video_usd: f64,
}

/// Numbers of a group of jobs.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct GroupView {
    /// The tier or complexity.
    pub name: String,
    /// Number of completed jobs.
    pub completed: i64,
    /// How many of them used cached embeddings.
    pub cache_hits: i64,
    /// Mean planned steps per completed video.
    pub avg_steps: f64,
    /// Mean duration of a run in seconds.
    pub avg_run_s: f64,
    /// Cost in US dollars.
    pub cost_usd: f64,
    /// Seconds saved.
    pub saved_s: f64,
    /// US dollars saved.
    pub saved_usd: f64,
}

/// Response of `GET /api/stats/series`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeriesView {
    /// Length of the period that one point covers, in seconds.
    pub bucket_s: u32,
    /// Oldest first. Periods without any event are omitted.
    pub points: Vec<PointView>,
}

/// One hour or day.
#[derive(Debug, Serialize, ToSchema)]
pub struct PointView {
    /// Start of the period.
    pub at: DateTime<Utc>,
    /// Number of jobs submitted.
    pub submitted: i64,
    /// Number of jobs completed.
    pub completed: i64,
    /// Number of jobs failed.
    pub failed: i64,
    /// Number of jobs cancelled.
    pub cancelled: i64,
    /// Number of completed jobs with cached embeddings.
    pub cache_hits: i64,
    /// Share of completed jobs with cached embeddings, in percent.
    pub cache_hit_rate: f64,
    /// Mean planned steps per completed video.
    pub avg_steps: f64,
    /// Mean time from submission to the first attempt, in seconds.
    pub avg_wait_s: f64,
    /// Mean duration of a run in seconds.
    pub avg_run_s: f64,
    /// GPU time in seconds.
    pub gpu_seconds: f64,
    /// Cost in US dollars.
    pub cost_usd: f64,
    /// Seconds saved.
    pub saved_s: f64,
    /// US dollars saved.
    pub saved_usd: f64,
}

/// `part / whole`; 0 if `whole` is 0.
#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
fn per(part: f64, whole: i64) -> f64 {
    if whole > 0 { part / whole as f64 } else { 0.0 }
}

/// A counter as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
fn number(counter: i64) -> f64 {
    counter as f64
}

/// Rounds to a tenth, which is precise enough for rates and averages.
fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// 100 x part / whole, to a tenth.
#[must_use]
pub(crate) fn percent(part: i64, whole: i64) -> f64 {
    tenth(per(100.0 * number(part), whole))
}

impl OptimizationStatsView {
    /// Creates the view.
    #[must_use]
    pub fn new(all: &Counters, cache_enabled: bool, adaptive_enabled: bool) -> Self {
        Self {
            cache_enabled,
            cache_hits: all.cache_hits(),
            cache_hit_rate: percent(all.cache_hits(), all.completed),
            avg_steps: tenth(per(number(all.steps_planned), all.completed)),
            adaptive_enabled,
            cache_hits_similar: all.cache_similar,
            avg_steps_computed: tenth(per(number(all.steps_computed), all.completed)),
            avg_steps_skipped: tenth(per(number(all.steps_skipped), all.completed)),
        }
    }
}

impl SavingsView {
    /// Creates the view.
    #[must_use]
    pub fn new(all: &Counters) -> Self {
        Self {
            gpu_seconds: all.gpu_seconds,
            cost_usd: all.cost_usd,
            saved_s: all.saved_s,
            saved_usd: all.saved_usd,
            cost_per_video_usd: per(all.cost_usd, all.completed),
        }
    }
}

impl GroupView {
    /// One view for each of `names`, in their order. `name` returns the name of a group; groups with the same name are added up.
    #[must_use]
    pub fn by<T: Copy + PartialEq + ToString>(
        names: &[T],
        groups: &[StatsGroup],
        name: impl Fn(&StatsGroup) -> Option<T>,
    ) -> Vec<Self> {
        let one = |wanted: &T| {
            let mine = groups.iter().filter(|group| name(group) == Some(*wanted)).map(|group| &group.counters);
            // `sum` of nothing is -0.0, which JSON would show.
            let sum = |part: fn(&Counters) -> f64| mine.clone().map(part).fold(0.0, |sum, part| sum + part);
            let completed: i64 = mine.clone().map(|c| c.completed).sum();
            Self {
                name: wanted.to_string(),
                completed,
                cache_hits: mine.clone().map(Counters::cache_hits).sum(),
                avg_steps: tenth(per(sum(|c| number(c.steps_planned)), completed)),
                avg_run_s: per(sum(|c| c.run_s), completed),
                cost_usd: sum(|c| c.cost_usd),
                saved_s: sum(|c| c.saved_s),
                saved_usd: sum(|c| c.saved_usd),
            }
        };
        names.iter().map(one).collect()
    }
}

impl PointView {
    /// Creates the view.
    #[must_use]
    pub fn new(point: &StatsPoint) -> Self {
        let c = &point.counters;
        Self {
            at: point.at,
            submitted: c.submitted,
            completed: c.completed,
            failed: c.failed,
            cancelled: c.cancelled,
            cache_hits: c.cache_hits(),
            cache_hit_rate: percent(c.cache_hits(), c.completed),
            avg_steps: tenth(per(number(c.steps_planned), c.completed)),
            avg_wait_s: per(c.wait_s, c.completed),
            avg_run_s: per(c.run_s, c.completed),
            gpu_seconds: c.gpu_seconds,
            cost_usd: c.cost_usd,
            saved_s: c.saved_s,
            saved_usd: c.saved_usd,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Tier;

    use super::{GroupView, percent};

    #[test]
    fn a_group_without_jobs_costs_zero_and_not_negative_zero() {
        let groups = GroupView::by(&[Tier::Preview], &[], |group| group.tier);
        let json = serde_json::to_string(&groups).expect("numbers and names");
        assert!(json.contains(r#""cost_usd":0.0"#), "{json}");
    }

    #[test]
    fn rates_are_rounded_to_a_tenth() {
        assert_eq!(percent(3, 8), 37.5);
        assert_eq!(percent(1, 3), 33.3);
        assert_eq!(percent(0, 0), 0.0);
    }
}
