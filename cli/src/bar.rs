//! Shows a job on its way to the end: as a progress bar on a terminal, as lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::follow::Seen;
use crate::job::{Job, Progress};
use crate::out::Out;
use crate::text::{dollars, duration};

/// The display of one job.
pub(crate) struct Display {
    bar: Option<ProgressBar>,
    out: Out,
    /// Price of a GPU hour in US dollars, for estimated costs.
    gpu_hour_usd: Option<f64>,
    cost: Option<f64>,
    /// Estimated seconds of the whole run, for the time left until the run's own pace is known.
    estimate_s: Option<f64>,
    last_line: String,
}

impl Display {
    /// A display that shows nothing yet.
    pub(crate) fn new(out: Out, gpu_hour_usd: Option<f64>) -> Self {
        let bar = out.wants_bar().then(|| {
            let bar = ProgressBar::new(0);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let display = Self { bar, out, gpu_hour_usd, cost: None, estimate_s: None, last_line: String::new() };
        display.style(WAITING);
        display
    }

    /// Shows what was seen.
    pub(crate) fn show(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Job(job) => self.job(Job(job)),
            Seen::Progress(progress) => self.progress(progress),
            Seen::Event(..) => {}
        }
    }

    fn job(&mut self, job: Job<'_>) {
        self.cost = job.cost_usd(self.gpu_hour_usd);
        self.estimate_s = job.estimate_s();
        if job.status() == "running" {
            // Events bring newer numbers; the row only helps until the first of them.
            let progress = job.progress().unwrap_or_default();
            if self.bar.as_ref().is_none_or(|bar| bar.position() <= progress.step) {
                self.progress(&progress);
            }
            return;
        }
        let mut text = job.status().to_owned();
        if let Some(ahead) = job.0["queue_position"].as_i64() {
            text.push_str(&match ahead {
                0 => ", next in line".to_owned(),
                1 => ", 1 job ahead".to_owned(),
                more => format!(", {more} jobs ahead"),
            });
        }
        if let Some(wait_s) = job.0["queue_wait_s"].as_f64().filter(|wait_s| *wait_s >= 1.0) {
            text.push_str(&format!(", starts in about {}", duration(wait_s)));
        }
        if job.0["cancel_requested"] == true {
            text.push_str(", stopping");
        }
        self.say(WAITING, text);
    }

    fn progress(&mut self, progress: &Progress) {
        let stage = progress.stage.as_deref().unwrap_or("starting");
        #[expect(clippy::cast_precision_loss, reason = "a number of steps is far below 2^52")]
        let undone = progress.steps.saturating_sub(progress.step) as f64 / progress.steps.max(1) as f64;
        let remaining_s = progress.remaining_s.or_else(|| Some(self.estimate_s? * undone));
        let left = remaining_s.map_or_else(String::new, |left| format!(", {} left", duration(left)));
        let Some(bar) = &self.bar else {
            // Without a terminal a line per stage is enough.
            self.say(RUNNING, stage.to_owned());
            return;
        };
        bar.set_length(progress.steps);
        bar.set_position(progress.step);
        self.say(RUNNING, format!("{stage}{left}"));
    }

    fn say(&mut self, style: &str, text: String) {
        let cost = self.cost.map_or_else(String::new, |cost| format!(", about {}", dollars(cost)));
        match &self.bar {
            Some(bar) => {
                self.style(style);
                bar.set_message(format!("{text}{cost}"));
            }
            None if text != self.last_line => {
                self.out.hint(&text);
                self.last_line = text;
            }
            None => {}
        }
    }

    fn style(&self, template: &str) {
        if let Some(bar) = &self.bar {
            let style = ProgressStyle::with_template(template).expect("a valid template; this is a bug");
            bar.set_style(style.progress_chars("=> "));
        }
    }

    /// Removes the bar, so that what is printed next begins on a clean line.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.end();
    }
}

const WAITING: &str = "{spinner} {msg}";
const RUNNING: &str = "{spinner} step {pos}/{len} [{bar:24}] {msg}";
