//! What the feed tells the view.

use serde_json::{Value, json};

use crate::job::Progress;

/// A full read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// `GET /api/stats`.
    pub(crate) stats: Value,
    /// `GET /api/settings`.
    pub(crate) settings: Value,
    /// The workers.
    pub(crate) workers: Vec<Value>,
    /// Running jobs, then waiting ones, then those that have ended.
    pub(crate) jobs: Vec<Value>,
}

impl Snapshot {
    /// As one JSON document.
    pub(crate) fn document(&self) -> Value {
        json!({ "stats": self.stats, "settings": self.settings, "workers": self.workers, "jobs": self.jobs })
    }
}

/// Something to show.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// A full read.
    Snapshot(Box<Snapshot>),
    /// Progress of a run.
    Progress(Progress),
    /// A full read failed.
    Failed(String),
    /// A message for the user.
    Note(String),
}
