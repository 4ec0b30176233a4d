//! The real model behind the gates.

use cache::StoredEmbeddings;
use worker::engine::{
    Control, Desk, Encode, HunyuanRenderer, RenderError, RenderEvent, RenderOrder, RenderedFrames, Renderer,
    RendererInfo, Reported, Ticket,
};

use crate::gates::Gates;

/// Forwards every command and passes every gate.
pub(crate) struct GatedModel {
    inner: HunyuanRenderer,
    gates: Gates,
}

impl GatedModel {
    pub(crate) fn new(inner: HunyuanRenderer, gates: Gates) -> Self {
        Self { inner, gates }
    }
}

impl Renderer for GatedModel {
    fn info(&self) -> RendererInfo {
        self.inner.info()
    }

    fn encode(&mut self, text: &str, control: &Control) -> Result<StoredEmbeddings, RenderError> {
        self.gates.pass("encode", control);
        self.inner.encode(text, control)
    }

    fn render(
        &mut self,
        order: &RenderOrder,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<RenderedFrames, RenderError> {
        let gates = self.gates.clone();
        self.inner.render(order, control, &mut |event| {
            let reported = Reported::of(&event);
            tell(event);
            pass(&gates, order, control, reported);
        })
    }

    fn render_together(&mut self, first: Ticket, desk: &mut dyn Desk) {
        let first = gated(&self.gates, first);
        self.inner.render_together(first, &mut GatedDesk { inner: desk, gates: self.gates.clone() });
    }
}

/// Passes the gate before what comes next. After a stop at a gate, the model itself stops at its next check.
fn pass(gates: &Gates, order: &RenderOrder, control: &Control, reported: Reported) {
    if let (Reported::Step(step), Some(early)) = (reported, order.progressive)
        && step == early.steps
    {
        gates.pass(&format!("raise-{}", order.seed), control);
    }
    let point = match reported {
        Reported::Started(steps) => format!("step-{}", steps + 1),
        Reported::Step(step) if step < order.steps => format!("step-{}", step + 1),
        Reported::Decoding => "decode".to_owned(),
        Reported::Interpolating => "interpolate".to_owned(),
        Reported::Step(_) | Reported::Other => return,
    };
    gates.pass(&point, control);
}

/// An order whose run passes the gates; those of a batch stop at them one after the other.
fn gated(gates: &Gates, ticket: Ticket) -> Ticket {
    let gates = gates.clone();
    ticket.followed(move |order, control, reported| pass(&gates, order, control, *reported))
}

/// A desk whose orders pass the gates.
struct GatedDesk<'a> {
    inner: &'a mut dyn Desk,
    gates: Gates,
}

impl Desk for GatedDesk<'_> {
    fn next(&mut self) -> Option<Ticket> {
        self.inner.next().map(|ticket| gated(&self.gates, ticket))
    }

    fn encode(&mut self, encode: Encode) {
        self.inner.encode(&mut |text, control| {
            self.gates.pass("encode", control);
            encode(text, control)
        });
    }

    fn waiting(&mut self) -> Vec<Control> {
        self.inner.waiting()
    }
}
