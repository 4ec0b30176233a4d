//! Why a command fails, and with which exit code. The codes are part of the interface: docs/cli.md lists them.

use crate::text::plain;

/// A command's failure.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    /// A file, the terminal or the local system.
    #[error("{0}")]
    Local(String),
    /// The command line, the configuration file or an input file is wrong.
    #[error("{0}")]
    Usage(String),
    /// No response within the patience.
    #[error(
        "{server} cannot be reached: {reason}. Is it the right address (--server, FLEET_SERVER), and is the fleet running?"
    )]
    Unreachable {
        /// Address of the server.
        server: String,
        /// What was tried last.
        reason: String,
    },
    /// The key is missing, unknown or lacks a permission.
    #[error("{0}. Set a key with FLEET_API_KEY or in the configuration file")]
    NotAllowed(String),
    /// The server refuses the request, and would again.
    #[error("{0}")]
    Refused(String),
    /// The server is busy or a part of it is unavailable, and still was when the patience ended.
    #[error("{0}")]
    Busy(String),
    /// The job failed.
    #[error("{0}")]
    JobFailed(String),
    /// The job was cancelled.
    #[error("{0}")]
    JobCancelled(String),
    /// Some items of several failed.
    #[error("{0}")]
    Partly(String),
    /// The time limit of the command has passed.
    #[error("{0}")]
    TimedOut(String),
    /// Ctrl-C.
    #[error("{0}")]
    Interrupted(String),
    /// The reader of the output has closed it, as `head` does. Not an error.
    #[error("the output was closed")]
    ReaderGone,
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Local(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::NotAllowed(_) => 4,
            Self::Refused(_) => 5,
            Self::Busy(_) => 6,
            Self::JobFailed(_) => 7,
            Self::JobCancelled(_) => 8,
            Self::Partly(_) => 9,
            Self::TimedOut(_) => 10,
            Self::Interrupted(_) => 130,
        }
    }

    /// The failure of a local file.
    pub(crate) fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::Local(format!("cannot {action} {}: {error}", path.display()))
    }
}

/// The exit codes, for `--help` and the man page.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    a local error, such as a file that cannot be written
  2    wrong usage: command line, configuration or input file
  3    the server cannot be reached
  4    the key is missing, unknown or not allowed to do this
  5    the server refused the request, or a replay is not identical
  6    the server is busy or partly unavailable; try again later
  7    the job failed
  8    the job was cancelled
  9    some lines of a batch or some of several jobs failed
  10   --timeout-s has passed; the job continues
  130  interrupted (Ctrl-C); the job continues";

/// One failure of an HTTP response: the status decides the exit code, the problem document (RFC 9457) the text.
pub(crate) fn from_response(status: u16, body: &str) -> Failure {
    let text = problem_text(status, body);
    match status {
        401 | 403 => Failure::NotAllowed(text),
        408 | 429 | 500..=599 => Failure::Busy(text),
        _ => Failure::Refused(text),
    }
}

fn problem_text(status: u16, body: &str) -> String {
    let Ok(problem) = serde_json::from_str::<serde_json::Value>(body) else {
        return format!("the server responded with status {status}; is this the address of a fleet?");
    };
    let fields = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let fields: Vec<String> = fields
        .iter()
        .filter_map(|error| Some(format!("{}: {}", error["field"].as_str()?, error["reason"].as_str()?)))
        .collect();
    let detail = problem["detail"].as_str().or(problem["title"].as_str());
    match (fields.is_empty(), detail) {
        (false, _) => plain(&fields.join("; ")),
        (true, Some(detail)) => plain(detail),
        (true, None) => format!("the server responded with status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_fields_and_chooses_the_exit_code() {
        let body = r#"{"detail":"Some fields","errors":[{"field":"seed","reason":"must be 0 or more"}]}"#;
        let failure = from_response(422, body);
        assert_eq!((failure.to_string().as_str(), failure.exit_code()), ("seed: must be 0 or more", 5));
        assert_eq!(from_response(401, r#"{"title":"A key is required"}"#).exit_code(), 4);
        assert_eq!((from_response(503, "").exit_code(), from_response(408, "").exit_code()), (6, 6));
        let gone = from_response(404, r#"{"detail":"no job \u001b[31mred"}"#);
        assert_eq!(gone.to_string(), "no job  [31mred", "control characters never reach the terminal");
    }

    #[test]
    fn every_exit_code_is_documented() {
        let all = [
            Failure::Local(String::new()),
            Failure::Usage(String::new()),
            Failure::Unreachable { server: String::new(), reason: String::new() },
            Failure::NotAllowed(String::new()),
            Failure::Refused(String::new()),
            Failure::Busy(String::new()),
            Failure::JobFailed(String::new()),
            Failure::JobCancelled(String::new()),
            Failure::Partly(String::new()),
            Failure::TimedOut(String::new()),
            Failure::Interrupted(String::new()),
        ];
        for failure in all {
            let line = format!("\n  {:<5}", failure.exit_code());
            assert!(EXIT_CODES.contains(&line), "{line}");
        }
    }
}
