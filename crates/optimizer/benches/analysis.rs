//! Prompts per second of one core's time, compared with named baselines, on VBench's prompts and on long ones.
//!
//! `cargo bench -p optimizer --profile release`. The baselines: *substring scan* is the usual way to use a word list
//! (lower-case the prompt, then search it for each word), and finds "car" in "scar"; *words only* splits the prompt at
//! spaces and does nothing else, which bounds what any analysis could reach.

use std::hint::black_box;
use std::io::Write;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Processor time of each measurement, seconds: long compared with the clock's resolution, short enough to repeat.
const MEASURE_S: f64 = 1.0;
/// Best of this many rounds: neighbours evict caches even though their time does not count.
const ROUNDS: usize = 3;

/// Seconds of processor time that this thread has used. A wall clock would also measure the neighbours.
fn core_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the kernel knows this thread");
    (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
}

fn main() -> std::io::Result<()> {
    let short: Vec<&str> =
        include_str!("../tests/data/vbench-prompts.txt").lines().filter(|line| !line.starts_with('#')).collect();
    let labelled: Vec<&str> = include_str!("../tests/labelled.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t').filter(|_| !line.starts_with('#')).map(|(_, prompt)| prompt))
        .collect();
    let very: Vec<&str> = labelled.iter().copied().filter(|prompt| prompt.len() > 200).collect();
    let words = lexicon_words();
    let mut out = std::io::stdout().lock();
    writeln!(out, "| prompts | bytes each | method | prompts/s |\n|---|---:|---|---:|")?;
    for (name, prompts) in [("VBench", &short), ("labelled, English and Chinese", &labelled), ("very long", &very)] {
        let bytes = prompts.iter().map(|prompt| prompt.len()).sum::<usize>() / prompts.len();
        let rates = [
            ("optimizer::analyze", rate(prompts, |prompt| optimizer::analyze(prompt).factors.len())),
            ("baseline: substring scan", rate(prompts, |prompt| substring_scan(prompt, &words))),
            ("baseline: words only", rate(prompts, |prompt| prompt.split_whitespace().count())),
        ];
        for (method, rate) in rates {
            writeln!(out, "| {name} | {bytes} | {method} | {rate:.0} |")?;
        }
    }
    Ok(())
}

/// Every quoted string of the English lexicon, as the substring scan would use it.
fn lexicon_words() -> Vec<String> {
    let text = include_str!("../lexicon/en.toml");
    let data = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    data.split('"').skip(1).step_by(2).flat_map(|entry| entry.split('/')).map(str::to_owned).collect()
}

fn substring_scan(prompt: &str, words: &[String]) -> usize {
    let lower = prompt.to_lowercase();
    words.iter().filter(|word| lower.contains(word.as_str())).count()
}

fn rate(prompts: &[&str], mut work: impl FnMut(&str) -> usize) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let (begin_s, mut done) = (core_s(), 0_usize);
        while core_s() - begin_s < MEASURE_S {
            for prompt in prompts {
                black_box(work(black_box(prompt)));
            }
            done += prompts.len();
        }
        best = best.max(done as f64 / (core_s() - begin_s));
    }
    best
}
