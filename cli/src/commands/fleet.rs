//! `fleet stats` and `fleet workers`: about the fleet, not about single jobs.

use serde_json::Value;

use crate::api::{Api, with_query};
use crate::failure::Failure;
use crate::out::Out;
use crate::table::Table;
use crate::text::{dollars, duration, plain};

/// Prints the statistics.
pub(crate) async fn stats(api: &Api, out: Out) -> Result<(), Failure> {
    let stats = api.get("/api/stats").await?;
    out.result(&stats, |stats| {
        let (optimization, savings) = (&stats["optimization"], &stats["savings"]);
        let amount = |name: &str| dollars(savings[name].as_f64().unwrap_or_default());
        let time = |name: &str| duration(savings[name].as_f64().unwrap_or_default());
        [
            format!("submitted    {}", stats["total_generations"]),
            format!("in progress  {}", stats["in_progress"]),
            format!("completed    {}", stats["completed"]),
            format!("failed       {}", stats["failed"]),
            format!("cancelled    {}", stats["cancelled"]),
            format!("GPU time     {}", time("gpu_seconds")),
            format!("cost         {} ({} per video)", amount("cost_usd"), amount("cost_per_video_usd")),
            format!("saved        {} ({})", amount("saved_usd"), time("saved_s")),
            format!("cache hits   {} ({} %)", optimization["cache_hits"], optimization["cache_hit_rate"]),
            format!(
                "steps        {} per video, {} of them skipped",
                optimization["avg_steps"], optimization["avg_steps_skipped"]
            ),
        ]
        .join("\n")
    })
}

/// Lists the workers.
pub(crate) async fn workers(api: &Api, out: Out) -> Result<(), Failure> {
    let workers = all_workers(api).await?;
    if out.json {
        return workers.iter().try_for_each(|worker| out.line(&worker.to_string()));
    }
    if workers.is_empty() {
        out.hint("no workers online; videos stay queued until one connects");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "STATE", "JOBS", "DEVICE", "MODEL", "HEARTBEAT"]);
    for worker in &workers {
        let word = |name: &str| plain(worker[name].as_str().unwrap_or_default());
        table.push(vec![
            word("name"),
            word("state"),
            format!("{}/{}", worker["running"], worker["slots"]),
            word("device"),
            word("model"),
            format!("{} ago", duration(worker["silent_s"].as_f64().unwrap_or_default())),
        ]);
    }
    out.line(&table.text())
}

/// The workers of all pages. A server of an earlier release sends all of them at once.
async fn all_workers(api: &Api) -> Result<Vec<Value>, Failure> {
    let (mut workers, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut page = api.get(&with_query("/api/workers", cursor.map(|cursor| ("cursor", cursor)))).await?;
        if let Value::Array(found) = page["workers"].take() {
            workers.extend(found);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(workers);
        }
    }
}
