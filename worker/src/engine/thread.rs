//! The OS thread that owns the renderer, and the handle through which async code uses it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use anyhow::Context;
use cache::StoredEmbeddings;
use domain::{BatchKey, Failure, FailureAction};
use tokio::sync::{mpsc, oneshot};

use super::desk::{Desk, Encode, Ticket};
use super::{Control, RenderError, RenderEvent, RenderOrder, RenderedFrames, Renderer, RendererInfo};

/// A command for the thread, with the channel for its result.
enum Command {
    Encode { text: String, control: Control, reply: oneshot::Sender<Result<StoredEmbeddings, RenderError>> },
    Render(Ticket),
}

impl Command {
    fn control(&self) -> &Control {
        match self {
            Self::Encode { control, .. } | Self::Render(Ticket { control, .. }) => control,
        }
    }

    /// Answers a job that was stopped before its turn; keeps the others.
    fn unless_stopped(self) -> Option<Self> {
        if !self.control().is_cancelled() {
            return Some(self);
        }
        let stopped = RenderError::Stopped { checkpoint: None };
        match self {
            // The caller no longer waits for the result.
            Self::Encode { reply, .. } => drop(reply.send(Err(stopped))),
            Self::Render(ticket) => ticket.answer(Err(stopped)),
        }
        None
    }
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
        self.send(Command::Render(Ticket::new(Box::new(order), control.clone(), events, reply)))?;
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

fn serve(renderer: &mut impl Renderer, commands: &std_mpsc::Receiver<Command>) {
    let mut inbox = Inbox { commands, waiting: VecDeque::new() };
    while let Some(command) = inbox.take() {
        match command {
            Command::Encode { text, control, reply } => {
                // The caller no longer waits for the result.
                drop(reply.send(renderer.encode(&text, &control)));
            }
            Command::Render(ticket) => match ticket.order.batch.clone() {
                None => {
                    let control = ticket.control.clone();
                    ticket.serve(&control, |order, control, tell| renderer.render(order, control, tell));
                }
                Some(batch) => renderer.render_together(ticket, &mut Together { inbox: &mut inbox, key: &batch.key }),
            },
        }
    }
}

/// Commands that have arrived, oldest first.
struct Inbox<'a> {
    commands: &'a std_mpsc::Receiver<Command>,
    waiting: VecDeque<Command>,
}

impl Inbox<'_> {
    /// The oldest command; waits for one. `None` once there will be none.
    fn take(&mut self) -> Option<Command> {
        self.waiting.pop_front().or_else(|| self.commands.recv().ok())
    }

    /// Takes in what has arrived.
    fn look(&mut self) {
        self.waiting.extend(self.commands.try_iter());
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting = waiting.into_iter().filter_map(Command::unless_stopped).collect();
    }
}

/// The inbox as those who render orders with one key see it.
struct Together<'a, 'i> {
    inbox: &'a mut Inbox<'i>,
    key: &'a BatchKey,
}

impl Desk for Together<'_, '_> {
    fn next(&mut self) -> Option<Ticket> {
        self.inbox.look();
        let joins = |command: &Command| match command {
            Command::Render(ticket) => ticket.order.batch.as_ref().is_some_and(|batch| batch.key == *self.key),
            Command::Encode { .. } => false,
        };
        let at = self.inbox.waiting.iter().position(joins)?;
        match self.inbox.waiting.remove(at)? {
            Command::Render(ticket) => Some(ticket),
            Command::Encode { .. } => None,
        }
    }

    fn encode(&mut self, encode: Encode) {
        self.inbox.look();
        let (prompts, orders) = std::mem::take(&mut self.inbox.waiting)
            .into_iter()
            .partition(|command| matches!(command, Command::Encode { .. }));
        self.inbox.waiting = orders;
        let prompts: VecDeque<Command> = prompts;
        for command in prompts {
            if let Command::Encode { text, control, reply } = command {
                drop(reply.send(encode(&text, &control)));
            }
        }
    }

    fn waiting(&mut self) -> Vec<Control> {
        self.inbox.look();
        self.inbox.waiting.iter().map(|command| command.control().clone()).collect()
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
