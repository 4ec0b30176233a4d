//! The planner: from a request, the model's manifest and a shape to a plan. A pure function of those and of its own
//! four parts.
//!
//! # How a plan is made
//! 1. The prompt is analysed ([`crate::analysis`]).
//! 2. The tier: the requested one, or for `auto` the one for the prompt's class.
//! 3. The shape: the validated one, lowered to the tier's largest size where the operator set one.
//! 4. The steps, in this order of precedence: the request's own number; the model's fixed number while adaptive steps
//!    are off; the prompt's score placed in the tier's range, moved by what the fleet has learned.
//! 5. The step cache: the request's mode or the tier's, with the model's threshold for it.
//! 6. Progressive resolution: the request's mode or the tier's, with the model's noise level for it.
//! 7. Interpolation: the request's factor or the tier's.
//! 8. The estimate from the fleet's cost model or, before it has one, the model's prior.
//! 9. For a draft, the step at which it pauses: the tier's share of the steps.
//!
//! Step ranges and thresholds come from the manifest; the operator's overrides come from [`Profiles`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain::draft::draft_steps;
use domain::lora::sampling_of;
use domain::model::{RenderShape, StepRange};
use domain::{
    Complexity, DraftSchedule, ModelManifest, Plan, ProgressivePlan, QualityTier, RunRecord, StepCacheMode,
    StepCachePlan, StepsReason, Tier, VideoRequest,
};

use crate::analysis::{Analysis, analyze};
use crate::cost::{CostBook, CostModel, LowerWork, Work, on_devices, passes, swap_s};
use crate::learn::{ConvergenceRecord, Learned, estimated_error};
use crate::profiles::Profiles;
use crate::scoring;
use crate::several::Devices;

/// Which optimisations are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches {
    /// Choose the steps by the prompt (`ENABLE_ADAPTIVE_STEPS`). Off: fixed numbers.
    pub adaptive_steps: bool,
    /// Lower the steps by what finished runs showed. Needs `adaptive_steps`.
    pub learned_steps: bool,
    /// Step caching. Off: requests that ask for it get none, and their plan says `off`.
    pub step_cache: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self { adaptive_steps: true, learned_steps: true, step_cache: true }
    }
}

/// Everything that plans depend on besides the request and its model.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    /// What the operator decides about the tiers.
    pub profiles: Profiles,
    /// Which optimisations are on.
    pub switches: Switches,
    /// How long runs take, from the fleet's own records.
    pub costs: CostBook,
    /// How many steps finished runs could have done without.
    pub learned: Learned,
    /// On how many devices the live workers of each model compute a video; models without workers are left out.
    pub devices: BTreeMap<String, Devices>,
}

/// A draft that is about to be continued.
#[derive(Debug, Clone, Copy)]
pub struct Drafted<'a> {
    /// The job's request.
    pub request: &'a VideoRequest,
    /// What is rendered.
    pub shape: &'a RenderShape,
    /// The draft's plan.
    pub plan: &'a Plan,
    /// Steps that it covers.
    pub step: u32,
}

/// A plan, and the shape that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Tier, steps, step cache and estimate.
    pub plan: Plan,
    /// What will be rendered: the validated shape, or the tier's largest size.
    pub shape: RenderShape,
}

impl Planner {
    /// A planner that has learned nothing yet.
    #[must_use]
    pub fn new(profiles: Profiles, switches: Switches) -> Self {
        Self { profiles, switches, ..Self::default() }
    }

    /// Plans a new request. `shape` is what `VideoRequest::validate` returned for it. The estimate is that of the worker
    /// class with the most runs, or of workers with as many devices as the tier gets.
    #[must_use]
    pub fn plan(&self, request: &VideoRequest, manifest: &ModelManifest, shape: RenderShape) -> Planned {
        let analysis = analyze(&request.prompt);
        let tier = self.tier(request, manifest, analysis.complexity);
        let shape = self.profiles.shape(tier, request, shape, manifest);
        Planned { plan: self.plan_tier(tier, analysis, request, manifest, &shape), shape }
    }

