//! `fleet analyze`: what would be done with a request.

use serde_json::Value;

use crate::api::{Api, with_query};
use crate::args::AnalyzeArgs;
use crate::failure::Failure;
use crate::out::Out;
use crate::prompt_tokens;
use crate::text::{dollars, duration, plain};

/// Prints the analysis.
pub(crate) async fn analyze(api: &Api, out: Out, args: &AnalyzeArgs) -> Result<(), Failure> {
    let fields = args.request.fields()?;
    let query = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    let query = query.chain([("prompt", args.prompt.clone())]);
    let found = api.get(&with_query("/api/optimization/analyze", query)).await?;
    out.result(&found, text)
}

fn text(found: &Value) -> String {
    let analysis = &found["analysis"];
    let word = |name: &str| plain(analysis[name].as_str().unwrap_or("unknown")).replace('_', " ");
    let number = |name: &str| analysis[name].as_f64().unwrap_or_default();
    let mut lines = vec![
        format!("tier        {}", word("quality_tier")),
        format!("complexity  {} (score {:.1})", word("complexity"), number("score")),
        format!("steps       {} ({})", analysis["infer_steps"], word("steps_reason")),
        format!("time        {}", duration(number("estimated_time_min") * 60.0)),
        format!("cost        {}", dollars(number("estimated_cost_usd"))),
        format!("embeddings  {}", if found["cache_available"] == true { "cached" } else { "not cached" }),
    ];
    lines.extend(prompt_tokens::lines(found).into_iter().map(|line| format!("tokens      {line}")));
    if let Some(finish_s) = found["forecast"]["finish_s"].as_f64() {
        let late = if found["forecast"]["deadline_met"] == false { ", after the deadline" } else { "" };
        lines.push(format!("finished    in about {}, if submitted now{late}", duration(finish_s)));
    }
    for factor in analysis["factors"].as_array().into_iter().flatten() {
        let words: Vec<&str> = factor["words"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !words.is_empty() {
            lines.push(format!(
                "{:<11} {}",
                plain(factor["factor"].as_str().unwrap_or_default()),
                plain(&words.join(", "))
            ));
        }
    }
    lines.join("\n")
}
