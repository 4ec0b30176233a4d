//! Follows one job until it ends: by its event stream while that works, by reading its row while it does not.

use serde_json::Value;

use crate::api::Api;
use crate::events::{Events, Signal};
use crate::failure::Failure;
use crate::job::{Job, Progress};

/// What is seen on the way.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// The job, as the API shows it now.
    Job(&'a Value),
    /// Progress of its run.
    Progress(&'a Progress),
    /// An event, as the API sent it.
    Event(&'a str, &'a Value),
}

/// Follows the job, shows what happens, and returns it as it ended.
///
/// # Errors
/// The job does not exist, or the server was unreachable for longer than the patience.
pub(crate) async fn follow(api: &Api, id: &str, mut show: impl FnMut(Seen<'_>)) -> Result<Value, Failure> {
    let path = format!("/api/jobs/{id}");
    let mut events = Events::new(api, &format!("{path}/events"));
    loop {
        let job = api.get(&path).await?;
        show(Seen::Job(&job));
        if Job(&job).has_ended() {
            return Ok(job);
        }
        until_changed(&mut events, &mut show).await?;
    }
}

/// Shows events until the job's row is worth reading again.
async fn until_changed(events: &mut Events, show: &mut impl FnMut(Seen<'_>)) -> Result<(), Failure> {
    loop {
        let message = match events.next().await? {
            Signal::Message(message) => message,
            Signal::Look => return Ok(()),
            // The job has ended, and its last event was shown. The row says so, too, unless it was retried just now.
            Signal::Over => return Ok(()),
        };
        let Ok(data) = serde_json::from_str::<Value>(&message.data) else { continue };
        match message.event.as_str() {
            "progress" => {
                show(Seen::Event("progress", &data));
                if let Ok(progress) = serde_json::from_value::<Progress>(data) {
                    show(Seen::Progress(&progress));
                }
            }
            "state" => {
                show(Seen::Event("state", &data));
                return Ok(());
            }
            _ => {}
        }
    }
}
