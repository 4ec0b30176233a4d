//! The real model behind the gates.

use cache::StoredEmbeddings;
use worker::engine::{
    Control, HunyuanRenderer, RenderError, RenderEvent, RenderOrder, RenderedFrames, Renderer, RendererInfo,
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
            // After a stop at a gate, the model itself stops at its next check.
            let point = match &event {
                RenderEvent::Started { resumed_from, .. } => Some(format!("step-{}", resumed_from + 1)),
                RenderEvent::Step { step, .. } if *step < order.steps => Some(format!("step-{}", step + 1)),
                RenderEvent::Decoding => Some("decode".to_owned()),
                RenderEvent::Interpolating => Some("interpolate".to_owned()),
                RenderEvent::Step { .. } | RenderEvent::Checkpoint { .. } | RenderEvent::Preview { .. } => None,
            };
            let raises = match (&event, order.progressive) {
                (RenderEvent::Step { step, .. }, Some(early)) => *step == early.steps,
                _ => false,
            };
            tell(event);
            if raises {
                gates.pass(&format!("raise-{}", order.seed), control);
            }
            if let Some(point) = point {
                gates.pass(&point, control);
            }
        })
    }
}
