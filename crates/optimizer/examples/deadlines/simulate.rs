//! One day under one policy: arrivals, releases, preemptions and ends in the order of time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use optimizer::deadline::{QueueLoad, forecast};
use optimizer::preempt::{Run, Urgent, choose};

use crate::order::{FairQueue, Place};
use crate::traffic::{Arrival, TENANTS};

/// Time between two looks for preemptions, and how early a job counts as urgent, seconds: the defaults of the settings.
const SWEEP_S: f64 = 2.0;
const NOTICE_S: f64 = 30.0;
/// `scheduler.deadline_lead_s` and `scheduler.preemptions_max`.
const LEAD_S: f64 = 3_600.0;
const PREEMPTIONS_MAX: u8 = 2;
/// Most urgent jobs that one look handles.
const URGENT_MAX: usize = 100;
/// Handing back, and loading the checkpoint later, seconds.
const SWITCH_S: f64 = 5.0;

/// How jobs are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// By arrival alone, without tenants.
    FirstCome,
    /// Fair shares between tenants, the tiers' order within one; deadlines have no effect.
    FairShare,
    /// The fleet's: the same, with deadlines that can be met first, and preemption.
    Deadlines,
    /// The fleet's, when every request with a deadline asks to be rejected if it cannot be met.
    Rejecting,
}

/// What a day came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) jobs: u64,
    pub(crate) rejected: u64,
    pub(crate) with_deadline: u64,
    pub(crate) met: u64,
    pub(crate) wait_s: f64,
    pub(crate) plain_wait_s: f64,
    pub(crate) plain: u64,
    pub(crate) preemptions: u64,
    pub(crate) run_s: f64,
    /// Seconds of work that was repeated or spent on switching.
    pub(crate) lost_s: f64,
    /// Seconds of runs that missed their deadlines.
    pub(crate) late_s: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    End { job: usize, run: u32 },
    Arrive { job: usize },
    Sweep,
}

#[derive(Debug, Clone, Copy)]
struct State {
    place: Place,
    left_s: f64,
    waited_s: f64,
    queued_at: f64,
    started_at: f64,
    run: u32,
    preemptions: u8,
    asked: bool,
    start_by: Option<f64>,
}