    /// Plans a stored job, whose shape was decided at submission and does not change any more.
    #[must_use]
    pub fn plan_stored(&self, request: &VideoRequest, manifest: &ModelManifest, shape: &RenderShape) -> Plan {
        let analysis = analyze(&request.prompt);
        let tier = self.tier(request, manifest, analysis.complexity);
        self.plan_tier(tier, analysis, request, manifest, shape)
    }

    /// The plan with which a draft is continued: its own, or one that goes on in a higher tier. That takes the higher tier's
    /// steps and step cache from the draft's noise level on (see [`DraftSchedule`]), and never fewer steps than the draft's plan.
    #[must_use]
    pub fn continued(&self, draft: &Drafted<'_>, manifest: &ModelManifest, tier: Option<Tier>) -> Plan {
        let Some(tier) = tier else { return draft.plan.clone() };
        let higher = VideoRequest { quality_tier: tier.into(), infer_steps: 0, ..draft.request.clone() };
        let mut plan = self.plan_stored(&higher, manifest, draft.shape);
        let schedule = DraftSchedule {
            steps: draft.plan.steps,
            after: draft.step,
            then: plan.steps.max(draft.plan.steps),
            step_cache: draft.plan.step_cache,
            lower_steps: draft.plan.progressive.map(|early| early.steps),
        };
        plan.steps = schedule.total();
        // Both schedules share their shift, and the draft was guided like this.
        (plan.flow_shift, plan.guidance) = (draft.plan.flow_shift, draft.plan.guidance);
        plan.draft_steps = draft.plan.draft_steps;
        plan.continues = Some(schedule);
        // What follows the draft is rendered at full size.
        plan.progressive =
            draft.plan.progressive.map(|early| ProgressivePlan { steps: early.steps.min(draft.step), ..early });
        let tokens = draft.shape.tokens(&manifest.geometry);
        let threshold = plan.step_cache.threshold;
        let interpolated_mpx = draft.shape.interpolated_megapixels(plan.interpolate.unwrap_or(1));
        let work = Work {
            tokens,
            steps: plan.steps,
            lower: LowerWork::of(&plan),
            passes: passes(draft.request),
            threshold,
            interpolated_mpx,
        };
        let cost = self.cost(manifest, plan.tier);
        let swap_s = swap_s(&cost, draft.request, manifest);
        let estimate = |hit| cost.estimate_s(&work, hit) + swap_s;
        (plan.estimate_s, plan.estimate_cached_s) = (estimate(false), estimate(true));
        plan
    }

    /// Fewest and most steps that a requested tier gives on this model. Both are the fixed number while adaptive steps
    /// are off.
    #[must_use]
    pub fn steps_range(&self, manifest: &ModelManifest, requested: QualityTier) -> StepRange {
        if self.switches.adaptive_steps {
            return self.adaptive_range(manifest, requested);
        }
        let fixed = self.fixed_steps(manifest, requested);
        StepRange { min: fixed, max: fixed }
    }

