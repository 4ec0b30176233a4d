//! How orders reach a renderer that works on several at a time.
//!
//! The rule: an order is a ticket with everything of its job: what stops it, where its events go, and where its result goes. A
//! renderer that renders several asks a [`Desk`] between two steps what has arrived; it never waits for more.

use cache::StoredEmbeddings;
use tokio::sync::{mpsc, oneshot};

use super::{Control, RenderError, RenderEvent, RenderOrder, RenderedFrames};

/// An order and the channels of its job.
pub struct Ticket {
    /// What to render.
    pub order: Box<RenderOrder>,
    /// What stops it.
    pub control: Control,
    tell: Box<dyn FnMut(RenderEvent) + Send>,
    reply: oneshot::Sender<Result<RenderedFrames, RenderError>>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("seed", &self.order.seed).finish_non_exhaustive()
    }
}

impl Ticket {
    /// The order of a job that hears through `events` and waits at `reply`.
    #[must_use]
    pub fn new(
        order: Box<RenderOrder>,
        control: Control,
        events: mpsc::UnboundedSender<RenderEvent>,
        reply: oneshot::Sender<Result<RenderedFrames, RenderError>>,
    ) -> Self {
        let tell = Box::new(move |event| drop(events.send(event)));
        Self { order, control, tell, reply }
    }

    /// Reports progress to the job.
    pub fn tell(&mut self, event: RenderEvent) {
        (self.tell)(event);
    }

    /// Calls `also` after each event that is reported from now on.
    #[must_use]
    pub fn followed(self, mut also: impl FnMut(&RenderOrder, &Control, &Reported) + Send + 'static) -> Self {
        let Self { order, control, mut tell, reply } = self;
        let (its_order, its_control) = (order.clone(), control.clone());
        let tell = Box::new(move |event: RenderEvent| {
            let reported = Reported::of(&event);
            tell(event);
            also(&its_order, &its_control, &reported);
        });
        Self { order, control, tell, reply }
    }

    /// Gives the job its result. Its caller may no longer wait for it.
    pub fn answer(self, result: Result<RenderedFrames, RenderError>) {
        drop(self.reply.send(result));
    }

    /// Renders the order alone and gives the job its result; `control` is the ticket's own or one over it.
    pub fn serve(
        mut self,
        control: &Control,
        render: impl FnOnce(&RenderOrder, &Control, &mut dyn FnMut(RenderEvent)) -> Result<RenderedFrames, RenderError>,
    ) {
        let result = render(&self.order, control, &mut *self.tell);
        self.answer(result);
    }
}

/// What an event said about a run's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It begins after this many steps.
    Started(u32),
    /// This many steps are done.
    Step(u32),
    /// Decoding begins.
    Decoding,
    /// Interpolation begins.
    Interpolating,
    /// Something that moves nothing.
    Other,
}

impl Reported {
    /// See the type.
    #[must_use]
    pub fn of(event: &RenderEvent) -> Self {
        match event {
            RenderEvent::Started { resumed_from, .. } => Self::Started(*resumed_from),
            RenderEvent::Step { step, .. } => Self::Step(*step),
            RenderEvent::Decoding => Self::Decoding,
            RenderEvent::Interpolating => Self::Interpolating,
            RenderEvent::Checkpoint { .. } | RenderEvent::Preview { .. } => Self::Other,
        }
    }
}

/// Encodes a prompt for a job.
pub type Encode<'a> = &'a mut dyn FnMut(&str, &Control) -> Result<StoredEmbeddings, RenderError>;

/// Where a renderer of several orders finds what has arrived.
pub trait Desk {
    /// The next order that may share the forward passes of the present ones; `None` while none waits.
    fn next(&mut self) -> Option<Ticket>;

    /// Serves the prompts that have arrived, and answers those who were stopped before their turn.
    fn encode(&mut self, encode: Encode);

    /// What stops those who wait. The renderer's progress is progress for them too.
    fn waiting(&mut self) -> Vec<Control>;
}