/// A simulation of one day.
pub(crate) struct Fleet<'a> {
    policy: Policy,
    jobs: &'a [Arrival],
    states: Vec<State>,
    queue: FairQueue,
    /// Waiting jobs whose deadlines can be met, by the millisecond at which they must start.
    due: BTreeSet<(i64, usize)>,
    running: BTreeSet<usize>,
    waiting: usize,
    workers: usize,
    events: BinaryHeap<Reverse<(i64, What)>>,
    outcome: Outcome,
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a few days")]
fn ms(seconds: f64) -> i64 {
    (seconds * 1_000.0) as i64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a few days")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

impl<'a> Fleet<'a> {
    /// A fleet of equal workers before the first job.
    pub(crate) fn new(policy: Policy, jobs: &'a [Arrival], workers: usize) -> Self {
        let none = State {
            place: (0, 0),
            left_s: 0.0,
            waited_s: 0.0,
            queued_at: 0.0,
            started_at: 0.0,
            run: 0,
            preemptions: 0,
            asked: false,
            start_by: None,
        };
        let mut events: BinaryHeap<_> =
            jobs.iter().enumerate().map(|(job, one)| Reverse((ms(one.at_s), What::Arrive { job }))).collect();
        if matches!(policy, Policy::Deadlines | Policy::Rejecting) {
            events.push(Reverse((0, What::Sweep)));
        }
        // First come, first served knows no tenants.
        let tenants = if policy == Policy::FirstCome { 1 } else { TENANTS };
        Self {
            policy,
            jobs,
            states: vec![none; jobs.len()],
            queue: FairQueue::new(vec![1.0; tenants]),
            due: BTreeSet::new(),
            running: BTreeSet::new(),
            waiting: 0,
            workers,
            events,
            outcome: Outcome::default(),
        }
    }

    /// Runs until every job has ended.
    pub(crate) fn run(mut self) -> Outcome {
        while let Some(Reverse((at_ms, what))) = self.events.pop() {
            let now = seconds(at_ms);
            match what {
                What::Arrive { job } => self.arrive(job, now),
                What::End { job, run } => self.end(job, run, now),
                What::Sweep => self.sweep(now),
            }
            self.give_up(now);
            self.fill(now);
        }
        self.outcome
    }

    fn tenant(&self, job: usize) -> usize {
        if self.policy == Policy::FirstCome { 0 } else { self.jobs[job].tenant }
    }

    fn arrive(&mut self, job: usize, now: f64) {
        let one = &self.jobs[job];
        let plain_s = match self.policy {
            Policy::FirstCome => 0.0,
            _ => one.estimate_s / one.weight,
        };
        let uses_deadlines = matches!(self.policy, Policy::Deadlines | Policy::Rejecting);
        let start_by = one.deadline_s.map(|seconds| now + f64::from(seconds) - one.estimate_s);
        let start_by = start_by.filter(|start_by| uses_deadlines && *start_by >= now);
        let order_s = start_by.map_or(now + plain_s, |start_by| (now + plain_s).min(start_by - LEAD_S));
        let place = (ms(order_s), job as u64);
        self.outcome.jobs += 1;
        self.outcome.with_deadline += u64::from(one.deadline_s.is_some());
        if self.policy == Policy::Rejecting && self.is_hopeless(job, place) {
            self.outcome.rejected += 1;
            return;
        }
        self.states[job] = State { place, left_s: one.run_s, queued_at: now, start_by, ..self.states[job] };
        self.enqueue(job);
    }

    /// The API's decision: the queue ahead within fair shares, the slots and the job's own estimate.
    fn is_hopeless(&self, job: usize, place: Place) -> bool {
        let one = &self.jobs[job];
        let Some(deadline_s) = one.deadline_s else { return false };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let load = QueueLoad {
            slots: number(self.workers),
            running: number(self.running.len()),
            ahead: if self.waiting == 0 { 0 } else { self.queue.ahead(one.tenant, place) },
            mean_s: one.estimate_s,
        };
        forecast(&load, one.estimate_s).is_some_and(|forecast| !forecast.meets(deadline_s))
    }

    fn enqueue(&mut self, job: usize) {
        let tenant = self.tenant(job);
        self.queue.push(tenant, self.states[job].place, self.jobs[job].estimate_s);
        self.waiting += 1;
        if let Some(start_by) = self.states[job].start_by {
            self.due.insert((ms(start_by), job));
        }
    }

    /// Deadlines that have passed have no effect any more.
    fn give_up(&mut self, now: f64) {
        while let Some(&(start_by, job)) = self.due.first().filter(|(start_by, _)| *start_by < ms(now)) {
            self.due.remove(&(start_by, job));
            let (one, tenant) = (&self.jobs[job], self.tenant(job));
            let plain = (ms(one.at_s + one.estimate_s / one.weight), job as u64);
            self.queue.replace(tenant, self.states[job].place, plain);
            (self.states[job].place, self.states[job].start_by) = (plain, None);
        }
    }

    fn fill(&mut self, now: f64) {
        while self.running.len() < self.workers && self.waiting > 0 {
            let Some((_, (_, number))) = self.queue.pop() else { return };
            self.start(usize::try_from(number).unwrap_or_default(), now);
        }
    }

    fn start(&mut self, job: usize, now: f64) {
        self.waiting -= 1;
        let state = &mut self.states[job];
        if let Some(start_by) = state.start_by {
            self.due.remove(&(ms(start_by), job));
        }
        state.waited_s += now - state.queued_at;
        (state.started_at, state.asked) = (now, false);
        state.run += 1;
        self.running.insert(job);
        self.events.push(Reverse((ms(now + state.left_s), What::End { job, run: state.run })));
    }

    fn end(&mut self, job: usize, run: u32, now: f64) {
        // A preempted run has no end of its own.
        if self.states[job].run != run || !self.running.remove(&job) {
            return;
        }
        let (one, state, sums) = (&self.jobs[job], &self.states[job], &mut self.outcome);
        sums.run_s += one.run_s;
        sums.wait_s += state.waited_s;
        match one.deadline_s {
            Some(deadline_s) if now <= one.at_s + f64::from(deadline_s) => sums.met += 1,
            Some(_) => sums.late_s += one.run_s,
            None => (sums.plain, sums.plain_wait_s) = (sums.plain + 1, sums.plain_wait_s + state.waited_s),
        }
    }

    fn sweep(&mut self, now: f64) {
        if !self.events.is_empty() {
            self.events.push(Reverse((ms(now + SWEEP_S), What::Sweep)));
        }
        let soon: Vec<usize> =
            self.due.range(..(ms(now + NOTICE_S), usize::MAX)).take(URGENT_MAX).map(|(_, job)| *job).collect();
        if soon.is_empty() || self.running.len() < self.workers {
            return;
        }
        let urgent: Vec<_> = soon.iter().map(|job| self.as_urgent(*job, now)).collect();
        let holders: Vec<usize> = self.running.iter().copied().collect();
        let runs: Vec<_> = holders.iter().map(|job| self.as_run(*job, now)).collect();
        for swap in choose(&urgent, &runs, 0, NOTICE_S) {
            self.swap(soon[swap.urgent], holders[swap.run], now);
        }
    }

    fn as_urgent(&self, job: usize, now: f64) -> Urgent {
        let tenant = self.tenant(job);
        let slack_s = self.states[job].start_by.unwrap_or(now) - now;
        Urgent { slack_s, tenant: tenant as u128, share: self.queue.share(tenant) }
    }

    fn as_run(&self, job: usize, now: f64) -> Run {
        let (one, state, tenant) = (&self.jobs[job], &self.states[job], self.tenant(job));
        let over = one.deadline_s.is_none_or(|seconds| one.at_s + f64::from(seconds) < now);
        Run {
            remaining_s: (state.left_s - (now - state.started_at)).max(0.0),
            may_yield: over && !state.asked && state.preemptions < PREEMPTIONS_MAX,
            tenant: tenant as u128,
            share: self.queue.share(tenant),
        }
    }

    /// The run goes back to the queue from its last step, and the urgent job starts in its slot.
    fn swap(&mut self, urgent: usize, run: usize, now: f64) {
        let tenant = self.tenant(urgent);
        if !self.queue.release(tenant, self.states[urgent].place) || !self.running.remove(&run) {
            return;
        }
        let (step_s, state) = (self.jobs[run].step_s, &mut self.states[run]);
        let worked_s = now - state.started_at;
        let kept_s = (worked_s / step_s).floor() * step_s;
        state.left_s += SWITCH_S - kept_s;
        (state.queued_at, state.preemptions) = (now, state.preemptions + 1);
        state.run += 1;
        self.outcome.preemptions += 1;
        self.outcome.lost_s += worked_s - kept_s + SWITCH_S;
        self.enqueue(run);
        self.start(urgent, now);
    }
}
