//! What goes to standard output (results, for people or as JSON lines) and to standard error (everything else).

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::failure::Failure;

/// How a command reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    /// Results are JSON, one document per line.
    pub(crate) json: bool,
    /// Hints and progress are left out.
    pub(crate) quiet: bool,
}

impl Out {
    /// Prints one line of the result.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Local(format!("cannot write the output: {error}")),
        })
    }

    /// Prints the result: the document with `--json`, otherwise what `text` makes of it.
    pub(crate) fn result(self, document: &Value, text: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        let shown = if self.json { document.to_string() } else { text(document) };
        self.line(&shown)
    }

    /// Prints a hint for people, unless they asked for silence.
    pub(crate) fn hint(self, text: &str) {
        if !self.quiet {
            to_stderr(text);
        }
    }

    /// Whether a progress bar makes sense: somebody watches standard error.
    pub(crate) fn wants_bar(self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

/// Prints an error.
pub(crate) fn complain(text: &str) {
    to_stderr(&format!("fleet: {text}"));
}

fn to_stderr(text: &str) {
    // If standard error is closed there is nowhere left to report that.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
