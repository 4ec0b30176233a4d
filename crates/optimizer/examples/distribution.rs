//! Prints what the prompt analysis does to real prompts: the tables of `docs/optimizations.md`.
//!
//! `cargo run --release -p optimizer --example distribution [FILE]` reads one prompt per line; without a file it uses
//! VBench's prompts. Lines that begin with `#` are skipped. `--all` lists every prompt with its score instead.

use std::io::Write;

use domain::Complexity;
use domain::model::StepRanges;
use optimizer::{Analysis, analyze, scoring};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = arguments.iter().any(|argument| argument == "--all");
    let file = arguments.iter().find(|argument| !argument.starts_with("--"));
    let text = match file {
        Some(path) => std::fs::read_to_string(path)?,
        None => include_str!("../tests/data/vbench-prompts.txt").to_owned(),
    };
    let prompts: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).collect();
    let analysed: Vec<(&str, Analysis)> = prompts.iter().map(|prompt| (*prompt, analyze(prompt))).collect();
    let mut out = std::io::stdout().lock();
    if all {
        for (prompt, found) in &analysed {
            writeln!(out, "{}\t{:.2}\t{prompt}\t{}", found.complexity, found.score, because(found))?;
        }
        return Ok(());
    }
    table(&mut out, &analysed)?;
    examples(&mut out, &analysed)
}

fn auto_steps(score: f64) -> u32 {
    let range = StepRanges::default().auto;
    scoring::steps_in(score, range.min, range.max)
}

fn table(out: &mut impl Write, analysed: &[(&str, Analysis)]) -> std::io::Result<()> {
    writeln!(out, "| class | prompts | share | steps (auto) | mean steps |\n|---|---:|---:|---|---:|")?;
    let mut total = 0;
    for class in Complexity::ALL {
        let steps: Vec<u32> =
            analysed.iter().filter(|(_, a)| a.complexity == *class).map(|(_, a)| auto_steps(a.score)).collect();
        total += steps.iter().sum::<u32>();
        let (least, most) = (steps.iter().min().unwrap_or(&0), steps.iter().max().unwrap_or(&0));
        let share = 100.0 * steps.len() as f64 / analysed.len() as f64;
        let mean = f64::from(steps.iter().sum::<u32>()) / steps.len().max(1) as f64;
        writeln!(out, "| {class} | {} | {share:.1} % | {least}-{most} | {mean:.1} |", steps.len())?;
    }
    writeln!(out, "| all | {} | 100 % | | {:.1} |\n", analysed.len(), f64::from(total) / analysed.len() as f64)
}

/// Twenty prompts spread evenly over the classes and within each by score.
fn examples(out: &mut impl Write, analysed: &[(&str, Analysis)]) -> std::io::Result<()> {
    writeln!(out, "| prompt | class | score | steps | because |\n|---|---|---:|---:|---|")?;
    for class in Complexity::ALL {
        let mut of_class: Vec<_> = analysed.iter().filter(|(_, a)| a.complexity == *class).collect();
        of_class.sort_by(|a, b| a.1.score.total_cmp(&b.1.score));
        let count = of_class.len();
        let picks: Vec<usize> = (0..5.min(count)).map(|i| i * (count - 1) / 4.min(count.max(2) - 1)).collect();
        for (prompt, found) in picks.into_iter().filter_map(|pick| of_class.get(pick)) {
            let steps = auto_steps(found.score);
            writeln!(out, "| {prompt} | {class} | {:.2} | {steps} | {} |", found.score, because(found))?;
        }
    }
    Ok(())
}

fn because(found: &Analysis) -> String {
    let shown = found.factors.iter().filter(|factor| factor.score > 0.0);
    let reasons: Vec<String> = shown
        .map(|factor| {
            let words = if factor.words.is_empty() { String::new() } else { format!(" ({})", factor.words.join(", ")) };
            format!("{} {:.2}{words}", factor.factor, factor.score)
        })
        .collect();
    if reasons.is_empty() { "nothing that demands more".to_owned() } else { reasons.join("; ") }
}
