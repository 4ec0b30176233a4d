//! What the view shows: the last full read, the progress since then, and the user's selection. No I/O.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::Value;

use crate::job::{Job, Progress};
use crate::top::news::{News, Snapshot};

/// The state of the view.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Address of the server.
    pub(crate) server: String,
    /// The last full read.
    pub(crate) snapshot: Snapshot,
    /// Why the last full read failed, and since when they fail.
    pub(crate) trouble: Option<(String, Instant)>,
    /// The last message.
    pub(crate) note: String,
    progress: HashMap<String, Progress>,
    selected: usize,
    /// The job whose cancellation must be confirmed.
    question: Option<String>,
}

impl Screen {
    /// An empty view.
    pub(crate) fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            snapshot: Snapshot::default(),
            trouble: None,
            note: String::new(),
            progress: HashMap::new(),
            selected: 0,
            question: None,
        }
    }

    /// Takes in something new.
    pub(crate) fn apply(&mut self, news: News) {
        match news {
            News::Snapshot(snapshot) => {
                // The selection stays on its job while the rows move.
                let selected = self.selected_id();
                self.snapshot = *snapshot;
                self.trouble = None;
                let jobs = &self.snapshot.jobs;
                self.progress.retain(|id, _| jobs.iter().any(|job| Job(job).id() == id && !Job(job).has_ended()));
                let at = selected.and_then(|id| jobs.iter().position(|job| Job(job).id() == id));
                self.selected = at.unwrap_or(self.selected).min(jobs.len().saturating_sub(1));
            }
            News::Progress(progress) => {
                self.progress.insert(progress.job_id.clone(), progress);
            }
            News::Failed(reason) => {
                let since = self.trouble.take().map_or_else(Instant::now, |(_, since)| since);
                self.trouble = Some((reason, since));
            }
            News::Note(text) => self.note = text,
        }
    }

    /// Progress of a running job: the newer of its row and its events.
    pub(crate) fn progress_of(&self, job: &Value) -> Option<Progress> {
        let row = Job(job).progress()?;
        match self.progress.get(&row.job_id) {
            Some(event) if event.step >= row.step => Some(event.clone()),
            _ => Some(row),
        }
    }

    /// Row of the selected job.
    pub(crate) fn selected(&self) -> Option<usize> {
        if self.snapshot.jobs.is_empty() { None } else { Some(self.selected) }
    }

    fn selected_id(&self) -> Option<String> {
        Some(Job(self.snapshot.jobs.get(self.selected)?).id().to_owned())
    }

    /// Moves the selection by this many rows.
    pub(crate) fn select(&mut self, by: isize) {
        let last = self.snapshot.jobs.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(by).min(last);
    }

    /// Asks whether to cancel the selected job, if it can be cancelled.
    pub(crate) fn ask_to_cancel(&mut self) {
        let job = self.snapshot.jobs.get(self.selected).map(Job);
        self.question = job.filter(|job| !job.has_ended()).map(|job| job.id().to_owned());
        self.note.clear();
    }

    /// The open question, if any.
    pub(crate) fn question(&self) -> Option<&str> {
        self.question.as_deref()
    }

    /// Closes the question; returns its job.
    pub(crate) fn take_question(&mut self) -> Option<String> {
        self.question.take()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(ids: &[&str]) -> News {
        let job = |id: &&str| json!({ "job_id": id, "status": "running", "progress": { "step": 3, "steps": 9 } });
        News::Snapshot(Box::new(Snapshot { jobs: ids.iter().map(job).collect(), ..Snapshot::default() }))
    }

    #[test]
    fn the_selection_stays_on_its_job() {
        let mut screen = Screen::new("x");
        screen.apply(snapshot(&["a", "b", "c"]));
        screen.select(1);
        screen.apply(snapshot(&["new", "a", "b"]));
        assert_eq!(screen.selected(), Some(2));
        screen.apply(snapshot(&["new"]));
        assert_eq!(screen.selected(), Some(0), "its job is gone");
        screen.apply(snapshot(&[]));
        assert_eq!(screen.selected(), None);
    }

    #[test]
    fn late_events_do_not_turn_progress_back() {
        let mut screen = Screen::new("x");
        screen.apply(snapshot(&["a"]));
        let event = |step| News::Progress(Progress { job_id: "a".into(), step, steps: 9, ..Progress::default() });
        screen.apply(event(2));
        let job = screen.snapshot.jobs[0].clone();
        assert_eq!(screen.progress_of(&job).unwrap().step, 3);
        screen.apply(event(5));
        assert_eq!(screen.progress_of(&job).unwrap().step, 5);
    }

    #[test]
    fn only_an_unfinished_job_can_be_cancelled_and_any_other_key_means_no() {
        let mut screen = Screen::new("x");
        screen.ask_to_cancel();
        assert_eq!(screen.question(), None);
        screen.apply(snapshot(&["a"]));
        screen.ask_to_cancel();
        assert_eq!(screen.take_question().as_deref(), Some("a"));
        assert_eq!(screen.question(), None);
    }
}
