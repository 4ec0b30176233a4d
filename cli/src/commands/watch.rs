//! `fleet watch`: one job until it ends, or the events of all jobs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::args::WatchArgs;
use crate::commands::waiting::{Waiting, can_save, wait};
use crate::events::{Events, Signal};
use crate::failure::Failure;
use crate::out::Out;
use crate::text::plain;

/// Follows what the arguments name.
pub(crate) async fn watch(api: &Api, out: Out, args: &WatchArgs) -> Result<(), Failure> {
    if let Some(path) = &args.output {
        can_save(path)?;
    }
    let timeout = args.timeout_s.map(Duration::from_secs);
    if let Some(id) = args.job {
        let how = Waiting { timeout, save_to: args.output.as_deref(), events: true };
        return wait(api, out, &id.to_string(), how).await;
    }
    let limit = async {
        match timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = all(api, out) => outcome,
        () = limit => Err(Failure::TimedOut("stopped watching".to_owned())),
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Interrupted("stopped watching".to_owned())),
    }
}

/// Prints the changes of all jobs, without their progress.
async fn all(api: &Api, out: Out) -> Result<(), Failure> {
    // Fails early if the server is not there at all; afterwards the stream reconnects as long as it takes.
    api.get("/api/session").await?;
    let mut events = Events::new(api, "/api/events");
    let mut connected = true;
    loop {
        match events.next().await? {
            Signal::Message(message) => {
                if !connected {
                    out.hint("connected again; nothing was missed");
                    connected = true;
                }
                let Ok(data) = serde_json::from_str::<Value>(&message.data) else { continue };
                if message.event == "state" {
                    let document = json!({ "event": "state", "id": message.id, "data": data });
                    out.result(&document, |document| line(&document["data"]))?;
                }
            }
            Signal::Look if connected => {
                out.hint("the connection ended; reconnecting");
                connected = false;
            }
            Signal::Look | Signal::Over => {}
        }
    }
}

fn line(event: &Value) -> String {
    let word = |name: &str| plain(event[name].as_str().unwrap_or_default());
    let detail: Vec<String> = event["detail"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{}={}", plain(name), plain(value.as_str().unwrap_or(&value.to_string()))))
        .collect();
    let at = word("at");
    let at = at.get(..19).unwrap_or(&at).replace('T', " ");
    format!("{at}  {}  {:<16}  {}", word("job_id"), word("kind"), detail.join(" ")).trim_end().to_owned()
}
