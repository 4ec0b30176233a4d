//! Goal: orders that are rendered together each get the frames of a run alone, whatever happens to the others.
//! Method: the default model, a few steps, one thread; a desk that hands out orders and prompts when the test says.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::VecDeque;

use domain::BatchKey;
use testkit::repository;
use tokio::sync::{mpsc, oneshot};
use worker::engine::{
    BatchPlace, Control, Desk, DeviceChoice, Encode, HunyuanRenderer, LoadOptions, RenderError, RenderEvent,
    RenderOrder, RenderedFrames, Renderer, Reported, Ticket,
};

const PROMPT: &str = "a large red ball moves to the right on the snow";
const STEPS: u32 = 4;

fn renderer() -> HunyuanRenderer {
    let options = LoadOptions {
        threads: Some(1),
        ..LoadOptions::new(repository().join("models/default"), DeviceChoice::Cpu, 1 << 33)
    };
    HunyuanRenderer::load(&options).unwrap()
}

fn order(renderer: &mut HunyuanRenderer, seed: u64) -> RenderOrder {
    RenderOrder {
        width: 64,
        height: 64,
        frames: 9,
        steps: STEPS,
        seed,
        guidance: 6.0,
        flow_shift: 3.0,
        flow_reverse: true,
        step_cache_threshold: None,
        embeddings: renderer.encode(PROMPT, &Control::new()).unwrap(),
        negative: None,
        first_frame: None,
        loras: Vec::new(),
        riflex: false,
        resume: None,
        checkpoint_every_s: 0.0,
        preview_every_s: 0.0,
        pause_after: None,
        continues: None,
        interpolate: 1,
        progressive: None,
        batch: Some(BatchPlace { key: BatchKey::from_stored("equal".to_owned()), limit: 4 }),
    }
}

/// A job that waits for its result.
struct Job {
    result: oneshot::Receiver<Result<RenderedFrames, RenderError>>,
    events: mpsc::UnboundedReceiver<RenderEvent>,
}

impl Job {
    /// Submits an order; it stops after `stop_after` steps, if that is not 0.
    fn of(order: &RenderOrder, stop_after: u32) -> (Ticket, Self) {
        let (events, heard) = mpsc::unbounded_channel();
        let (reply, result) = oneshot::channel();
        let ticket = Ticket::new(Box::new(order.clone()), Control::new(), events, reply);
        let ticket = ticket.followed(move |_, control, reported| {
            if *reported == Reported::Step(stop_after) {
                control.cancel();
            }
        });
        (ticket, Self { result, events: heard })
    }

    fn result(&mut self) -> Result<RenderedFrames, RenderError> {
        self.result.try_recv().unwrap()
    }

    /// Jobs in the forward pass of each step.
    fn members(&mut self) -> Vec<u32> {
        let events = std::iter::from_fn(|| self.events.try_recv().ok());
        events
            .filter_map(|event| if let RenderEvent::Step { members, .. } = event { Some(members) } else { None })
            .collect()
    }
}

/// Hands out an order at each of its turns, if there is one for that turn.
struct Turns {
    orders: VecDeque<Option<Ticket>>,
    encoded: Vec<Vec<u8>>,
    waits: Control,
}

impl Turns {
    fn new(orders: impl IntoIterator<Item = Option<Ticket>>) -> Self {
        Self { orders: orders.into_iter().collect(), encoded: Vec::new(), waits: Control::new() }
    }
}

impl Desk for Turns {
    fn next(&mut self) -> Option<Ticket> {
        self.orders.pop_front().flatten()
    }

    fn encode(&mut self, encode: Encode) {
        if self.encoded.is_empty() {
            self.encoded.push(encode(PROMPT, &Control::new()).unwrap().to_bytes());
        }
    }

    fn waiting(&mut self) -> Vec<Control> {
        vec![self.waits.clone()]
    }
}

fn alone(renderer: &mut HunyuanRenderer, order: &RenderOrder) -> RenderedFrames {
    let rendered = renderer.render(order, &Control::new(), &mut |_| {}).unwrap();
    assert_eq!(rendered.batch, None);
    rendered
}

