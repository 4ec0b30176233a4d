//! The denoising loop of every family: noise to latents, one round of steps after the other.
//!
//! The rule: several runs share a forward pass where the parts of their text have the same lengths, since there is no mask; a step
//! cache decides for each run alone. Between two rounds runs may join and leave, at different steps, and each has its own end: a
//! stop or an error of one changes nothing for the others. Each run's condition is prepared for it alone, so that who it shares
//! passes with decides nothing but the pass. What a network is given is up to its family, as a [`Predictor`].

use std::time::Instant;

use tch::Tensor;

use crate::runtime::{
    control::Control,
    error::{Error, Result},
    passes::{Passes, Prepared},
    predictor::Predictor,
    run::{Denoised, OnStep, Run, StepEnd},
};

/// A run that has left, by its number.
pub(crate) type Left = (usize, Result<Denoised>);

/// The loop, whatever its networks are.
pub(crate) trait Rounds<'r> {
    /// Lets a run take part from the next round on.
    fn add(&mut self, item: usize, run: Run<'r>, control: &Control);

    /// Takes a step of each run; `waiting` are those that wait for this one. Returns the runs that have left.
    fn round(&mut self, waiting: &[Control], on_step: OnStep) -> Vec<Left>;

    /// What stops the runs that take part.
    fn controls(&self) -> Vec<Control>;

    /// Whether memory did not suffice for several runs, so that one is finished after the other.
    fn one_by_one(&self) -> bool;
}

/// A run that takes part.
struct Member<'r, C> {
    item: usize,
    run: Run<'r>,
    control: Control,
    prepared: Option<Prepared<C>>,
    /// Whether the step cache has left this step to the network. It is asked once a step, since asking changes it.
    must_compute: bool,
    velocity: Option<Velocity>,
    /// Why it leaves.
    failed: Option<Error>,
}

/// What a step moves along.
struct Velocity {
    tensor: Tensor,
    /// Runs in the forward pass that it came from; 0 if it came from the step cache.
    members: usize,
    share_s: f64,
}

/// See [`Rounds`].
pub(crate) struct Loop<'r, P: Predictor> {
    network: P,
    members: Vec<Member<'r, P::Condition>>,
    passes: Passes<P::Condition>,
    one_by_one: bool,
}

impl<P: Predictor> Loop<'_, P> {
    pub(crate) fn new(network: P) -> Self {
        Self { network, members: Vec::new(), passes: Passes::default(), one_by_one: false }
    }

    /// Prepares the step of one run, and asks its step cache.
    fn begin(&mut self, index: usize) -> Result<()> {
        let Self { network, members, passes, .. } = self;
        let member = &mut members[index];
        if member.run.raise_if_due()? {
            member.prepared = None;
        }
        if member.prepared.is_none() {
            member.prepared = Some(passes.prepare(network, &member.run)?);
        }
        if !member.must_compute {
            match member.run.reuse()? {
                Some(tensor) => member.velocity = Some(Velocity { tensor, members: 0, share_s: 0.0 }),
                None => member.must_compute = true,
            }
        }
        member.control.check()
    }

    /// Runs that still need a velocity, by what they can share.
    fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let key = |index: usize| self.members[index].prepared.as_ref().map(|prepared| &prepared.key);
        let last = if self.one_by_one { 1 } else { self.members.len() };
        for index in 0..last {
            let member = &self.members[index];
            if !member.must_compute || member.failed.is_some() {
                continue;
            }
            match groups.iter_mut().find(|group| key(group[0]) == key(index)) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        groups
    }

    /// Computes the velocities of a group. An error of a pass that several shared is nobody's yet: each is computed alone then,
    /// where only the one at fault meets it again.
    fn compute(&mut self, group: &[usize], waiting: &[Control]) {
        let begun = Instant::now();
        let controls: Vec<Control> = group.iter().map(|&index| self.members[index].control.clone()).collect();
        let waiting: Vec<Control> = self.controls().into_iter().chain(waiting.iter().cloned()).collect();
        let control = Control::over(&controls, &waiting);
        let members: Vec<_> = group.iter().map(|&index| &self.members[index]).collect();
        let runs: Vec<_> = members.iter().filter_map(|member| Some((&member.run, member.prepared.as_ref()?))).collect();
        let error = match self.passes.velocities(&self.network, &runs, &control) {
            Ok(velocities) => {
                let share_s = begun.elapsed().as_secs_f64() / group.len() as f64;
                for (&index, tensor) in group.iter().zip(velocities) {
                    self.members[index].velocity = Some(Velocity { tensor, members: group.len(), share_s });
                }
                return;
            }
            Err(error) => error,
        };
        if let [only] = group {
            self.members[*only].failed = Some(error);
            return;
        }
        match error {
            Error::Cancelled => self.fail_all(group, || Error::Cancelled),
            Error::DeviceFault { op, reason } => {
                self.fail_all(group, || Error::DeviceFault { op: op.clone(), reason: reason.clone() });
            }
            Error::Team { reason } => self.fail_all(group, || Error::Team { reason: reason.clone() }),
            // Those behind the first keep their place and take their steps when it has left.
            Error::OutOfMemory { op, reason } => {
                tracing::warn!(
                    runs = self.members.len(),
                    op,
                    reason,
                    "no memory for several runs: finishing one after another"
                );
                self.one_by_one = true;
                self.passes.forget();
                if group[0] == 0 {
                    self.compute(&group[..1], &waiting);
                }
            }
            _ => group.iter().for_each(|index| self.compute(std::slice::from_ref(index), &waiting)),
        }
    }

    fn fail_all(&mut self, group: &[usize], error: impl Fn() -> Error) {
        for &index in group {
            self.members[index].failed = Some(error());
        }
    }

    /// Removes the runs that have failed or are done.
    fn leave(&mut self) -> Vec<Left> {
        let leaves = |member: &mut Member<P::Condition>| member.failed.is_some() || member.run.is_done();
        let left = self.members.extract_if(.., leaves);
        left.map(|member| (member.item, member.failed.map_or_else(|| Ok(member.run.finish()), Err))).collect()
    }
}

