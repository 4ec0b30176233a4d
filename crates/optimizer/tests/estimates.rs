//! Estimates, fitted to a simulated worker with noise, outliers and a speed that changes.

use domain::model::CostPrior;
use optimizer::{CostBook, CostModel, CostRecord, CostSource, EstimateRules, cost};

/// The released model's prior: at 540p and 129 frames 12 s a step and 54 s around the steps, 12 s with cached embeddings.
fn prior() -> CostPrior {
    CostPrior {
        tokens: 67_320,
        step_s: 12.0,
        around_s: 54.0,
        around_cached_s: 12.0,
        attention_share: 0.5,
        baseline_steps: 33,
        interpolate_mpx_s: 0.02,
        exchanged_gb: 0.0,
    }
}

/// A simulated worker: other seconds than the prior's, noise, skips that depend on the steps, and outliers.
struct Machine {
    state: u64,
}

impl Machine {
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.state >> 33).expect("31 bits")) / f64::from(1u32 << 31)
    }

    fn noise(&mut self) -> f64 {
        1.0 + 0.06 * (self.uniform() - 0.5)
    }

    /// A run that no neighbour disturbed.
    fn steady(&mut self) -> CostRecord {
        let run = self.run();
        let stretch = run.denoise_s / (clean_s(&run) - run.encode_s - run.tail_s);
        if stretch > 2.0 { CostRecord { denoise_s: run.denoise_s / 5.0, ..run } } else { run }
    }

    fn run(&mut self) -> CostRecord {
        let tokens = if self.uniform() < 0.7 { 67_320 } else { 118_800 };
        let ratio = tokens as f64 / 67_320.0;
        let steps = 18 + (self.uniform() * 28.0) as u32;
        let threshold = if self.uniform() < 0.6 { 0.025 } else { 0.0 };
        let skipped = if threshold > 0.0 { (0.5 * f64::from(steps - 6) * self.noise()).round() as u32 } else { 0 };
        let hit = self.uniform() < 0.4;
        let passes = if self.uniform() < 0.1 { 2 } else { 1 };
        let computed = steps - skipped;
        let step_s = 2.0 * ratio + 1.5 * ratio * ratio;
        let denoise_s = f64::from(passes) * (f64::from(computed) * step_s + f64::from(skipped) * 0.1 * ratio) + 1.0;
        let slow = if self.uniform() < 0.04 { 5.0 } else { 1.0 };
        CostRecord {
            model_id: "hunyuan-video".to_owned(),
            worker_class: "cuda-sm90".to_owned(),
            devices: 1,
            tokens,
            passes,
            threshold,
            computed,
            skipped,
            hit,
            encode_s: if hit { 0.02 } else { 3.0 * self.noise() },
            denoise_s: denoise_s * self.noise() * slow,
            tail_s: (6.0 * ratio + 1.0) * self.noise(),
            swap_s: None,
            interpolated_mpx: 0.0,
            lower: None,
            interpolate_s: 0.0,
        }
    }
}

/// Seconds of a run's denoising without noise, and its measured rest.
fn clean_s(run: &CostRecord) -> f64 {
    let ratio = run.tokens as f64 / 67_320.0;
    let step_s = 2.0 * ratio + 1.5 * ratio * ratio;
    let steps_s = f64::from(run.computed) * step_s + f64::from(run.skipped) * 0.1 * ratio;
    run.encode_s + f64::from(run.passes) * steps_s + 1.0 + run.tail_s
}

#[test]
fn thirty_runs_make_estimates_good_and_the_prior_is_left_behind() {
    let prior = prior();
    let mut machine = Machine { state: 7 };
    let (seen, coming): (Vec<_>, Vec<_>) =
        ((0..30).map(|_| machine.run()).collect(), (0..300).map(|_| machine.run()).collect());
    let unfitted = CostModel::from_prior(&prior);
    let fitted = cost::fit_model(&prior, &seen, EstimateRules::default());
    let error = |model: &CostModel| cost::median_relative_error(model, &coming).expect("records");
    assert_eq!(fitted.source, CostSource::Fitted);
    assert!(error(&unfitted) > 1.0, "the prior is far off here by construction: {}", error(&unfitted));
    assert!(error(&fitted) < 0.05, "{}", error(&fitted));
    let few = cost::fit_model(&prior, &seen[..4], EstimateRules::default());
    assert_eq!(few.source, CostSource::Scaled);
    assert!(error(&few) < 0.5, "{}", error(&few));
    assert_eq!(cost::fit_model(&prior, &[], EstimateRules::default()), unfitted);
}

