//! The OS thread that owns the renderer, and the handle through which async code uses it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use anyhow::Context;
use cache::StoredEmbeddings;
use domain::{Failure, FailureAction};
use tokio::sync::{mpsc, oneshot};

use super::{Control, RenderError, RenderEvent, RenderOrder, RenderedFrames, Renderer, RendererInfo};

/// A command for the thread, with the channel for its result.
enum Command {
    Encode {
        text: String,
        control: Control,
        reply: oneshot::Sender<Result<StoredEmbeddings, RenderError>>,
    },
    Render {
        order: Box<RenderOrder>,
        control: Control,
        events: mpsc::UnboundedSender<RenderEvent>,
        reply: oneshot::Sender<Result<RenderedFrames, RenderError>>,
    },
}

/// Handle to the model's thread. Dropping it lets the thread finish its command and joins it, unless it was given up.
pub(crate) struct EngineThread {
    commands: Option<std_mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    given_up: AtomicBool,
    info: RendererInfo,
}

impl EngineThread {
    /// Starts the thread, builds the renderer on it and waits until it is ready.
    ///
    /// # Errors
    /// The error of `build`.
    pub(crate) async fn start<R, F>(build: F) -> anyhow::Result<Self>
    where
        R: Renderer,
        F: FnOnce() -> anyhow::Result<R> + Send + 'static,
    {
        let (commands, inbox) = std_mpsc::channel();
        let (ready, built) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || match build() {
                Ok(mut renderer) => {
                    if ready.send(Ok(renderer.info())).is_ok() {
                        serve(&mut renderer, &inbox);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            })
            .context("start the model's thread")?;
        let info = built.await.context("the model's thread ended while loading")??;
        Ok(Self { commands: Some(commands), thread: Some(thread), given_up: AtomicBool::new(false), info })
    }

    /// The renderer's description of itself.
    pub(crate) fn info(&self) -> &RendererInfo {
        &self.info
    }

    /// Encodes a prompt on the thread.
    ///
    /// # Errors
    /// As [`Renderer::encode`]; a thread that has ended is a failure to be retried on another worker.
    pub(crate) async fn encode(&self, text: String, control: &Control) -> Result<StoredEmbeddings, RenderError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Encode { text, control: control.clone(), reply })?;
        answer.await.unwrap_or_else(|_| Err(thread_gone()))
    }

    /// Renders a video on the thread; `events` reports its progress.
    ///
    /// # Errors
    /// As [`Renderer::render`]; a thread that has ended is a failure to be retried on another worker.
    pub(crate) async fn render(
        &self,
        order: RenderOrder,
        control: &Control,
        events: mpsc::UnboundedSender<RenderEvent>,
    ) -> Result<RenderedFrames, RenderError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Render { order: Box::new(order), control: control.clone(), events, reply })?;
        answer.await.unwrap_or_else(|_| Err(thread_gone()))
    }

    /// Gives up on the thread because it hangs: nothing waits for it any more, and it ends with the process.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether the thread still takes commands.
    pub(crate) fn is_alive(&self) -> bool {
        !self.given_up.load(Ordering::Relaxed) && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    fn send(&self, command: Command) -> Result<(), RenderError> {
        let sent = self.commands.as_ref().map(|commands| commands.send(command));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { Err(thread_gone()) }
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        self.commands.take();
        if let Some(thread) = self.thread.take()
            && !self.given_up.load(Ordering::Relaxed)
        {
            // A panic of the thread was already reported where it happened.
            drop(thread.join());
        }
    }
}

fn serve(renderer: &mut impl Renderer, inbox: &std_mpsc::Receiver<Command>) {
    while let Ok(command) = inbox.recv() {
        match command {
            Command::Encode { text, control, reply } => {
                // The caller no longer waits for the result.
                drop(reply.send(renderer.encode(&text, &control)));
            }
            Command::Render { order, control, events, reply } => {
                let mut tell = |event| drop(events.send(event));
                drop(reply.send(renderer.render(&order, &control, &mut tell)));
            }
        }
    }
}

fn thread_gone() -> RenderError {
    RenderError::Failed {
        failure: Failure {
            code: "worker_broken".to_owned(),
            reason: "the worker's model thread ended unexpectedly; another worker will take the job".to_owned(),
        },
        action: FailureAction::Retry,
    }
}