impl<'r, P: Predictor> Rounds<'r> for Loop<'r, P> {
    fn add(&mut self, item: usize, run: Run<'r>, control: &Control) {
        self.members.push(Member {
            item,
            run,
            control: control.clone(),
            prepared: None,
            must_compute: false,
            velocity: None,
            failed: None,
        });
    }

    fn round(&mut self, waiting: &[Control], on_step: OnStep) -> Vec<Left> {
        let started = Instant::now();
        // A run may have been resumed at its end.
        let mut left = self.leave();
        for index in 0..self.members.len() {
            // Whose turn has not come is only asked whether it is to stop.
            let waits = self.one_by_one && index > 0;
            let begun = if waits { self.members[index].control.check() } else { self.begin(index) };
            self.members[index].failed = begun.err();
        }
        for group in self.groups() {
            self.compute(&group, waiting);
        }
        let mut moved = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            let Some(velocity) = member.velocity.take().filter(|_| member.failed.is_none()) else { continue };
            let begun = Instant::now();
            match member.run.advance(velocity.tensor, velocity.members) {
                Ok(()) => {
                    member.must_compute = false;
                    moved.push((index, velocity.members, velocity.share_s + begun.elapsed().as_secs_f64()));
                }
                Err(error) => member.failed = Some(error),
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        for (index, members, share_s) in moved {
            let Member { item, run, failed, .. } = &mut self.members[index];
            let (step, total, velocity_change) = (run.step, run.schedule.steps(), run.velocity_change);
            let skipped = members == 0;
            let (run, item) = (&*run, *item);
            let end = StepEnd { run, item, step, total, seconds, share_s, members, skipped, velocity_change };
            if on_step(&end).is_break() {
                *failed = Some(Error::Cancelled);
            }
        }
        left.extend(self.leave());
        left
    }

    fn controls(&self) -> Vec<Control> {
        self.members.iter().map(|member| member.control.clone()).collect()
    }

    fn one_by_one(&self) -> bool {
        self.one_by_one
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ops::ControlFlow;
    use std::rc::Rc;

    use tch::{Device, Kind};

    use super::*;
    use crate::runtime::checkpoint::Identity;
    use crate::runtime::embeddings::Embeddings;
    use crate::runtime::flow_match::Schedule;
    use crate::runtime::predictor::{Lengths, Times};
    use crate::runtime::request::DenoiseRequest;
    use crate::runtime::run::Asked;

    /// A network whose passes fail: over more runs than fit into its memory, and over a run whose noise is this.
    struct Fails<'a> {
        room: i64,
        refused: Option<f64>,
        /// Runs of each pass.
        passes: &'a RefCell<Vec<i64>>,
    }

    impl Predictor for Fails<'_> {
        type Condition = ();

        fn device(&self) -> Device {
            Device::Cpu
        }

        fn kind(&self) -> Kind {
            Kind::Float
        }

        fn lengths(&self, _: &'static str, _: &Embeddings) -> Result<Lengths> {
            Ok([1, 0])
        }

        fn condition(&self, _: &Run, _: &Embeddings) -> Result<()> {
            Ok(())
        }

        fn join(&self, _: &[&()]) -> Result<()> {
            Ok(())
        }

        fn predict(&self, latents: &Tensor, _: &Times, (): &(), control: &Control) -> Result<Tensor> {
            control.check()?;
            self.passes.borrow_mut().push(latents.size()[0]);
            if latents.size()[0] > self.room {
                return Err(Error::OutOfMemory { op: "test".to_owned(), reason: "room".to_owned() });
            }
            let refused = self.refused.is_some_and(|value| latents.eq(value).any().int64_value(&[]) != 0);
            if refused {
                return Err(Error::Libtorch { op: "test".to_owned(), reason: "refused".to_owned() });
            }
            Ok(latents * 0.5)
        }
    }

    /// A run of three steps whose latents all begin with this value.
    fn run(value: f64) -> Run<'static> {
        let embeddings = Embeddings::new([("prompt", Tensor::zeros([1, 1, 4], (Kind::Float, Device::Cpu)))]).unwrap();
        let mut request = DenoiseRequest::new(crate::Family::V1.defaults(), embeddings, 1);
        request.steps = 3;
        let identity = Identity {
            family: "v1".to_owned(),
            noise: value.to_string(),
            embeddings: String::new(),
            negative: None,
            model: String::new(),
            build: String::new(),
            device_class: "cpu".to_owned(),
            threads: 1,
            dtype: "f32".to_owned(),
            size: [16, 16, 1],
            steps: 3,
            guidance: 0,
            flow_shift: 0,
            flow_reverse: true,
            step_cache: "\"off\"".to_owned(),
            draft: None,
            adapters: Vec::new(),
            riflex: false,
            image: None,
            progressive: None,
        };
        let noise = Tensor::full([1, 1, 1, 2, 2], value, (Kind::Float, Device::Cpu));
        let schedule = Schedule::new(3, 7.0, true, 1000).unwrap();
        Run::new(Asked::Shared(Rc::new(request)), identity, schedule, &noise, Device::Cpu).unwrap()
    }

    /// Takes runs that begin with these values to their ends, in the order in which they come to them.
    fn all(network: Fails, values: &[f64]) -> (Vec<Left>, Vec<Control>) {
        let controls: Vec<Control> = values.iter().map(|_| Control::new()).collect();
        let mut rounds = Loop::new(network);
        for (item, value) in values.iter().enumerate() {
            rounds.add(item, run(*value), &controls[item]);
        }
        let mut left = Vec::new();
        while left.len() < values.len() {
            left.extend(rounds.round(&[], &mut |_| ControlFlow::Continue(())));
        }
        (left, controls)
    }

    fn value(left: &Left) -> f64 {
        left.1.as_ref().unwrap().latents.tensor.double_value(&[0, 0, 0, 0, 0])
    }

    #[test]
    fn without_memory_for_several_each_is_finished_after_the_other() {
        let passes = RefCell::new(Vec::new());
        let (left, controls) = all(Fails { room: 1, refused: None, passes: &passes }, &[1.0, 2.0, 3.0]);
        assert_eq!(passes.into_inner(), [3, 1, 1, 1, 1, 1, 1, 1, 1, 1], "no step is lost, and none is taken twice");
        assert_eq!(left.iter().map(|(item, _)| *item).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(left.iter().all(|(_, done)| done.as_ref().unwrap().counts.companions == 0));
        let fits = RefCell::new(Vec::new());
        let (together, _) = all(Fails { room: 3, refused: None, passes: &fits }, &[1.0, 2.0, 3.0]);
        assert_eq!(fits.into_inner(), [3, 3, 3]);
        for (one, other) in left.iter().zip(&together) {
            assert!((value(one) - value(other)).abs() < f64::EPSILON);
        }
        // Those whose turn has not come see the progress of the others.
        assert!(controls[2].beats() >= 9, "{}", controls[2].beats());
    }

    #[test]
    fn an_error_of_a_shared_pass_ends_only_the_run_that_causes_it() {
        let passes = RefCell::new(Vec::new());
        let (left, _) = all(Fails { room: 8, refused: Some(2.0), passes: &passes }, &[1.0, 2.0, 3.0]);
        assert!(matches!(&left[0], (1, Err(Error::Libtorch { .. }))));
        assert_eq!([left[1].0, left[2].0], [0, 2]);
        assert_eq!(passes.into_inner(), [3, 1, 1, 1, 2, 2], "then each alone, and the rest together again");
    }
}
