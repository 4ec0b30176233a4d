//! Renders several orders of one key with the real model.
//!
//! The rule: nobody waits for others to join, and nobody's end touches the others. Between two steps the renderer takes in what has
//! arrived: prompts to encode, and orders of the same key while there is room. One finished video is decoded between two steps
//! of the others, so that a stop takes effect within a step and a decode. An order that cannot go on with the others is rendered alone
//! after them: for want of memory, or in fp32 where its values left the range of 16 bits.

use std::collections::VecDeque;
use std::rc::Rc;

use hunyuan::{Control, Denoised, Error};

use super::desk::{Desk, Ticket};
use super::hunyuan::{HunyuanRenderer, encode};
use super::pictures::Pictures;
use super::steps::Steps;
use super::{NOT_FINITE, RenderError, RenderEvent};

/// Renders an order and those that join it.
pub(super) fn render(renderer: &mut HunyuanRenderer, first: Ticket, desk: &mut dyn Desk) {
    let limit = first.order.batch.as_ref().map_or(1, |batch| batch.limit as usize);
    if limit < 2 || !renderer.is_alone() {
        let control = first.control.clone();
        return first.serve(&control, |order, control, tell| super::Renderer::render(renderer, order, control, tell));
    }
    let adapters_s = match renderer.without_adapters(&first.control) {
        Ok(seconds) => seconds,
        Err(error) => return first.answer(Err(error)),
    };
    let later = Table::new(renderer, adapters_s, limit).serve(first, desk);
    finish_alone(renderer, later, desk);
}

/// Renders those who could not go on with the others, one after the other.
fn finish_alone(renderer: &mut HunyuanRenderer, mut later: VecDeque<Later>, desk: &mut dyn Desk) {
    while let Some(Later { ticket, because }) = later.pop_front() {
        let others = later.iter().map(|one| one.ticket.control.clone()).chain(desk.waiting());
        let control = Control::over(std::slice::from_ref(&ticket.control), &others.collect::<Vec<_>>());
        match because {
            Because::NoRoom => {
                ticket.serve(&control, |order, control, tell| super::Renderer::render(renderer, order, control, tell));
            }
            Because::NotFinite(error) => ticket.serve(&control, |order, control, tell| {
                renderer.or_in_full_precision(Err(error), order, control, tell)
            }),
        }
        desk.encode(&mut |text, control| encode(renderer.engine(), text, control));
    }
}

/// An order that is rendered alone after the others.
struct Later {
    ticket: Ticket,
    because: Because,
}

enum Because {
    /// Memory does not suffice for it beside the others.
    NoRoom,
    /// Its values left the range of 16 bits: this failure.
    NotFinite(RenderError),
}

/// An order that is being rendered.
struct Member<'a> {
    item: usize,
    ticket: Ticket,
    steps: Steps<'a>,
    /// Set once it waits to be decoded.
    denoised: Option<Denoised>,
    /// Seconds that changing the weights took for it.
    adapters_s: f64,
}

/// The orders that are rendered at present.
struct Table<'a> {
    renderer: &'a HunyuanRenderer,
    together: hunyuan::Together<'a>,
    members: Vec<Member<'a>>,
    later: VecDeque<Later>,
    limit: usize,
    /// For the first order.
    adapters_s: f64,
}

impl<'a> Table<'a> {
    fn new(renderer: &'a HunyuanRenderer, adapters_s: f64, limit: usize) -> Self {
        let together = renderer.engine().together();
        Self { renderer, together, members: Vec::new(), later: VecDeque::new(), limit, adapters_s }
    }

    /// Renders until nobody is left but those who go on alone.
    fn serve(mut self, first: Ticket, desk: &mut dyn Desk) -> VecDeque<Later> {
        self.admit(first);
        loop {
            // Once all have left, the next order begins a new batch, behind those that go on alone.
            while !self.members.is_empty() && self.members.len() < self.limit && self.together.takes_more() {
                let Some(ticket) = desk.next() else { break };
                self.admit(ticket);
            }
            if self.members.is_empty() {
                return self.later;
            }
            self.encode(desk);
            self.round(desk);
            self.decode_one(desk);
        }
    }

