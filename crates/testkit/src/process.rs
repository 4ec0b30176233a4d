//! One of our own executables as a child process: started, watched, signalled, and always stopped.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

static NEXT_PORT: AtomicU32 = AtomicU32::new(0);

/// The checkout that these tests belong to.
///
/// # Panics
/// If the tests were moved out of the checkout.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout is there")
}

/// An executable that this build made, beside the tests'.
///
/// # Panics
/// When it was not built: `cargo build --release --bins --examples`.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    let folder = test.ancestors().nth(2).expect("tests lie in target/release/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --release --bins --examples` first", path.display());
    path
}

/// A port that was free a moment ago, below the range of outgoing connections.
///
/// # Panics
/// When there is none.
#[must_use]
pub(crate) fn free_port() -> u16 {
    // Every process and every call starts at a different port, so that tests side by side seldom try the same port.
    let calls = NEXT_PORT.fetch_add(13, Ordering::Relaxed);
    let start = u16::try_from((std::process::id() + calls) % 9_000).unwrap_or_default();
    (0..9_000)
        .map(|n| 20_000 + (start + n * 7) % 9_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Whether this process has root's rights, which some servers refuse to run with.
pub(crate) fn runs_as_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// A running child; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with variables in addition to the test's own; its output goes to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let output = std::fs::File::options().create(true).append(true).open(log).expect("open the log");
        let errors = output.try_clone().expect("the log's handle");
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).unwrap_or_else(|error| panic!("signal {}: {error}", self.name));
    }

    /// Kills it at once and waits until it is gone.
    pub fn kill(&mut self) {
        // SIGKILL also ends a paused process; other signals wait until it continues.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// If the system cannot report it.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ask for the exit status")
    }

    /// Waits until it exits without a signal.
    ///
    /// # Panics
    /// When it does not within `limit`; shows its log.
    pub async fn until_ended(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end:\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            #[expect(clippy::print_stdout, reason = "the test runner shows it with the failure")]
            {
                println!("---- last lines of {} ----\n{}", self.name, tail.join("\n"));
            }
        }
    }
}
