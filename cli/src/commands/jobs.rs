//! `fleet jobs`, `fleet cancel` and `fleet get`.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{Api, with_query};
use crate::args::{GetArgs, JobsArgs};
use crate::commands::waiting::can_save;
use crate::download::{print, save, video_path};
use crate::failure::Failure;
use crate::job::Job;
use crate::out::Out;
use crate::table::Table;
use crate::text::{dollars, duration, plain};

/// Jobs per request, unless fewer are wanted.
const PAGE: u32 = 100;

/// Lists jobs.
pub(crate) async fn list(api: &Api, out: Out, args: &JobsArgs) -> Result<(), Failure> {
    let (mut jobs, mut cursor) = (Vec::new(), None::<String>);
    let most = usize::try_from(args.limit).unwrap_or(usize::MAX);
    loop {
        let rest = u32::try_from(most - jobs.len()).unwrap_or(PAGE).min(PAGE);
        if rest == 0 {
            break;
        }
        let filters = [
            ("status", args.status.clone()),
            ("q", args.search.clone()),
            ("tier", args.tier.clone()),
            ("model", args.model.clone()),
            ("deleted", args.deleted.then(|| "true".to_owned())),
            ("limit", Some(rest.to_string())),
            ("cursor", cursor),
        ];
        let given = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut page = api.get(&with_query("/api/jobs", given)).await?;
        if let Value::Array(found) = page["jobs"].take() {
            jobs.extend(found);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if out.json {
        return jobs.iter().try_for_each(|job| out.line(&job.to_string()));
    }
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    let mut table = Table::new(&["ID", "STATUS", "TIER", "AGE", "COST", "PROMPT"]);
    for job in jobs.iter().map(Job) {
        #[expect(clippy::cast_precision_loss, reason = "the age of a job in seconds")]
        let age = job.created_at().map_or_else(String::new, |at| duration((now - at).num_seconds().max(0) as f64));
        let cost = job.cost_usd(None).map_or_else(String::new, dollars);
        table.push(vec![job.id().into(), status(job), job.tier().into(), age, cost, job.prompt()]);
    }
    if jobs.is_empty() {
        out.hint("no jobs match");
        return Ok(());
    }
    out.line(&table.text())
}

/// The state, with the step of a running job.
fn status(job: Job<'_>) -> String {
    match job.progress() {
        Some(progress) if progress.steps > 0 => format!("running {}/{}", progress.step, progress.steps),
        _ => job.status().to_owned(),
    }
}

/// Cancels jobs; continues after one that cannot be cancelled.
pub(crate) async fn cancel(api: &Api, out: Out, ids: &[Uuid]) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for id in ids {
        match api.post(&format!("/api/jobs/{id}/cancel")).await {
            Ok(job) => out.result(&job, |job| {
                let job = Job(job);
                if job.has_ended() { format!("{id} cancelled") } else { format!("{id} stopping") }
            })?,
            Err(failure @ (Failure::Refused(_) | Failure::Busy(_))) => failures.push((id, failure)),
            Err(failure) => return Err(failure),
        }
    }
    let text = |(id, failure): &(&Uuid, Failure)| format!("{id}: {failure}");
    match failures.as_slice() {
        [] => Ok(()),
        [(_, failure)] if ids.len() == 1 => Err(failure.clone()),
        some => Err(Failure::Partly(some.iter().map(text).collect::<Vec<_>>().join("\n"))),
    }
}

/// Shows a job, or saves its video or its poster, the middle frame.
pub(crate) async fn get(api: &Api, out: Out, args: &GetArgs) -> Result<(), Failure> {
    let id = args.job.to_string();
    let Some(path) = &args.output else {
        let job = api.get(&format!("/api/jobs/{id}")).await?;
        return out.result(&job, |job| details(Job(job)));
    };
    let source = if args.poster { format!("{}/poster", video_path(&id)) } else { video_path(&id) };
    if path.as_os_str() == "-" {
        return print(api, &source).await.map(drop);
    }
    can_save(path)?;
    let bytes = save(api, &source, path).await?;
    let saved = json!({ "job_id": id, "file": path, "bytes": bytes });
    out.result(&saved, |_| path.display().to_string())
}

fn details(job: Job<'_>) -> String {
    let request = &job.0["request"];
    let mut lines = vec![
        format!("job      {}", job.id()),
        format!("status   {}", status(job)),
        format!("prompt   {}", job.prompt()),
        format!("tier     {}", job.tier()),
        // A string of digits if it is too large for JavaScript.
        format!("seed     {}", request["seed"].as_str().map_or_else(|| request["seed"].to_string(), plain)),
        format!("model    {}", plain(request["model"].as_str().unwrap_or_default())),
        format!("created  {}", plain(job.0["created_at"].as_str().unwrap_or_default())),
    ];
    if let Some(position) = job.0["queue_position"].as_i64() {
        lines.push(format!("queue    {position} ahead"));
    }
    if let Some(cost) = job.cost_usd(None) {
        lines.push(format!("cost     {}", dollars(cost)));
    }
    if let Some(reason) = job.0["failure"]["reason"].as_str() {
        lines.push(format!("failure  {}", plain(reason)));
    }
    if job.0["video"].is_object() {
        lines.push(format!("video    fleet get {} -o video.mp4", job.id()));
    }
    lines.join("\n")
}
