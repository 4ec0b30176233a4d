//! Goal: dividing jobs between workers with few and with many devices starves nobody and leaves nothing idle.
//! Method: a fleet in steps of ten seconds, with the rule as the scheduler applies it; two tenants take turns where both may go.

use std::collections::VecDeque;

use optimizer::several::{Fleet, Kind, Part, divide};

const STEP_S: f64 = 10.0;
/// Seconds of a premium job on few and on many devices.
const PREMIUM_S: (f64, f64) = (330.0, 100.0);
/// The same of another job.
const OTHER_S: (f64, f64) = (200.0, 60.0);

/// Workers by when they are free, and waiting jobs by when they were submitted.
#[derive(Default)]
struct Simulated {
    now: f64,
    few: Vec<f64>,
    many: Vec<f64>,
    premium: VecDeque<f64>,
    others: VecDeque<f64>,
    turn: bool,
    /// Longest wait of a premium job and of another one.
    waited: (f64, f64),
    /// Jobs that were started: premium and others, on few and on many devices.
    started: [[u32; 2]; 2],
}

impl Simulated {
    fn new(few: usize, many: usize) -> Self {
        Self { few: vec![0.0; few], many: vec![0.0; many], ..Self::default() }
    }

    fn kind(&self, workers: &[f64]) -> Kind {
        let count = |number: usize| u32::try_from(number).expect("a few");
        let free = workers.iter().filter(|until| **until <= self.now).count();
        Kind { slots: count(workers.len()), free: count(free), queued: 0 }
    }

    fn step(&mut self) {
        let waiting = |jobs: &VecDeque<f64>| u32::try_from(jobs.len()).expect("a few");
        let division = divide(&Fleet {
            few: self.kind(&self.few),
            many: self.kind(&self.many),
            premium: waiting(&self.premium),
            others: waiting(&self.others),
            few_s: PREMIUM_S.0,
            many_s: PREMIUM_S.1,
        });
        self.start(division.many, true);
        self.start(division.few, false);
        self.now += STEP_S;
    }

    fn start(&mut self, mut part: Part, on_many: bool) {
        let places = if on_many { self.many.len() } else { self.few.len() };
        for place in 0..places {
            let until = if on_many { self.many[place] } else { self.few[place] };
            if until > self.now {
                continue;
            }
            let can = (part.premium > 0 && !self.premium.is_empty(), part.others > 0 && !self.others.is_empty());
            let is_premium = match can {
                (false, false) => return,
                (true, true) => {
                    self.turn = !self.turn;
                    self.turn
                }
                (premium, _) => premium,
            };
            let submitted = if is_premium { self.premium.pop_front() } else { self.others.pop_front() };
            let waited = self.now - submitted.expect("one waits");
            let (left, longest, takes) = if is_premium {
                (&mut part.premium, &mut self.waited.0, PREMIUM_S)
            } else {
                (&mut part.others, &mut self.waited.1, OTHER_S)
            };
            *left -= 1;
            *longest = longest.max(waited);
            self.started[usize::from(!is_premium)][usize::from(on_many)] += 1;
            if on_many {
                self.many[place] = self.now + takes.1;
            } else {
                self.few[place] = self.now + takes.0;
            }
        }
    }

    fn run_dry(&mut self) {
        for _ in 0..10_000 {
            if self.premium.is_empty() && self.others.is_empty() {
                return;
            }
            self.step();
        }
        panic!("{} premium and {} other jobs starve", self.premium.len(), self.others.len());
    }
}

#[test]
fn a_flood_of_premium_jobs_uses_all_workers_and_leaves_others_their_turns() {
    let mut fleet = Simulated::new(8, 2);
    fleet.premium.extend([0.0; 400]);
    for round in 0..60 {
        fleet.others.push_back(fleet.now);
        for _ in 0..12 {
            fleet.step();
        }
        // Between the arrivals at most a few jobs wait, however long the flood is.
        assert!(fleet.others.len() <= 2, "{} wait after round {round}", fleet.others.len());
    }
    assert!(!fleet.premium.is_empty(), "the flood lasts");
    assert!(fleet.waited.1 <= PREMIUM_S.0 + STEP_S, "another job waited {} s", fleet.waited.1);
    assert!(fleet.started[0][0] > 50, "premium jobs go to workers with few devices, too: {:?}", fleet.started);
    assert_eq!(fleet.started[1][1], 0, "workers with many devices are for premium jobs now");
    fleet.run_dry();
}

#[test]
fn either_kind_of_workers_alone_takes_everything() {
    for (few, many) in [(8, 0), (0, 2)] {
        let mut fleet = Simulated::new(few, many);
        fleet.premium.extend([0.0; 40]);
        fleet.others.extend([0.0; 40]);
        fleet.run_dry();
        let on = usize::from(many > 0);
        assert_eq!((fleet.started[0][on], fleet.started[1][on]), (40, 40));
    }
}

#[test]
fn an_idle_fleet_renders_everything_on_many_devices() {
    let mut fleet = Simulated::new(8, 2);
    for _ in 0..20 {
        fleet.others.push_back(fleet.now);
        for _ in 0..12 {
            fleet.step();
        }
    }
    assert_eq!(fleet.started, [[0, 0], [0, 20]]);
    assert_eq!(fleet.waited, (0.0, 0.0));
}

#[test]
fn a_backlog_of_other_jobs_never_delays_premium_beyond_its_gain() {
    let mut fleet = Simulated::new(8, 2);
    fleet.others.extend([0.0; 400]);
    for _ in 0..40 {
        fleet.premium.push_back(fleet.now);
        for _ in 0..6 {
            fleet.step();
        }
    }
    assert!(!fleet.others.is_empty(), "the backlog lasts");
    assert!(fleet.waited.0 <= PREMIUM_S.0 - PREMIUM_S.1, "a premium job waited {} s", fleet.waited.0);
    assert!(fleet.started[0][1] >= 35, "{:?}", fleet.started);
    fleet.run_dry();
}