#[test]
fn orders_that_join_between_steps_get_the_frames_of_runs_alone() {
    let mut renderer = renderer();
    let orders = [1, 2, 3].map(|seed| order(&mut renderer, seed));
    let single = orders.each_ref().map(|order| alone(&mut renderer, order));
    let mut jobs: Vec<(Ticket, Job)> = orders.iter().map(|order| Job::of(order, 0)).collect();
    let (third, second) = (jobs.pop().unwrap(), jobs.pop().unwrap());
    let (first, mut first_job) = jobs.pop().unwrap();
    // Nobody waits when it begins; the second comes after one step, the third when the first is nearly done.
    let mut desk = Turns::new([None, Some(second.0), None, Some(third.0)]);
    renderer.render_together(first, &mut desk);
    let mut jobs = [&mut first_job, &mut { second.1 }, &mut { third.1 }];
    for (job, single) in jobs.iter_mut().zip(&single) {
        let rendered = job.result().unwrap();
        assert!(rendered.rgb == single.rgb, "other frames");
        let members = job.members();
        assert_eq!(members.len(), STEPS as usize);
        let mean = f64::from(members.iter().sum::<u32>()) / f64::from(STEPS);
        assert!((rendered.batch.unwrap() - mean).abs() < 1e-9, "{:?} of {members:?}", rendered.batch);
    }
    // A prompt was encoded between two steps, and those that waited saw the model work.
    assert_eq!(desk.encoded, [orders[0].embeddings.to_bytes()]);
    assert!(desk.waits.beats() > u64::from(STEPS));
}

#[test]
fn one_that_is_stopped_and_one_that_fails_leave_the_third_alone() {
    let mut renderer = renderer();
    let orders = [1, 2, 3].map(|seed| order(&mut renderer, seed));
    let single = orders.each_ref().map(|order| alone(&mut renderer, order));
    let (stopped, mut stopped_job) = Job::of(&orders[0], 2);
    let (kept, mut kept_job) = Job::of(&orders[1], 0);
    // There is no interpolator.
    let (failed, mut failed_job) = Job::of(&RenderOrder { interpolate: 2, ..orders[2].clone() }, 0);
    renderer.render_together(stopped, &mut Turns::new([Some(kept), Some(failed)]));
    assert!(kept_job.result().unwrap().rgb == single[1].rgb);
    assert!(
        matches!(failed_job.result(), Err(RenderError::Failed { failure, .. }) if failure.code == "no_interpolator")
    );
    let Err(RenderError::Stopped { checkpoint: Some((step, bytes)) }) = stopped_job.result() else {
        panic!("it was stopped after a step");
    };
    assert_eq!(step, 2);
    // Its checkpoint goes on alone, and the record says that passes were shared before.
    let resumed = RenderOrder { resume: Some(bytes), batch: None, ..orders[0].clone() };
    let resumed = renderer.render(&resumed, &Control::new(), &mut |_| {}).unwrap();
    assert!(resumed.rgb == single[0].rgb);
    assert_eq!(resumed.batch, Some(1.5), "two of four steps with one other");
}

#[test]
fn drafts_pause_together_and_each_is_continued_alone() {
    let mut renderer = renderer();
    let orders = [1, 2].map(|seed| order(&mut renderer, seed));
    let single = orders.each_ref().map(|order| alone(&mut renderer, order));
    let draft = |order: &RenderOrder| Job::of(&RenderOrder { pause_after: Some(2), ..order.clone() }, 0);
    let ((first, first_job), (second, second_job)) = (draft(&orders[0]), draft(&orders[1]));
    renderer.render_together(first, &mut Turns::new([Some(second)]));
    for ((mut job, order), single) in [first_job, second_job].into_iter().zip(&orders).zip(&single) {
        let Err(RenderError::Paused(paused)) = job.result() else { panic!("it is a draft") };
        assert!(paused.step == 2 && paused.preview.is_some());
        let rest = RenderOrder { resume: Some(paused.checkpoint), batch: None, ..order.clone() };
        assert!(renderer.render(&rest, &Control::new(), &mut |_| {}).unwrap().rgb == single.rgb);
    }
}