#[test]
fn a_machine_that_became_slower_is_known_after_a_few_runs_and_outliers_are_not_taken_for_it() {
    let prior = prior();
    let mut machine = Machine { state: 11 };
    let mut seen: Vec<_> = (0..200).map(|_| machine.run()).collect();
    let slower = |run: CostRecord, times: f64| CostRecord {
        encode_s: run.encode_s * times,
        denoise_s: run.denoise_s * times,
        tail_s: run.tail_s * times,
        ..run
    };
    let before = cost::fit_model(&prior, &seen, EstimateRules::default());
    seen.extend((0..3).map(|_| slower(machine.run(), 1.7)));
    let unsure = cost::fit_model(&prior, &seen, EstimateRules::default());
    assert!((unsure.step_s(67_320) / before.step_s(67_320) - 1.0).abs() < 0.1, "three of seven runs move nothing");
    seen.extend((0..4).map(|_| slower(machine.run(), 1.7)));
    let coming: Vec<_> = (0..200).map(|_| slower(machine.run(), 1.7)).collect();
    let after = cost::fit_model(&prior, &seen, EstimateRules::default());
    let error = |model: &CostModel| cost::median_relative_error(model, &coming).expect("records");
    assert!(error(&before) > 0.35, "{}", error(&before));
    assert!(error(&after) < 0.06, "{}", error(&after));
}

/// The whole range from a slow CPU to a fast GPU, up and down, early and late: after five runs at a new speed estimates are
/// within 5 % of it, and while there are fewer than twenty runs in all, within 10 %.
#[test]
fn a_new_pace_is_followed_within_five_runs_up_and_down() {
    let prior = prior();
    let times = |run: CostRecord, times: f64| CostRecord {
        encode_s: run.encode_s * times,
        denoise_s: run.denoise_s * times,
        tail_s: run.tail_s * times,
        ..run
    };
    for (before, change) in
        [(4, 0.1), (9, 0.1), (9, 12.0), (30, 0.05), (30, 20.0), (200, 0.07), (200, 15.0), (400, 1.4), (400, 0.7)]
    {
        let mut machine = Machine { state: 29 };
        let mut seen: Vec<_> = (0..before).map(|_| machine.run()).collect();
        seen.extend((0..5).map(|_| times(machine.steady(), change)));
        let model = cost::fit_model(&prior, &seen, EstimateRules::default());
        let coming: Vec<_> = (0..100).map(|_| times(machine.steady(), change)).collect();
        let error = cost::median_relative_error(&model, &coming).expect("records");
        // A few runs do not tell sizes and steps apart well yet.
        let limit = match seen.len() {
            0..10 => 0.25,
            10..20 => 0.1,
            _ => 0.05,
        };
        assert!(error < limit, "{before} runs, then {change} times as long: {error}");
    }
}

/// Equal work on an idle machine: from the second run on, every estimate is within 5 %.
#[test]
fn a_steady_fleet_is_estimated_within_five_per_cent() {
    let prior = prior();
    let mut machine = Machine { state: 5 };
    let steady: Vec<_> = (0..60).map(|_| machine.steady()).collect();
    let first = &steady[0];
    let same = |run: &CostRecord| {
        let noise = run.total_s() / clean_s(run);
        CostRecord {
            encode_s: first.encode_s * noise,
            denoise_s: first.denoise_s * noise,
            tail_s: first.tail_s * noise,
            ..first.clone()
        }
    };
    let runs: Vec<_> = steady.iter().map(same).collect();
    let mean_s = runs.iter().map(CostRecord::total_s).sum::<f64>() / runs.len() as f64;
    for seen in 1..runs.len() {
        let model = cost::fit_model(&prior, &runs[..seen], EstimateRules::default());
        let estimate_s = model.estimate_s(&first.work(), first.hit);
        assert!((estimate_s / mean_s - 1.0).abs() < 0.05, "after {seen} runs: {estimate_s} s for {mean_s} s");
    }
}

