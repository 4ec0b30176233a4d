//! Simulates a day of bursty traffic on a fleet of H100s, and compares orders of the queue: how many deadlines are met, how long
//! jobs wait, and what is wasted.
//!
//! `cargo run --release -p optimizer --example deadlines [WORKERS] [SEED]` prints the table of `docs/deadlines.md`. Estimates come
//! from the real planner and the manifest of the released model, the choice of preempted runs and the admission are the real
//! functions, and the order is the one that a test compares with the SQL of the fleet.

mod order;
mod simulate;
mod traffic;

use std::io::Write;

use simulate::{Fleet, Outcome, Policy};

/// Share of the workers that the day's work keeps busy: bursts exceed the fleet, and most of the day does not.
const LOADS: [f64; 2] = [0.85, 0.95];

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().unwrap_or_default());
    let workers: usize = arguments.next().unwrap_or(10_000);
    let seed = arguments.next().unwrap_or(7) as u64;
    let manifest = traffic::manifest();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| load | order | jobs | rejected | deadlines met | mean wait | mean wait without a deadline | preemptions | lost work | work on late videos |"
    )?;
    writeln!(out, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")?;
    for load in LOADS {
        let jobs = traffic::day(&manifest, workers, load, seed);
        let policies = [
            ("first come, first served", Policy::FirstCome),
            ("fair shares", Policy::FairShare),
            ("deadlines", Policy::Deadlines),
            ("deadlines, rejecting", Policy::Rejecting),
        ];
        for (name, policy) in policies {
            let outcome = Fleet::new(policy, &jobs, workers).run();
            writeln!(out, "{}", row(load, name, &outcome))?;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "numbers of jobs")]
fn row(load: f64, name: &str, outcome: &Outcome) -> String {
    let share = |part: f64, whole: f64| 100.0 * part / whole.max(1.0);
    let finished = outcome.jobs - outcome.rejected;
    let accepted = outcome.with_deadline - outcome.rejected;
    format!(
        "| {:.0} % | {name} | {} | {:.1} % | {:.1} % | {:.0} s | {:.0} s | {} | {:.3} % | {:.1} % |",
        100.0 * load,
        outcome.jobs,
        share(outcome.rejected as f64, outcome.with_deadline as f64),
        share(outcome.met as f64, accepted as f64),
        outcome.wait_s / finished.max(1) as f64,
        outcome.plain_wait_s / outcome.plain.max(1) as f64,
        outcome.preemptions,
        share(outcome.lost_s, outcome.run_s),
        share(outcome.late_s, outcome.run_s),
    )
}
