//! Shows progress: a bar on a terminal, lines otherwise. Written to standard error, so that standard output holds only results.

use std::{
    io::{IsTerminal, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of one stage.
pub(crate) struct Progress {
    name: &'static str,
    bar: Option<ProgressBar>,
    total: AtomicU64,
}

impl Progress {
    /// A stage of `total` parts; 0 when the total is reported later.
    pub(crate) fn new(name: &'static str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total as u64);
            let style =
                ProgressStyle::with_template("{prefix:>8} {bar:32} {pos}/{len}  {elapsed} so far, {eta} left  {msg}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.set_prefix(name);
            bar
        });
        Self { name, bar, total: AtomicU64::new(total as u64) }
    }

    /// `done` parts are done.
    pub(crate) fn step(&self, done: usize, note: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(note.to_owned());
            }
            None => line(&format!("{} {done}/{}  {note}", self.name, self.total.load(Ordering::Relaxed))),
        }
    }

    /// The same for a stage that reports its total as it goes. Without a terminal, one line per tenth.
    pub(crate) fn part(&self, done: usize, total: usize) {
        self.total.store(total as u64, Ordering::Relaxed);
        match &self.bar {
            Some(bar) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            None if total > 0 && (done * 10 / total) > (done.saturating_sub(1) * 10 / total) => {
                line(&format!("{} {} %", self.name, done * 100 / total));
            }
            None => {}
        }
    }

    /// The stage is over.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

fn line(text: &str) {
    // The reader may have closed the stream; the video matters, not this line.
    drop(writeln!(std::io::stderr(), "{text}"));
}
