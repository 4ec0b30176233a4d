//! What became of the lines of a batch when they were submitted.

use std::collections::HashMap;

use crate::failure::Failure;

/// What became of the lines.
#[derive(Debug, Default)]
pub(crate) struct Submitted {
    /// Line number of each job.
    pub(crate) jobs: HashMap<String, usize>,
    /// Number of lines that the server refused.
    pub(crate) refused: usize,
}

impl Submitted {
    /// Failure if any line was refused.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let lines = self.jobs.len() + self.refused;
        match self.refused {
            0 => Ok(()),
            refused => Err(Failure::Partly(format!(
                "{refused} of {lines} lines were refused; correct them and run the command again"
            ))),
        }
    }
}
