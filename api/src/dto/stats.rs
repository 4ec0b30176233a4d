//! Statistics as JSON.

use chrono::{DateTime, Utc};
use serde::Serialize;
use store::stats::{Counters, StatsGroup, StatsPoint};
use utoipa::ToSchema;

/// Answer of `GET /api/stats`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsView {
    /// Jobs submitted so far.
    pub total_generations: i64,
    /// Jobs completed so far.
    pub completed: i64,
    /// Jobs failed so far.
    pub failed: i64,
    /// Jobs cancelled so far.
    pub cancelled: i64,
    /// Jobs that wait or run now.
    pub in_progress: i64,
    /// What the optimisations do.
    pub optimization: OptimizationStatsView,
    /// The embedding cache itself, which all tenants share.
    pub cache_stats: CacheStatsView,
    /// Seconds and dollars.
    pub savings: SavingsView,
    /// The same numbers by tier; jobs that no plan was made for are left out.
    pub by_tier: Vec<GroupView>,
    /// The same numbers by complexity.
    pub by_complexity: Vec<GroupView>,
}

/// What the optimisations do.
#[derive(Debug, Serialize, ToSchema)]
pub struct OptimizationStatsView {
    /// Whether embeddings are cached.
    pub cache_enabled: bool,
    /// Completed jobs whose embeddings came from the cache.
    pub cache_hits: i64,
    /// 100 x hits / completed.
    pub cache_hit_rate: f64,
    /// Planned steps of the average video; 0 before the first.
    pub avg_steps: f64,
    /// Whether steps adapt to the prompt.
    pub adaptive_enabled: bool,
    /// Of `cache_hits`, those of a similar prompt.
    pub cache_hits_similar: i64,
    /// Computed steps of the average video.
    pub avg_steps_computed: f64,
    /// Steps of the average video that the step cache answered.
    pub avg_steps_skipped: f64,
}

/// The embedding cache.
#[derive(Debug, Serialize, ToSchema)]
pub struct CacheStatsView {
    /// Whether embeddings are cached.
    pub enabled: bool,
    /// `healthy`, `unavailable` or `disabled`.
    pub status: &'static str,
    /// Embeddings that are kept.
    pub total_keys: u64,
    /// Look-ups that found one, wherever it was kept.
    pub keyspace_hits: u64,
    /// Look-ups that found none.
    pub keyspace_misses: u64,
    /// 100 x hits / look-ups.
    pub hit_rate: f64,
}

/// Seconds and dollars of completed jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct SavingsView {
    /// GPU seconds, all attempts.
    pub gpu_seconds: f64,
    /// Their price, US dollars.
    pub cost_usd: f64,
    /// Seconds saved against fixed steps without caches.
    pub saved_s: f64,
    /// Their price, US dollars.
    pub saved_usd: f64,
    /// Price of the average video, US dollars; 0 before the first.
    pub cost_per_video_usd: f64,
}

/// Numbers of a group of jobs.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct GroupView {
    /// The tier or complexity.
    pub name: String,
    /// Completed jobs.
    pub completed: i64,
    /// Of those, with cached embeddings.
    pub cache_hits: i64,
    /// Planned steps of the average video.
    pub avg_steps: f64,
    /// Seconds of the average run.
    pub avg_run_s: f64,
    /// Price, US dollars.
    pub cost_usd: f64,
    /// Seconds saved.
    pub saved_s: f64,
    /// Dollars saved.
    pub saved_usd: f64,
}

/// Answer of `GET /api/stats/series`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeriesView {
    /// Seconds that one point stands for.
    pub bucket_s: u32,
    /// Oldest first; times without any event are left out.
    pub points: Vec<PointView>,
}

/// One hour or day.
#[derive(Debug, Serialize, ToSchema)]
pub struct PointView {
    /// Its start.
    pub at: DateTime<Utc>,
    /// Jobs submitted.
    pub submitted: i64,
    /// Jobs completed.
    pub completed: i64,
    /// Jobs failed.
    pub failed: i64,
    /// Jobs cancelled.
    pub cancelled: i64,
    /// Completed jobs with cached embeddings.
    pub cache_hits: i64,
    /// 100 x hits / completed.
    pub cache_hit_rate: f64,
    /// Planned steps of the average video.
    pub avg_steps: f64,
    /// Seconds from submission to the first claim, on average.
    pub avg_wait_s: f64,
    /// Seconds of the average run.
    pub avg_run_s: f64,
    /// GPU seconds.
    pub gpu_seconds: f64,
    /// Price, US dollars.
    pub cost_usd: f64,
    /// Seconds saved.
    pub saved_s: f64,
    /// Dollars saved.
    pub saved_usd: f64,
}

/// `part / whole`, 0 for nothing.
#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
fn per(part: f64, whole: i64) -> f64 {
    if whole > 0 { part / whole as f64 } else { 0.0 }
}

/// A counter as a fraction's upper half.
#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
fn number(counter: i64) -> f64 {
    counter as f64
}

/// To a tenth, as people read rates and averages.
fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// 100 x part / whole, to a tenth.
#[must_use]
pub(crate) fn percent(part: i64, whole: i64) -> f64 {
    tenth(per(100.0 * number(part), whole))
}

impl OptimizationStatsView {
    /// Builds the view.
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
    /// Builds the view.
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
    /// The groups by what `name` finds in each, in the order of `names`.
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
    /// Builds the view.
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
    fn a_group_without_jobs_has_cost_nothing_and_not_minus_nothing() {
        let groups = GroupView::by(&[Tier::Preview], &[], |group| group.tier);
        let json = serde_json::to_string(&groups).expect("numbers and names");
        assert!(json.contains(r#""cost_usd":0.0"#), "{json}");
    }

    #[test]
    fn rates_are_told_to_a_tenth() {
        assert_eq!(percent(3, 8), 37.5);
        assert_eq!(percent(1, 3), 33.3);
        assert_eq!(percent(0, 0), 0.0);
    }
}