/// The fleet's machines are replaced by others: forecasts, which know no worker, follow within five runs.
#[test]
fn a_forecast_follows_the_workers_that_run_now() {
    let prior = prior();
    let mut machine = Machine { state: 13 };
    let mut records: Vec<_> =
        (0..100).map(|_| CostRecord { worker_class: "cpu".to_owned(), ..machine.run() }).collect();
    let quick = |run: CostRecord| CostRecord { denoise_s: run.denoise_s / 20.0, ..run };
    records.extend((0..5).map(|_| quick(machine.run())));
    let book = CostBook::fit([("hunyuan-video", &prior)], &records, EstimateRules::default());
    let step = |class| book.of("hunyuan-video", class).expect("a model").step_s(67_320);
    assert_eq!(step(None), step(Some("cuda-sm90")));
    assert!(step(None) < step(Some("cpu")) / 5.0);
}

#[test]
fn the_book_keeps_classes_apart_and_falls_back_to_the_best_known() {
    let prior = prior();
    let mut machine = Machine { state: 3 };
    let mut records: Vec<_> =
        (0..12).map(|_| CostRecord { worker_class: "slow".to_owned(), denoise_s: 9000.0, ..machine.run() }).collect();
    records.extend((0..40).map(|_| machine.run()));
    let book = CostBook::fit([("hunyuan-video", &prior)], &records, EstimateRules::default());
    let step = |class| book.of("hunyuan-video", class).expect("a model").step_s(67_320);
    assert!(step(Some("slow")) > 10.0 * step(Some("cuda-sm90")));
    assert_eq!(step(None), step(Some("cuda-sm90")));
    assert_eq!(step(Some("never seen")), step(None));
    assert!(book.of("other", None).is_none());
    assert_eq!(book.iter().count(), 2);
}

#[test]
fn seconds_at_the_folders_pace_do_not_move_when_the_fleet_gets_slower() {
    let prior = prior();
    let mut machine = Machine { state: 11 };
    let seen: Vec<_> = (0..200).map(|_| machine.run()).collect();
    let slower = |one: &CostRecord| CostRecord {
        encode_s: one.encode_s * 3.0,
        denoise_s: one.denoise_s * 3.0,
        tail_s: one.tail_s * 3.0,
        ..one.clone()
    };
    let starved: Vec<_> = seen.iter().map(slower).collect();
    let baseline =
        cost::Work { tokens: 67_320, steps: 33, lower: None, passes: 1, threshold: 0.0, interpolated_mpx: 0.0 };
    let short = cost::Work { tokens: 30_000, steps: 10, ..baseline };
    let of = |model: &CostModel, work: &cost::Work| model.estimate_s(work, false) * model.to_pace_of(&prior);
    let folder = CostModel::from_prior(&prior);
    assert!((folder.to_pace_of(&prior) - 1.0).abs() < 1e-12);
    let (own, starved) = (
        cost::fit_model(&prior, &seen, EstimateRules::default()),
        cost::fit_model(&prior, &starved, EstimateRules::default()),
    );
    assert!((starved.estimate_s(&short, false) / own.estimate_s(&short, false) - 3.0).abs() < 0.05, "it is slower");
    for work in [baseline, short] {
        let (before, after) = (of(&own, &work), of(&starved, &work));
        assert!((after / before - 1.0).abs() < 0.02, "{before} s, {after} s");
    }
    assert!((of(&own, &baseline) - folder.estimate_s(&baseline, false)).abs() < 1e-6);
}

/// Interpolated runs say how long a megapixel takes, and nothing else of the model moves with them.
#[test]
fn interpolation_adds_its_own_seconds_and_leaves_the_rest_of_the_estimate_alone() {
    let prior = prior();
    let mut machine = Machine { state: 31 };
    let plain: Vec<_> = (0..40).map(|_| machine.run()).collect();
    let interpolated: Vec<_> =
        plain.iter().map(|run| CostRecord { interpolated_mpx: 33.0, interpolate_s: 3.3, ..run.clone() }).collect();
    let work = cost::Work { tokens: 67_320, steps: 33, lower: None, passes: 1, threshold: 0.0, interpolated_mpx: 33.0 };
    let without = cost::Work { interpolated_mpx: 0.0, ..work };
    let estimate = |records: &[CostRecord], work: &cost::Work| {
        cost::fit_model(&prior, records, EstimateRules::default()).estimate_s(work, false)
    };
    let added = |records: &[CostRecord]| estimate(records, &work) - estimate(records, &without);
    assert!((added(&[]) - 33.0 * 0.02).abs() < 1e-9, "the prior's before there are runs");
    assert!((added(&plain) - 33.0 * 0.02).abs() < 1e-9, "and while none was interpolated");
    assert!((added(&interpolated) - 3.3).abs() < 1e-9);
    assert!((estimate(&interpolated, &without) - estimate(&plain, &without)).abs() < 1e-9);
}
