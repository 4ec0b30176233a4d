//! Which runs give their slots to jobs that would miss their deadlines otherwise.
//!
//! A run may be asked if it has no deadline of its own to meet, and if it belongs to the same tenant or to a tenant that has
//! received no less than its share compared with the tenant of the waiting job: a deadline never takes more than its tenant's
//! share of the fleet. Nothing is asked as long as a slot is expected to become free in time.

/// A run that occupies a slot of the pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Estimated seconds until it ends; 0 once it was asked for its slot.
    pub remaining_s: f64,
    /// Whether it may be asked: it has no deadline to meet, is denoising, and was not asked too often.
    pub may_yield: bool,
    /// Number of its tenant, for comparison only.
    pub tenant: u128,
    /// Where that tenant's share ends in virtual time.
    pub share: f64,
}

/// A waiting job that can still meet its deadline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Urgent {
    /// Seconds until it must start.
    pub slack_s: f64,
    /// Number of its tenant, for comparison only.
    pub tenant: u128,
    /// Where that tenant's share ends in virtual time.
    pub share: f64,
}

/// A run that is to give its slot to a waiting job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swap {
    /// Index of the waiting job.
    pub urgent: usize,
    /// Index of the run.
    pub run: usize,
}

/// Chooses runs for the waiting jobs of one pool without free slots.
///
/// `urgent` is in the order of their slack. `ahead` jobs are released already and take the first slots that become free.
/// A run that ends within `notice_s` is not worth asking.
#[must_use]
pub fn choose(urgent: &[Urgent], runs: &[Run], ahead: usize, notice_s: f64) -> Vec<Swap> {
    let mut ends: Vec<f64> = runs.iter().map(|run| run.remaining_s).collect();
    ends.sort_by(f64::total_cmp);
    let mut ends = ends.into_iter().skip(ahead).peekable();
    let mut asked = vec![false; runs.len()];
    let mut swaps = Vec::new();
    for (index, job) in urgent.iter().enumerate() {
        if ends.peek().is_some_and(|end| *end <= job.slack_s) {
            ends.next();
            continue;
        }
        let possible = |(at, run): &(usize, &Run)| {
            !asked[*at]
                && run.may_yield
                && run.remaining_s > notice_s
                && (run.tenant == job.tenant || run.share >= job.share)
        };
        // The longest remainder: its slot would have become free last.
        let longest =
            runs.iter().enumerate().filter(possible).max_by(|a, b| a.1.remaining_s.total_cmp(&b.1.remaining_s));
        if let Some((run, _)) = longest {
            asked[run] = true;
            swaps.push(Swap { urgent: index, run });
        }
    }
    swaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(remaining_s: f64, tenant: u128, share: f64) -> Run {
        Run { remaining_s, may_yield: true, tenant, share }
    }

    fn urgent(slack_s: f64) -> Urgent {
        Urgent { slack_s, tenant: 1, share: 10.0 }
    }

    #[test]
    fn nothing_is_asked_while_slots_become_free_in_time() {
        let runs = [run(5.0, 1, 10.0), run(300.0, 1, 10.0)];
        assert_eq!(choose(&[urgent(20.0)], &runs, 0, 10.0), []);
        // Two jobs, and only one slot becomes free in time.
        assert_eq!(choose(&[urgent(20.0), urgent(20.0)], &runs, 0, 10.0), [Swap { urgent: 1, run: 1 }]);
        // The slot goes to a job that is released already.
        assert_eq!(choose(&[urgent(20.0)], &runs, 1, 10.0), [Swap { urgent: 0, run: 1 }]);
    }

    #[test]
    fn a_run_with_a_deadline_of_its_own_is_left_alone() {
        let kept = Run { may_yield: false, ..run(300.0, 1, 10.0) };
        assert_eq!(choose(&[urgent(20.0)], &[kept], 0, 10.0), []);
    }

    #[test]
    fn a_tenant_below_its_share_loses_nothing_to_another() {
        assert_eq!(choose(&[urgent(20.0)], &[run(300.0, 2, 9.0)], 0, 10.0), []);
        assert_eq!(choose(&[urgent(20.0)], &[run(300.0, 2, 11.0)], 0, 10.0), [Swap { urgent: 0, run: 0 }]);
        assert_eq!(choose(&[urgent(20.0)], &[run(300.0, 1, 9.0)], 0, 10.0), [Swap { urgent: 0, run: 0 }]);
    }

    #[test]
    fn each_run_is_asked_once_and_the_longest_first() {
        let runs = [run(100.0, 1, 10.0), run(300.0, 1, 10.0)];
        let swaps = choose(&[urgent(20.0), urgent(21.0), urgent(22.0)], &runs, 0, 10.0);
        assert_eq!(swaps, [Swap { urgent: 0, run: 1 }, Swap { urgent: 1, run: 0 }]);
    }
}
