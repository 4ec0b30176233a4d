//! `fleet replay`: renders a finished job again and compares the bytes.

use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::args::ReplayArgs;
use crate::commands::waiting::{Waiting, ended};
use crate::failure::Failure;
use crate::job::Job;
use crate::out::Out;
use crate::text::plain;

/// Submits the replay, waits for it unless told otherwise, and prints the comparison.
///
/// # Errors
/// [`Failure::Refused`] if the videos differ, besides those of submitting and waiting.
pub(crate) async fn replay(api: &Api, out: Out, args: &ReplayArgs) -> Result<(), Failure> {
    let path = format!("/api/jobs/{}/replay", args.job);
    let job = api.post_once(&path, &uuid::Uuid::new_v4().to_string()).await?;
    let id = Job(&job).id().to_owned();
    if args.no_wait {
        out.result(&job, |job| Job(job).id().to_owned())?;
        out.hint(&format!("submitted; follow it with: fleet watch {id}"));
        return Ok(());
    }
    let waiting = Waiting { timeout: args.timeout_s.map(Duration::from_secs), save_to: None, events: false };
    ended(api, out, &id, waiting).await?;
    let report = api.get(&format!("/api/jobs/{id}/replay")).await?;
    out.result(&report, text)?;
    match report["verdict"].as_str() {
        Some("identical") => Ok(()),
        other => Err(Failure::Refused(format!("the replay {id} is {}", plain(other.unwrap_or("unknown"))))),
    }
}

fn text(report: &Value) -> String {
    let mut lines = vec![plain(report["verdict"].as_str().unwrap_or_default())];
    lines.extend(report["reason"].as_str().map(plain));
    for difference in report["differences"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  {}: {} -> {}",
            plain(difference["field"].as_str().unwrap_or_default()),
            plain(&difference["original"].to_string()),
            plain(&difference["replay"].to_string())
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_shown_field_by_field() {
        let report = json!({"verdict": "different", "reason": null, "differences": [
            {"field": "reproduction.worker.build", "original": "1.0", "replay": "1.1"}]});
        assert_eq!(text(&report), "different\n  reproduction.worker.build: \"1.0\" -> \"1.1\"");
        assert_eq!(text(&json!({"verdict": "identical", "differences": []})), "identical");
    }
}
