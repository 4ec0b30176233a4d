//! The file that remembers which lines of a batch were submitted: JSON lines, only ever appended to.
//!
//! It saves requests and shows the user what happened. It is not what prevents doubles: if it is lost, or a line was submitted
//! and the process died before writing it down, the idempotency key leads to the same job.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// One submitted line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Number of the line.
    pub(crate) line: usize,
    /// Idempotency key of the submission.
    pub(crate) key: String,
    /// The job.
    pub(crate) job_id: String,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct State {
    file: Option<File>,
    name: std::path::PathBuf,
    by_key: HashMap<String, Entry>,
}

impl State {
    /// Opens the file, and locks it against a second run; `None` remembers nothing.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { file: None, name: std::path::PathBuf::new(), by_key: HashMap::new() });
        };
        let failed = |error: &std::io::Error| Failure::file("open", path, error);
        let mut file = File::options().read(true).append(true).create(true).open(path).map_err(|e| failed(&e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::Usage(format!("{} is in use by another `fleet batch`", path.display())));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| failed(&error))?;
        // The last line may be cut off if the machine lost power while it was written.
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        let by_key = entries.map(|entry| (entry.key.clone(), entry)).collect();
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(|error| failed(&error))?;
        }
        Ok(Self { file: Some(file), name: path.to_owned(), by_key })
    }

    /// The job of a line that was submitted before.
    pub(crate) fn job_of(&self, key: &str) -> Option<&str> {
        self.by_key.get(key).map(|entry| entry.job_id.as_str())
    }

    /// Writes down a submission.
    pub(crate) fn add(&mut self, entry: Entry) -> Result<(), Failure> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&entry).map_err(|error| Failure::Local(error.to_string()))?;
            line.push(b'\n');
            file.write_all(&line).map_err(|error| Failure::file("write", &self.name, &error))?;
        }
        self.by_key.insert(entry.key.clone(), entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: usize) -> Entry {
        Entry { line, key: format!("key-{line}"), job_id: format!("job-{line}") }
    }

    #[test]
    fn it_remembers_across_runs_and_survives_a_line_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut state = State::open(Some(&path)).unwrap();
        state.add(entry(1)).unwrap();
        drop(state);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"line\":2,\"key\":\"ke");
        std::fs::write(&path, text).unwrap();
        let mut state = State::open(Some(&path)).unwrap();
        assert_eq!((state.job_of("key-1"), state.job_of("key-2")), (Some("job-1"), None));
        state.add(entry(2)).unwrap();
        drop(state);
        assert_eq!(State::open(Some(&path)).unwrap().job_of("key-2"), Some("job-2"));
    }

    #[test]
    fn two_runs_do_not_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let _first = State::open(Some(&path)).unwrap();
        assert!(matches!(State::open(Some(&path)), Err(Failure::Usage(_))));
    }
}
