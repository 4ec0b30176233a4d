//! Where the view's content comes from: a full read every few seconds and after each change, and progress from the stream.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use crate::api::{Api, with_query};
use crate::events::{Events, Signal};
use crate::failure::Failure;
use crate::job::Progress;
use crate::top::news::{News, Snapshot};

/// Interval of full reads.
const REFRESH: Duration = Duration::from_secs(3);
/// Shortest interval of full reads, however much happens.
const REFRESH_MIN: Duration = Duration::from_millis(300);
/// Most jobs of each kind.
const JOBS: u32 = 50;

/// Reads everything once.
pub(crate) async fn snapshot(api: &Api) -> Result<Snapshot, Failure> {
    let jobs =
        |states: &'static str| with_query("/api/jobs", [("status", states.to_owned()), ("limit", JOBS.to_string())]);
    let (running, waiting, ended) =
        (jobs("running"), jobs("queued,scheduled,drafted"), jobs("completed,failed,cancelled"));
    let (stats, settings, workers, running, waiting, ended) = tokio::try_join!(
        api.get("/api/stats"),
        api.get("/api/settings"),
        api.get("/api/workers"),
        api.get(&running),
        api.get(&waiting),
        api.get(&ended),
    )?;
    let list = |mut document: Value, field: &str| match document[field].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    // The next to start comes first, so the newest of the waiting is last.
    let waiting: Vec<Value> = list(waiting, "jobs").into_iter().rev().collect();
    let jobs = [list(running, "jobs"), waiting, list(ended, "jobs")].concat();
    Ok(Snapshot { stats, settings, workers: list(workers, "workers"), jobs })
}

/// The running tasks.
pub(crate) struct Feed {
    /// What they report.
    pub(crate) news: mpsc::Receiver<News>,
    /// For others who have something to report.
    pub(crate) sender: mpsc::Sender<News>,
}

impl Feed {
    /// Starts both tasks. They end when the receiver is dropped.
    pub(crate) fn start(api: &Api) -> Self {
        let (sender, news) = mpsc::channel(256);
        let wake = Arc::new(Notify::new());
        // A read that fails is shown and tried again; only for the title line it matters that it fails soon.
        let impatient = api.with_patience(Duration::ZERO);
        tokio::spawn(refresh(impatient, sender.clone(), Arc::clone(&wake)));
        tokio::spawn(listen(api.clone(), sender.clone(), wake));
        Self { news, sender }
    }
}

async fn refresh(api: Api, sender: mpsc::Sender<News>, wake: Arc<Notify>) {
    loop {
        let news = match snapshot(&api).await {
            Ok(snapshot) => News::Snapshot(Box::new(snapshot)),
            Err(failure) => News::Failed(failure.to_string()),
        };
        if sender.send(news).await.is_err() {
            return;
        }
        tokio::time::sleep(REFRESH_MIN).await;
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

async fn listen(api: Api, sender: mpsc::Sender<News>, wake: Arc<Notify>) {
    let mut events = Events::new(&api, "/api/events");
    loop {
        match events.next().await {
            Ok(Signal::Message(message)) if message.event == "progress" => {
                if let Ok(progress) = serde_json::from_str::<Progress>(&message.data)
                    && sender.send(News::Progress(progress)).await.is_err()
                {
                    return;
                }
            }
            Ok(_) => wake.notify_one(),
            // The key was revoked, for example; the full reads fail, too, and say so.
            Err(_) => tokio::time::sleep(REFRESH).await,
        }
    }
}

/// Cancels a job in the background.
pub(crate) fn cancel(api: &Api, id: String, sender: &mpsc::Sender<News>) {
    let (api, sender) = (api.clone(), sender.clone());
    tokio::spawn(async move {
        let text = match api.post(&format!("/api/jobs/{id}/cancel")).await {
            Ok(_) => format!("cancelled {id}"),
            Err(failure) => failure.to_string(),
        };
        // If the view is closed, nobody reads it.
        drop(sender.send(News::Note(text)).await);
    });
}
