//! What a render took: seconds of each stage, peak memory.

use std::{io::Write, path::Path, time::Instant};

use anyhow::Context;
use hunyuan::EngineInfo;

use super::request::Resolved;
use super::thresholds::{self, Point};

/// Collected while it runs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    stages: Vec<(&'static str, f64)>,
    steps: String,
    /// What other thresholds of the step cache gave.
    pub(crate) thresholds: Vec<Point>,
}

impl Report {
    /// Runs a stage and notes its time.
    pub(crate) fn stage<T, E>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let began = Instant::now();
        let result = work();
        self.stages.push((name, began.elapsed().as_secs_f64()));
        result
    }

    /// Notes the seconds of each step. The median says what a step costs; the first one pays for starting up.
    pub(crate) fn steps(&mut self, seconds: &[f64], skipped: usize, lower: usize) {
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        self.steps = format!("{} steps, {skipped} of them reused, median {median:.3} s", seconds.len());
        if lower > 0 {
            self.steps.push_str(&format!(", {lower} at half the size"));
        }
    }

    /// Prints it.
    /// `device_peak` is the most memory that was taken on a GPU, bytes; none on a CPU.
    pub(crate) fn print(
        &self,
        resolved: &Resolved,
        info: &EngineInfo,
        device_peak: Option<u64>,
        out: Option<&Path>,
    ) -> anyhow::Result<()> {
        let mut text = format!(
            "{}x{}, {} frames, on {} with {}, {} threads\n",
            resolved.width, resolved.height, resolved.frames, info.device, info.dtype, info.threads
        );
        for (name, seconds) in &self.stages {
            let note = if *name == "denoise" { self.steps.as_str() } else { "" };
            text.push_str(format!("{name:<8} {seconds:>9.3} s  {note}").trim_end());
            text.push('\n');
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        if let Some(bytes) = device_peak {
            text.push_str(&format!("peak memory on {} {:.1} MiB\n", info.device, mib(bytes)));
        }
        match peak_memory_bytes() {
            Some(bytes) => text.push_str(&format!("peak memory {:.1} MiB\n", mib(bytes))),
            None => text.push_str("peak memory unknown on this system\n"),
        }
        text.push_str(&thresholds::lines(&self.thresholds));
        if let Some(out) = out {
            text.push_str(&format!("wrote {}\n", out.display()));
        }
        std::io::stdout().write_all(text.as_bytes()).context("print the report")
    }
}

/// Peak memory of this process, bytes.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
