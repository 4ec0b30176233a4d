//! `fleet batch`: one job per line. Interrupt it at any moment and run it again: each line becomes exactly one job.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use futures::stream::iter;
use serde_json::json;

use crate::api::{Api, Tries};
use crate::args::BatchArgs;
use crate::commands::batch_lines::{Line, Run, read};
use crate::commands::batch_outcome::Submitted;
use crate::commands::batch_state::{Entry, State};
use crate::commands::waiting_many::wait_all;
use crate::failure::Failure;
use crate::job::Job;
use crate::out::Out;
use crate::prompt_tokens;

/// Submits all lines, and waits for the jobs if asked to.
pub(crate) async fn batch(api: &Api, out: Out, args: &BatchArgs) -> Result<(), Failure> {
    if let Some(folder) = &args.output_folder {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    }
    let from_stdin = args.file.as_os_str() == "-";
    let source = if from_stdin { String::new() } else { absolute(&args.file)?.display().to_string() };
    let text = text_of(&args.file, from_stdin).await?;
    let run = Run { source: &source, name: &args.name };
    // Nothing is submitted if any line is wrong.
    let lines = read(&text, &args.request.fields()?, run).map_err(|wrong| Failure::Usage(wrong.join("\n")))?;
    if lines.is_empty() {
        return Err(Failure::Usage(format!("{} contains no prompts", args.file.display())));
    }
    let state_path = args.state.clone().or_else(|| (!from_stdin).then(|| state_of(&args.file)));
    let mut state = State::open(state_path.as_deref())?;
    let submission = async {
        let submitted = submit_all(api, out, lines, &mut state, usize::from(args.parallel)).await?;
        if args.wait || args.output_folder.is_some() {
            return wait_all(api, out, submitted, args.output_folder.as_deref()).await;
        }
        submitted.verdict()
    };
    tokio::select! {
        outcome = submission => outcome,
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Interrupted(
            "submitted jobs continue; run the same command again to continue the batch".to_owned(),
        )),
    }
}

async fn submit_all(
    api: &Api,
    out: Out,
    lines: Vec<Line>,
    state: &mut State,
    parallel: usize,
) -> Result<Submitted, Failure> {
    let mut submitted = Submitted::default();
    let mut fresh = Vec::new();
    for line in lines {
        match state.job_of(&line.key) {
            Some(job_id) => {
                report(out, line.number, job_id, "submitted before")?;
                submitted.jobs.insert(job_id.to_owned(), line.number);
            }
            None => fresh.push(line),
        }
    }
    let mut answers = iter(fresh)
        .map(|line| async move {
            let answer = api.submit(&line.request, &line.key, Tries::UntilRoom).await;
            (line, answer)
        })
        .buffer_unordered(parallel);
    while let Some((line, answer)) = answers.next().await {
        match answer {
            Ok(job) => {
                let job_id = Job(&job).id().to_owned();
                state.add(Entry { line: line.number, key: line.key, job_id: job_id.clone() })?;
                report(out, line.number, &job_id, "submitted")?;
                for warning in prompt_tokens::warnings(&job) {
                    out.hint(&format!("line {}: {warning}", line.number));
                }
                submitted.jobs.insert(job_id, line.number);
            }
            // The server will not take this line, but perhaps the others.
            Err(Failure::Refused(reason)) => {
                submitted.refused += 1;
                let document = json!({ "line": line.number, "error": reason });
                out.result(&document, |_| format!("line {}: {reason}", line.number))?;
            }
            Err(other) => return Err(other),
        }
    }
    Ok(submitted)
}

fn report(out: Out, line: usize, job_id: &str, what: &str) -> Result<(), Failure> {
    let document = json!({ "line": line, "job_id": job_id, "status": what });
    out.result(&document, |_| format!("line {line}: {job_id} {what}"))
}

async fn text_of(file: &Path, from_stdin: bool) -> Result<String, Failure> {
    let name = file.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        if from_stdin { std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes) } else { std::fs::read(name) }
    });
    let outcome = read.await.map_err(|error| Failure::Local(format!("cannot read {}: {error}", file.display())))?;
    let bytes = outcome.map_err(|error| Failure::file("read", file, &error))?;
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{} is not UTF-8 text", file.display())))
}

fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(file).map_err(|error| Failure::file("read", file, &error))
}

/// The default state file, beside the batch.
fn state_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".fleet-state");
    file.with_file_name(name)
}
