//! `fleet usage` and `fleet budgets`: what was spent, on what, and what may be spent.

use serde_json::Value;

use crate::api::{Api, with_query};
use crate::args::UsageArgs;
use crate::failure::Failure;
use crate::out::Out;
use crate::table::Table;
use crate::text::{dollars, duration, plain};

/// Columns by which usage can be grouped: name in the response, heading.
const GROUPS: [(&str, &str); 6] = [
    ("period", "PERIOD"),
    ("tenant", "TENANT"),
    ("key", "KEY"),
    ("model", "MODEL"),
    ("tier", "TIER"),
    ("worker", "WORKER"),
];

/// Prints usage.
pub(crate) async fn usage(api: &Api, out: Out, args: &UsageArgs) -> Result<(), Failure> {
    let parameters = [
        ("from", args.from.clone()),
        ("to", args.to.clone()),
        ("group_by", Some(args.by.clone())),
        ("format", args.csv.then(|| "csv".to_owned())),
    ];
    let path = with_query("/api/usage", parameters.into_iter().filter_map(|(name, value)| Some((name, value?))));
    if args.csv {
        let text = api.text(&path).await?;
        return out.line(text.trim_end());
    }
    let usage = api.get(&path).await?;
    out.result(&usage, text)
}

fn text(usage: &Value) -> String {
    let mut parts = vec![rows(usage), total(&usage["total"])];
    if let Some(workers) = usage["workers"].as_array().filter(|workers| !workers.is_empty()) {
        parts.push(worker_rows(workers));
    }
    parts.join("\n\n")
}

fn rows(usage: &Value) -> String {
    let rows = usage["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let groups = present(rows);
    let heading: Vec<&str> = groups
        .iter()
        .map(|(_, heading)| *heading)
        .chain(["VIDEOS", "RUNS", "REPEATED", "GPU TIME", "COST", "SAVED"])
        .collect();
    let mut table = Table::new(&heading);
    for row in rows {
        let mut cells: Vec<String> = groups.iter().map(|(name, _)| word(&row[*name])).collect();
        cells.extend([
            row["videos"].to_string(),
            row["runs"].to_string(),
            row["repeated_runs"].to_string(),
            duration(number(&row["gpu_seconds"])),
            dollars(number(&row["cost_usd"])),
            duration(saved_s(&row["saved"])),
        ]);
        table.push(cells);
    }
    table.text()
}

fn total(total: &Value) -> String {
    let saved = &total["saved"];
    let amount = |name: &str| {
        format!("{} ({})", dollars(number(&saved[name]["usd"])), duration(number(&saved[name]["gpu_seconds"])))
    };
    [
        format!(
            "cost             {} ({})",
            dollars(number(&total["cost_usd"])),
            duration(number(&total["gpu_seconds"]))
        ),
        format!(
            "repeated work    {} ({})",
            dollars(number(&total["repeated_cost_usd"])),
            duration(number(&total["repeated_gpu_seconds"]))
        ),
        format!("adaptive steps   {}", amount("adaptive_steps")),
        format!("step cache       {}", amount("step_cache")),
        format!("embedding cache  {}", amount("embedding_cache")),
        format!("drafts           {}", amount("drafts")),
    ]
    .join("\n")
}

fn worker_rows(workers: &[Value]) -> String {
    let groups = present(workers);
    let heading: Vec<&str> =
        groups.iter().map(|(_, heading)| *heading).chain(["ONLINE", "BUSY", "IDLE", "IDLE COST"]).collect();
    let mut table = Table::new(&heading);
    for row in workers {
        let mut cells: Vec<String> = groups.iter().map(|(name, _)| word(&row[*name])).collect();
        cells.extend(["online_s", "busy_s", "idle_s"].map(|name| duration(number(&row[name]))));
        cells.push(dollars(number(&row["idle_usd"])));
        table.push(cells);
    }
    table.text()
}

/// The groups that any of the rows has.
fn present(rows: &[Value]) -> Vec<(&'static str, &'static str)> {
    GROUPS.into_iter().filter(|(name, _)| rows.iter().any(|row| row.get(*name).is_some())).collect()
}

fn word(value: &Value) -> String {
    plain(value.as_str().unwrap_or("-"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn saved_s(saved: &Value) -> f64 {
    ["adaptive_steps", "step_cache", "embedding_cache", "drafts"]
        .iter()
        .map(|name| number(&saved[name]["gpu_seconds"]))
        .sum::<f64>()
        .max(0.0)
}

/// Lists the budgets.
pub(crate) async fn budgets(api: &Api, out: Out) -> Result<(), Failure> {
    let document = api.get("/api/budgets").await?;
    let budgets = document["budgets"].as_array().map(Vec::as_slice).unwrap_or_default();
    if out.json {
        return budgets.iter().try_for_each(|budget| out.line(&budget.to_string()));
    }
    if budgets.is_empty() {
        out.hint("no budgets; an administrator sets them with PUT /api/budgets");
        return Ok(());
    }
    let mut table = Table::new(&["TENANT", "PERIOD", "UNIT", "USED", "AMOUNT", "STATE", "RENEWS"]);
    for budget in budgets {
        table.push(vec![
            word(&budget["tenant"]),
            word(&budget["period"]),
            word(&budget["unit"]),
            format!("{:.2}", number(&budget["used"])),
            budget["amount"].to_string(),
            word(&budget["state"]),
            word(&budget["renews_at"]),
        ]);
    }
    out.line(&table.text())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_groups_of_the_rows_are_columns() {
        let saved = json!({"adaptive_steps": {"gpu_seconds": 60.0, "usd": 0.5}});
        let sums =
            json!({"videos": 2, "runs": 3, "repeated_runs": 1, "gpu_seconds": 120.0, "cost_usd": 1.0, "saved": saved});
        let mut row = sums.clone();
        row["tenant"] = json!("studio");
        let text = text(&json!({"rows": [row], "total": sums, "workers": []}));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("TENANT  VIDEOS  RUNS  REPEATED  GPU TIME  COST   SAVED"));
        assert_eq!(lines.next(), Some("studio  2       3     1         2 min     $1.00  1 min"));
        assert!(text.contains("adaptive steps   $0.50 (1 min)"), "{text}");
    }
}