    /// The cost model that jobs of a tier are estimated with: the fleet's own for the number of devices that the tier gets
    /// ([`Devices::of`]), or the manifest's prior before there is one.
    #[must_use]
    pub fn cost(&self, manifest: &ModelManifest, tier: Tier) -> Cow<'_, CostModel> {
        let usual = self.costs.of(&manifest.id, None);
        match (self.devices.get(&manifest.id), usual) {
            (Some(devices), _) if devices.most > 1 => self.cost_on(manifest, devices.of(tier)),
            (_, Some(fitted)) => Cow::Borrowed(fitted),
            (_, None) => Cow::Owned(CostModel::from_prior(&manifest.cost_prior)),
        }
    }

    /// The cost model of workers that compute a video on so many devices: from their own runs, else from those on one device, else
    /// the manifest's prior.
    fn cost_on(&self, manifest: &ModelManifest, devices: u32) -> Cow<'_, CostModel> {
        let prior = &manifest.cost_prior;
        match (self.costs.on(&manifest.id, devices), self.costs.on(&manifest.id, 1)) {
            (Some(fitted), _) => Cow::Borrowed(fitted),
            (None, Some(one)) => Cow::Owned(one.on_devices(prior, devices)),
            (None, None) => Cow::Owned(CostModel::from_prior(&on_devices(prior, devices))),
        }
    }

    /// Devices that a job of this tier is planned for.
    #[must_use]
    pub fn devices_for(&self, manifest: &ModelManifest, tier: Tier) -> u32 {
        self.devices.get(&manifest.id).map_or(1, |devices| devices.of(tier))
    }

    /// Seconds of the model's baseline run on so many devices, its prompt not cached.
    #[must_use]
    pub fn baseline_s(&self, manifest: &ModelManifest, devices: u32) -> f64 {
        let steps = manifest.baseline_steps();
        let tokens = manifest.cost_prior.tokens.max(1);
        let work = Work { tokens, steps, lower: None, passes: 1, threshold: 0.0, interpolated_mpx: 0.0 };
        self.cost_on(manifest, devices).estimate_s(&work, false)
    }

    /// What a finished run says about the steps that it needed; `None` when its convergence says nothing (the run was too
    /// short, or resumed from a checkpoint).
    #[must_use]
    pub fn lesson(
        &self,
        manifest: &ModelManifest,
        requested: QualityTier,
        plan: &Plan,
        record: &RunRecord,
    ) -> Option<ConvergenceRecord> {
        // A continued draft and a change of size follow two schedules, so the changes from step to step are not those of one.
        if record.resumed_from.is_some() || plan.continues.is_some() || plan.progressive.is_some() {
            return None;
        }
        let error = estimated_error(&record.convergence, plan.steps)?;
        let range = self.adaptive_range(manifest, requested);
        Some(ConvergenceRecord {
            model_id: manifest.id.clone(),
            requested,
            complexity: plan.complexity,
            lexicon_steps: scoring::steps_in(plan.score, range.min, range.max),
            needed_steps: error * f64::from(plan.steps) / self.profiles.tier(plan.tier).error_max,
        })
    }

    /// Steps 4 to 9 of a plan.
    fn plan_tier(
        &self,
        tier: Tier,
        analysis: Analysis,
        request: &VideoRequest,
        manifest: &ModelManifest,
        shape: &RenderShape,
    ) -> Plan {
        let (steps, steps_reason) = self.steps(request, manifest, &analysis);
        let step_cache = self.step_cache(tier, request.step_cache, manifest);
        let tokens = shape.tokens(&manifest.geometry);
        let interpolate = self.profiles.interpolation(tier, request, shape);
        let cost = self.cost(manifest, tier);
        let mut plan = Plan {
            tier,
            complexity: analysis.complexity,
            score: analysis.score,
            factors: analysis.factors,
            steps,
            steps_reason,
            step_cache,
            progressive: None,
            flow_shift: sampling_of(&request.loras, |sampling| sampling.flow_shift),
            guidance: sampling_of(&request.loras, |sampling| sampling.guidance)
                .filter(|_| request.cfg_scale == VideoRequest::new("").cfg_scale),
            interpolate,
            estimate_s: 0.0,
            estimate_cached_s: 0.0,
            memory_bytes: manifest.memory.need_bytes(tokens),
            draft_steps: request.is_draft().then(|| draft_steps(steps, self.profiles.tier(tier).draft_share)),
            continues: None,
        };
        plan.progressive = self.progressive(request, manifest, shape, &plan);
        let work = Work {
            tokens,
            steps,
            lower: LowerWork::of(&plan),
            passes: passes(request),
            threshold: step_cache.threshold,
            interpolated_mpx: shape.interpolated_megapixels(interpolate.unwrap_or(1)),
        };
        let swap_s = swap_s(&cost, request, manifest);
        plan.estimate_s = cost.estimate_s(&work, false) + swap_s;
        plan.estimate_cached_s = cost.estimate_s(&work, true) + swap_s;
        plan
    }

    /// The early steps at half the size. A plan is otherwise complete but for its estimates.
    fn progressive(
        &self,
        request: &VideoRequest,
        manifest: &ModelManifest,
        shape: &RenderShape,
        plan: &Plan,
    ) -> Option<ProgressivePlan> {
        let mode = request.progressive.unwrap_or(self.profiles.tier(plan.tier).progressive);
        let levels = manifest.progressive.filter(|_| request.flow_reverse)?;
        let shift = plan.flow_shift.unwrap_or(manifest.sampling.flow_shift);
        let size = [shape.width, shape.height, shape.frames];
        let early = levels.plan(mode, size, &manifest.geometry, (plan.steps, shift))?;
        let cost = self.cost(manifest, plan.tier);
        let full_s = cost.step_s(shape.tokens(&manifest.geometry));
        let step_share = if full_s > 0.0 { cost.step_s(early.tokens) / full_s } else { 1.0 };
        Some(ProgressivePlan { step_share, ..early })
    }

    fn tier(&self, request: &VideoRequest, manifest: &ModelManifest, complexity: Complexity) -> Tier {
        if request.infer_steps == 0 {
            return self.profiles.decide(request.quality_tier, complexity);
        }
        // With steps of the request's own, `auto` means the cheapest tier that reaches them, whatever the prompt: a user
        // who asks for 50 steps wants what goes with 50 steps.
        self.profiles.named_tier(request.quality_tier).unwrap_or_else(|| {
            let reaches = |&tier: &Tier| request.infer_steps <= self.adaptive_range(manifest, tier.into()).max;
            [Tier::Preview, Tier::Standard].into_iter().find(reaches).unwrap_or(Tier::Premium)
        })
    }

    fn steps(&self, request: &VideoRequest, manifest: &ModelManifest, analysis: &Analysis) -> (u32, StepsReason) {
        let requested = request.quality_tier;
        if request.infer_steps > 0 {
            return (request.infer_steps, StepsReason::Explicit);
        }
        if let Some(steps) = sampling_of(&request.loras, |sampling| sampling.steps) {
            return (steps.clamp(1, manifest.sampling.steps_max.max(1)), StepsReason::Adapter);
        }
        if !self.switches.adaptive_steps {
            return (self.fixed_steps(manifest, requested), StepsReason::Fixed);
        }
        let range = self.adaptive_range(manifest, requested);
        let steps = scoring::steps_in(analysis.score, range.min, range.max);
        if !self.switches.learned_steps {
            return (steps, StepsReason::Adaptive);
        }
        let moved = self.learned.steps(&manifest.id, requested, analysis.complexity, steps, (range.min, range.max));
        let reason = if moved == steps { StepsReason::Adaptive } else { StepsReason::Learned };
        (moved, reason)
    }

    /// The model's range with the operator's overrides, within what the model can run.
    fn adaptive_range(&self, manifest: &ModelManifest, requested: QualityTier) -> StepRange {
        let sampling = &manifest.sampling;
        self.profiles.steps(requested).range(sampling.steps.range(requested)).within(sampling)
    }

    fn fixed_steps(&self, manifest: &ModelManifest, requested: QualityTier) -> u32 {
        let sampling = &manifest.sampling;
        let fixed = match self.profiles.named_tier(requested) {
            Some(tier) => self.profiles.tier(tier).steps.fixed.unwrap_or(sampling.steps.tier(tier).fixed),
            // Without adaptive steps `auto` has nothing to choose by, so it is the baseline that savings are counted against.
            None => manifest.baseline_steps(),
        };
        sampling.possible(fixed)
    }

    fn step_cache(&self, tier: Tier, asked: Option<StepCacheMode>, manifest: &ModelManifest) -> StepCachePlan {
        let profile = self.profiles.tier(tier);
        let possible = self.switches.step_cache && !manifest.step_cache.is_never();
        let mode = if possible { asked.unwrap_or(profile.step_cache) } else { StepCacheMode::Off };
        // The tier's own threshold is for the tier's own mode; a request for another mode means that mode's threshold.
        let own = profile.step_cache_threshold.filter(|_| mode == profile.step_cache && mode != StepCacheMode::Off);
        StepCachePlan { mode, threshold: own.unwrap_or_else(|| manifest.step_cache.threshold(mode)) }
    }
}
