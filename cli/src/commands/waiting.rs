//! Waiting for one job, as `generate` and `watch` do: with a display, a time limit and an answer to Ctrl-C.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::bar::Display;
use crate::download::{save, video_path};
use crate::failure::Failure;
use crate::follow::{Seen, follow};
use crate::job::Job;
use crate::out::Out;

/// How to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting<'a> {
    /// Give up after this time.
    pub(crate) timeout: Option<Duration>,
    /// Save the video here.
    pub(crate) save_to: Option<&'a Path>,
    /// Print events as they arrive (with `--json`), until the job has ended, and then the job.
    pub(crate) events: bool,
}

/// Waits until the job ends, saves its video, and prints the result.
///
/// # Errors
/// The job failed or was cancelled; the time limit has passed; Ctrl-C.
pub(crate) async fn wait(api: &Api, out: Out, id: &str, how: Waiting<'_>) -> Result<(), Failure> {
    let job = until_ended(api, out, id, how).await?;
    let document = Job(&job);
    if document.verdict().is_ok()
        && let Some(path) = how.save_to
    {
        save(api, &video_path(id), path).await?;
    }
    if how.events && out.json {
        out.line(&json!({ "event": "job", "data": &job }).to_string())?;
    } else if out.json || document.verdict().is_ok() {
        out.result(&job, |job| text(Job(job), how.save_to))?;
    }
    document.verdict()
}

/// Waits until the job ends, and prints nothing about the result.
///
/// # Errors
/// As [`wait`].
pub(crate) async fn ended(api: &Api, out: Out, id: &str, how: Waiting<'_>) -> Result<(), Failure> {
    let job = until_ended(api, out, id, how).await?;
    Job(&job).verdict()
}

fn text(job: Job<'_>, saved: Option<&Path>) -> String {
    let summary = job.summary();
    match saved {
        Some(path) => format!("{}\n{summary}", path.display()),
        None => format!("{summary}\nsave it with: fleet get {} -o video.mp4", job.id()),
    }
}

async fn until_ended(api: &Api, out: Out, id: &str, how: Waiting<'_>) -> Result<Value, Failure> {
    // Only for the estimated cost; a server that does not tell the price shows none.
    let price = api.get("/api/settings").await.ok().and_then(|settings| settings["gpu_hour_usd"].as_f64());
    let mut display = Display::new(out, price);
    let mut closed = None;
    let followed = follow(api, id, |seen| {
        if let (true, true, Seen::Event(name, data)) = (how.events, out.json, &seen) {
            closed = out.line(&json!({ "event": name, "data": data }).to_string()).err().or(closed.take());
        }
        display.show(&seen);
    });
    let timeout = async {
        match how.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        job = followed => job,
        () = timeout => Err(Failure::TimedOut(format!(
            "job {id} has not ended in time and continues; wait for it with: fleet watch {id}"
        ))),
        // If signals cannot be received, Ctrl-C ends the process in the usual way.
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Interrupted(format!(
            "job {id} continues; wait for it with `fleet watch {id}`, or stop it with `fleet cancel {id}`"
        ))),
    };
    display.end();
    match closed {
        Some(failure) => Err(failure),
        None => outcome,
    }
}

/// Checks before anything is submitted that the video can be saved here.
pub(crate) fn can_save(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() || path.file_name().is_none() {
        return Err(Failure::Usage(format!("--output {}: name a file, not a folder", path.display())));
    }
    if !folder.is_dir() {
        return Err(Failure::Usage(format!("--output {}: {} is not a folder", path.display(), folder.display())));
    }
    Ok(())
}
