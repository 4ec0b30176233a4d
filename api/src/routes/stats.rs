//! `GET /api/stats` and `GET /api/stats/series`: jobs, cost and savings so far.

use axum::Json;
use axum::extract::State;
use chrono::Duration;
use domain::{Clock, Complexity, SystemClock, Tier};
use serde::Deserialize;
use store::stats::Bucket;
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::dto::stats::{
    CacheStatsView, DraftsView, GroupView, OptimizationStatsView, PointView, SavingsView, SeriesView, StatsView,
};
use crate::extract::QueryString;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::{App, AppState};

/// Returns statistics of the caller's own jobs, or of the whole fleet for admins. They are counted as jobs change, so this is fast
/// for any number of jobs.
#[utoipa::path(get, path = "/api/stats", tag = "fleet", responses((status = 200, body = StatsView)))]
pub async fn stats(State(app): State<AppState>, caller: Caller) -> Answer<Json<StatsView>> {
    let scope = caller.scope();
    let all = app.store.stats(scope).await.map_err(|error| Problem::from_store(&error))?;
    let groups = app.store.stats_by_group(scope, None).await.map_err(|error| Problem::from_store(&error))?;
    let cache_enabled = app.settings.cache.enabled;
    let adaptive_enabled = app.settings.optimization.adaptive_steps;
    Ok(Json(StatsView {
        total_generations: all.submitted,
        completed: all.completed,
        failed: all.failed,
        cancelled: all.cancelled,
        // A job that was retried was counted as failed or cancelled before, although it is in progress again.
        in_progress: (all.submitted + all.retried - all.completed - all.failed - all.cancelled).max(0),
        optimization: OptimizationStatsView::new(&all, cache_enabled, adaptive_enabled),
        cache_stats: cache_stats(&app).await,
        drafts: DraftsView::new(&all),
        savings: SavingsView::new(&all),
        by_tier: GroupView::by(Tier::ALL, &groups, |group| group.tier),
        by_complexity: GroupView::by(Complexity::ALL, &groups, |group| group.complexity),
    }))
}

async fn cache_stats(app: &App) -> CacheStatsView {
    let enabled = app.settings.cache.enabled;
    let none =
        |status| CacheStatsView { enabled, status, total_keys: 0, keyspace_hits: 0, keyspace_misses: 0, hit_rate: 0.0 };
    if !enabled {
        return none("disabled");
    }
    match app.cache.stats().await {
        Ok(stats) => {
            let lookups = stats.hits + stats.misses;
            #[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
            let rate = if lookups > 0 { 100.0 * stats.hits as f64 / lookups as f64 } else { 0.0 };
            CacheStatsView {
                enabled,
                status: "healthy",
                total_keys: stats.keys,
                keyspace_hits: stats.hits,
                keyspace_misses: stats.misses,
                hit_rate: (rate * 10.0).round() / 10.0,
            }
        }
        Err(error) => {
            tracing::debug!(error = %error, "cannot read the statistics of the cache");
            none("unavailable")
        }
    }
}

/// Length of the periods of a series.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BucketWord {
    /// One point per hour.
    #[default]
    Hour,
    /// One point per day (UTC).
    Day,
}

/// Period of a series.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// Number of hours back from now; default 24, at most 8784 (366 days).
    hours: Option<u32>,
    /// `hour` (default) or `day`.
    #[param(inline)]
    bucket: Option<BucketWord>,
}

/// Longest series, in hours.
const HOURS_MAX: u32 = 24 * 366;

/// Returns statistics over time, for charts.
#[utoipa::path(
    get, path = "/api/stats/series", tag = "fleet", params(SeriesQuery),
    responses(
        (status = 200, body = SeriesView),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid"),
    )
)]
pub async fn series(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<SeriesQuery>,
) -> Answer<Json<SeriesView>> {
    let hours = query.hours.unwrap_or(24);
    if hours == 0 || hours > HOURS_MAX {
        return Err(Problem::field("hours", format!("must be between 1 and {HOURS_MAX}")));
    }
    let (bucket, bucket_s) = match query.bucket.unwrap_or_default() {
        BucketWord::Hour => (Bucket::Hour, 3_600),
        BucketWord::Day => (Bucket::Day, 86_400),
    };
    let now = SystemClock.now();
    // The database's clock may be ahead of this machine's, so the range ends in the future to include the newest bucket.
    let (from, to) = (now - Duration::hours(i64::from(hours)), now + Duration::hours(2));
    let points =
        app.store.stats_series(caller.scope(), from, to, bucket).await.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(SeriesView { bucket_s, points: points.iter().map(PointView::new).collect() }))
}
