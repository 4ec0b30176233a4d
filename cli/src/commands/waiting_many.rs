//! Waiting for the jobs of a batch: one event stream for all of them, and a look at the rows whenever events may be missing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::iter;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::api::Api;
use crate::commands::batch_outcome::Submitted;
use crate::download::{save, video_path};
use crate::events::{Events, Signal};
use crate::failure::Failure;
use crate::job::Job;
use crate::out::Out;

/// Jobs looked at, and videos fetched, at the same time.
const PARALLEL: usize = 4;

/// Waits until every job has ended, and saves the videos as they arrive.
///
/// # Errors
/// Some lines were refused, or some jobs failed or were cancelled.
pub(crate) async fn wait_all(api: &Api, out: Out, submitted: Submitted, folder: Option<&Path>) -> Result<(), Failure> {
    let mut wait = Wait { api, out, folder, bar: bar(out, submitted.jobs.len()), failed: submitted.refused };
    let lines = submitted.jobs.len() + submitted.refused;
    let mut open = submitted.jobs;
    // 1. Connect first and look at all rows then, so that a job that ends in between is seen by one of the two.
    let mut events = Events::new(api, "/api/events");
    while !open.is_empty() {
        let ended = match events.next().await? {
            Signal::Message(message) if message.event == "ready" => open.keys().cloned().collect(),
            Signal::Message(message) if message.event == "state" => ended_job(&message.data).into_iter().collect(),
            Signal::Message(_) => continue,
            // 2. While there is no stream, this polls.
            Signal::Look | Signal::Over => open.keys().cloned().collect::<Vec<_>>(),
        };
        let mine = ended.into_iter().filter_map(|id| Some((open.get(&id).copied()?, id))).collect();
        for id in wait.look(mine).await? {
            open.remove(&id);
        }
    }
    wait.bar.finish_and_clear();
    match wait.failed {
        0 => Ok(()),
        failed => Err(Failure::Partly(format!("{failed} of {lines} lines have no video"))),
    }
}

/// The job of an event that ends one.
fn ended_job(data: &str) -> Option<String> {
    let event: Value = serde_json::from_str(data).ok()?;
    let ends = matches!(event["kind"].as_str()?, "completed" | "failed" | "cancelled");
    if ends { event["job_id"].as_str().map(str::to_owned) } else { None }
}

fn bar(out: Out, jobs: usize) -> ProgressBar {
    if !out.wants_bar() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} videos [{bar:24}] {elapsed}");
    let bar = ProgressBar::new(jobs as u64);
    bar.set_style(style.expect("a valid template; this is a bug").progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

struct Wait<'a> {
    api: &'a Api,
    out: Out,
    folder: Option<&'a Path>,
    bar: ProgressBar,
    failed: usize,
}

impl Wait<'_> {
    /// Reads these jobs, saves the videos of those that have completed, and returns the ids of those that have ended.
    async fn look(&mut self, jobs: Vec<(usize, String)>) -> Result<Vec<String>, Failure> {
        let (api, folder) = (self.api, self.folder);
        let mut looks = iter(jobs)
            .map(|(line, id)| async move {
                let job = api.get(&format!("/api/jobs/{id}")).await?;
                let file = match folder {
                    Some(folder) if Job(&job).status() == "completed" => Some(fetch(api, folder, line, &id).await?),
                    _ => None,
                };
                Ok::<_, Failure>((line, id, job, file))
            })
            .buffer_unordered(PARALLEL);
        let mut ended = Vec::new();
        while let Some(look) = looks.next().await {
            let (line, id, job, file) = look?;
            if !Job(&job).has_ended() {
                continue;
            }
            self.failed += usize::from(Job(&job).verdict().is_err());
            self.bar.suspend(|| report_end(self.out, line, &job, file.as_deref()))?;
            self.bar.inc(1);
            ended.push(id);
        }
        Ok(ended)
    }
}

/// Saves a video, unless an earlier run did.
async fn fetch(api: &Api, folder: &Path, line: usize, id: &str) -> Result<PathBuf, Failure> {
    let file = folder.join(format!("{line:04}-{id}.mp4"));
    if !file.exists() {
        save(api, &video_path(id), &file).await?;
    }
    Ok(file)
}

/// Prints how a job of the batch ended.
fn report_end(out: Out, line: usize, job: &Value, file: Option<&Path>) -> Result<(), Failure> {
    let view = Job(job);
    let document = json!({ "line": line, "job_id": view.id(), "status": view.status(), "file": file, "job": job });
    out.result(&document, |_| match (view.verdict(), file) {
        (Err(failure), _) => format!("line {line}: {failure}"),
        (Ok(()), Some(file)) => format!("line {line}: {}", file.display()),
        (Ok(()), None) => format!("line {line}: {}", view.summary()),
    })
}
