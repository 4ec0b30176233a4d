//! `fleet queue` and `fleet move`: the order of one's own jobs.

use reqwest::Method;
use serde_json::json;

use crate::api::Api;
use crate::args::{MoveArgs, QueueAction};
use crate::failure::Failure;
use crate::job::Job;
use crate::out::Out;
use crate::text::plain;

/// Shows, pauses or resumes the queue of the key's tenant.
pub(crate) async fn queue(api: &Api, out: Out, action: QueueAction) -> Result<(), Failure> {
    let state = match action {
        QueueAction::Show => api.get("/api/queue").await?,
        QueueAction::Pause => api.post("/api/queue/pause").await?,
        QueueAction::Resume => api.post("/api/queue/resume").await?,
    };
    out.result(&state, |state| match state["paused_at"].as_str() {
        Some(since) => format!("paused since {}; `fleet queue resume` starts waiting jobs again", plain(since)),
        None => "running".to_owned(),
    })
}

/// Moves a queued job.
pub(crate) async fn move_job(api: &Api, out: Out, args: &MoveArgs) -> Result<(), Failure> {
    let body = match (args.before, args.front) {
        (Some(other), _) => json!({ "before": other }),
        (None, true) => json!({ "to": "front" }),
        (None, false) => json!({ "to": "back" }),
    };
    let job = api.send_json(Method::POST, &format!("/api/jobs/{}/move", args.job), &body).await?;
    out.result(&job, |job| {
        let ahead = job["queue_position"].as_i64().map_or_else(String::new, |ahead| format!(", {ahead} ahead"));
        format!("{} moved{ahead}", Job(job).id())
    })
}