    /// Takes an order in, unless it cannot be rendered.
    fn admit(&mut self, mut ticket: Ticket) {
        let adapters_s = std::mem::take(&mut self.adapters_s);
        let work = self.renderer.at(&ticket.order, adapters_s);
        let request = self.renderer.check_interpolator(&ticket.order).and_then(|()| work.request(&ticket.control));
        let joined = request.map(|request| self.together.add(Rc::new(request), &ticket.control));
        match joined {
            Ok(Ok(item)) => {
                ticket.tell(RenderEvent::Started { resumed_from: 0, restarted_because: None });
                let pictures = Pictures::new(self.renderer.preview_factors(), ticket.order.preview_every_s);
                let steps = Steps::new(None, &ticket.order, pictures);
                self.members.push(Member { item, ticket, steps, denoised: None, adapters_s });
            }
            Ok(Err(Error::OutOfMemory { .. })) if !self.members.is_empty() => {
                self.later.push_back(Later { ticket, because: Because::NoRoom });
            }
            Ok(Err(error)) => ticket.answer(Err(error.into())),
            Err(error) => ticket.answer(Err(error)),
        }
    }

    /// What stops those who wait while the denoiser works: at the desk, to be decoded, and to go on alone.
    fn waiting(&self, desk: &mut dyn Desk) -> Vec<Control> {
        let here = self.members.iter().filter(|member| member.denoised.is_some()).map(|member| &member.ticket);
        let all = here.chain(self.later.iter().map(|one| &one.ticket)).map(|ticket| ticket.control.clone());
        all.chain(desk.waiting()).collect()
    }

    fn encode(&self, desk: &mut dyn Desk) {
        let waiting = self.waiting(desk);
        desk.encode(&mut |text, control| {
            encode(self.renderer.engine(), text, &self.together.beside(control, &waiting))
        });
    }

    /// Takes a step of each order, and lets those go that have come to their end.
    fn round(&mut self, desk: &mut dyn Desk) {
        let waiting = self.waiting(desk);
        let members = &mut self.members;
        let left = self.together.round(&waiting, &mut |end| {
            let Some(member) = members.iter_mut().find(|member| member.item == end.item) else {
                return std::ops::ControlFlow::Break(());
            };
            let Member { ticket, steps, .. } = member;
            steps.after(end, &mut |event| ticket.tell(event))
        });
        for ended in left {
            let Some(at) = self.members.iter().position(|member| member.item == ended.item) else { continue };
            match self.members[at].steps.outcome(ended.outcome) {
                Ok(denoised) => self.members[at].denoised = Some(denoised),
                Err(error) => self.fail(at, error),
            }
        }
    }

    /// Decodes a finished video, if there is one.
    fn decode_one(&mut self, desk: &mut dyn Desk) {
        while let Some(at) =
            self.members.iter().position(|member| member.denoised.is_some() && member.ticket.control.is_cancelled())
        {
            self.fail(at, RenderError::Stopped { checkpoint: None });
        }
        let Some(at) = self.members.iter().position(|member| member.denoised.is_some()) else { return };
        let mut member = self.members.remove(at);
        let Some(denoised) = member.denoised.take() else { return };
        let waiting = self.waiting(desk);
        let control = self.together.beside(&member.ticket.control, &waiting);
        let (share_s, adapters_s) = (member.steps.share_s(), member.adapters_s);
        let order = member.ticket.order.clone();
        let rendered = self.renderer.at(&order, adapters_s).frames(&denoised, share_s, &control, &mut |event| {
            member.ticket.tell(event);
        });
        match rendered {
            Ok(frames) => member.ticket.answer(Ok(frames)),
            Err(error) => self.leave(member.ticket, error),
        }
    }

    fn fail(&mut self, at: usize, error: RenderError) {
        let member = self.members.remove(at);
        self.leave(member.ticket, error);
    }

    /// Gives a job its failure, or another chance after the others.
    fn leave(&mut self, ticket: Ticket, error: RenderError) {
        match &error {
            RenderError::Failed { failure, .. } if failure.code == NOT_FINITE => {
                self.later.push_back(Later { ticket, because: Because::NotFinite(error) });
            }
            _ => ticket.answer(Err(error)),
        }
    }
}
