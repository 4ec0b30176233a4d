//! A child process that reads from us. It dies with this process, and it is ended when it hangs or is no longer wanted.
//!
//! Progress means that the child reads more of its input or uses CPU time. A child that does neither for the time limit is
//! killed, with everything that it started.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// How often a running child is looked at; a stop takes effect within this time.
const LOOK: Duration = Duration::from_millis(50);
/// The input is written in pieces of this size, bytes, so that a slow reader shows progress.
const PIECE: usize = 64 << 10;

/// When to end a child.
pub(crate) struct Limits<'a> {
    /// Longest time without progress.
    pub(crate) stall: Duration,
    /// Whether the child is still wanted.
    pub(crate) go_on: &'a (dyn Fn() -> bool + Sync),
}

/// Why a child was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unwanted,
    Hung,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself, with a status and the text that it wrote to its standard error.
    Exited(ExitStatus, String),
    /// It was killed because it was not wanted any more.
    Unwanted,
    /// It was killed because it made no progress.
    Hung,
}

/// Starts a program, writes `input` to it and waits until it ends.
///
/// # Errors
/// The program cannot be started or waited for.
pub(crate) fn run<'i>(
    mut command: Command,
    input: impl Iterator<Item = &'i [u8]>,
    limits: &Limits<'_>,
) -> std::io::Result<Ended> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A group of its own, so that a wrapper script and the program that it runs end together.
    command.process_group(0);
    die_with_us(&mut command);
    let mut child = command.spawn()?;
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(std::io::Error::other)?);
    let complaints = child.stderr.take().map(read_complaints);
    let mut stdin = child.stdin.take();
    let taken = AtomicU64::new(0);
    let verdict = std::thread::scope(|scope| {
        let (over, is_over) = mpsc::channel::<()>();
        let taken = &taken;
        let watcher = scope.spawn(move || watch(group, taken, limits, &is_over));
        let unwanted = !feed(&mut stdin, input, taken, limits.go_on);
        if unwanted {
            kill(group);
        }
        drop(stdin.take());
        // Without collecting its status: until then no other process can have its number.
        let waited = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        drop(over);
        let verdict =
            watcher.join().map_err(|_| std::io::Error::other("the thread that watched the child panicked"))?;
        waited.map_err(std::io::Error::from)?;
        Ok::<_, std::io::Error>(if unwanted { Some(Verdict::Unwanted) } else { verdict })
    });
    if verdict.is_err() {
        kill(group);
    }
    let status = child.wait()?;
    // What the child started may still hold its standard error open.
    kill(group);
    let said = complaints.and_then(|thread| thread.join().ok()).unwrap_or_default();
    Ok(match verdict? {
        None => Ended::Exited(status, said),
        Some(Verdict::Unwanted) => Ended::Unwanted,
        Some(Verdict::Hung) => Ended::Hung,
    })
}

/// Asks the kernel to kill the child when the thread that starts it ends, which here outlives the child unless this whole
/// process dies.
pub(crate) fn die_with_us(command: &mut Command) {
    #[expect(unsafe_code, reason = "the only way to run something between fork and exec; it is a single system call")]
    unsafe {
        command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from));
    }
}

/// Writes the input until the child stops reading: why it does is in its status and its own words. Returns `false` when the
/// child is not wanted any more. It must be killed before its input closes, or it would take the part for the whole.
fn feed<'i>(
    stdin: &mut Option<ChildStdin>,
    input: impl Iterator<Item = &'i [u8]>,
    taken: &AtomicU64,
    go_on: &(dyn Fn() -> bool + Sync),
) -> bool {
    let Some(stdin) = stdin else { return true };
    for part in input {
        if !go_on() {
            return false;
        }
        for piece in part.chunks(PIECE) {
            if stdin.write_all(piece).is_err() {
                return true;
            }
            taken.fetch_add(1, Ordering::Relaxed);
        }
    }
    true
}

/// Reads the standard error in parallel, since a full pipe would stop the child.
fn read_complaints(mut stderr: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        drop(stderr.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).trim().to_owned()
    })
}

/// Kills the child if it hangs or is not wanted, until `is_over` says that it has ended.
fn watch(group: Pid, taken: &AtomicU64, limits: &Limits<'_>, is_over: &mpsc::Receiver<()>) -> Option<Verdict> {
    let (mut seen, mut moved) = (0, Instant::now());
    let mut cpu = None;
    while is_over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let now = taken.load(Ordering::Relaxed);
        if now != seen {
            (seen, moved) = (now, Instant::now());
        }
        let verdict = if !(limits.go_on)() {
            Verdict::Unwanted
        } else if moved.elapsed() < limits.stall {
            continue;
        } else {
            // It may be busy with what it has read.
            let used = cpu_ticks(group);
            if cpu.replace(used) != Some(used) {
                moved = Instant::now();
                continue;
            }
            Verdict::Hung
        };
        kill(group);
        return Some(verdict);
    }
    None
}

fn kill(group: Pid) {
    // It may have ended already.
    let _ = killpg(group, Signal::SIGKILL);
}

/// CPU time of a process group, in clock ticks. Processes that end meanwhile are left out, which counts as a change.
fn cpu_ticks(group: Pid) -> u64 {
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let stats = processes.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| ticks_in(&stat, group)).sum()
}

/// User and system time in a line of `/proc/PID/stat`, if the process belongs to the group.
fn ticks_in(stat: &str, group: Pid) -> Option<u64> {
    // The name is in parentheses and may contain anything. After it: state, parent, group, ..., user time, system time.
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<_> = after.split_whitespace().collect();
    let in_group = fields.get(2)?.parse() == Ok(group.as_raw());
    let time = |index: usize| fields.get(index)?.parse::<u64>().ok();
    if in_group { Some(time(11)? + time(12)?) } else { None }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Above every wait of these tests.
    const LONG: Duration = Duration::from_secs(600);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn run_with(script: &str, input: &[u8], stall: Duration) -> Ended {
        run(shell(script), input.chunks(1 << 20), &Limits { stall, go_on: &|| true }).unwrap()
    }

    #[test]
    fn a_child_reads_everything_and_says_how_it_ended() {
        let input = vec![b'x'; 3 << 20];
        let Ended::Exited(status, said) = run_with("wc -c >&2; exit 3", &input, LONG) else { panic!("it was killed") };
        assert_eq!((status.code(), said.as_str()), (Some(3), "3145728"));
    }

    #[test]
    fn a_child_that_stops_reading_is_ended() {
        let input = vec![0; 3 << 20];
        assert!(matches!(run_with("sleep 1000", &input, Duration::from_millis(300)), Ended::Hung));
    }

    #[test]
    fn a_child_that_has_read_everything_and_does_nothing_is_ended() {
        assert!(matches!(run_with("cat >/dev/null; sleep 1000", b"x", Duration::from_millis(300)), Ended::Hung));
    }

    #[test]
    fn a_child_that_computes_is_not_hung() {
        let script = "cat >/dev/null; i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
        assert!(
            matches!(run_with(script, b"x", Duration::from_millis(100)), Ended::Exited(status, _) if status.success())
        );
    }

    #[test]
    fn a_child_that_is_not_wanted_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().join("started");
        let script = format!("(echo > {}; exec sleep 1000)", started.display());
        let wanted = AtomicBool::new(true);
        let go_on = || {
            if started.exists() {
                wanted.store(false, Ordering::Relaxed);
            }
            wanted.load(Ordering::Relaxed)
        };
        let ended = run(shell(&script), std::iter::empty(), &Limits { stall: LONG, go_on: &go_on }).unwrap();
        assert!(matches!(ended, Ended::Unwanted));
    }

    #[test]
    fn the_time_of_a_process_is_found_whatever_its_name() {
        let line = "7 (a) b (c) S 1 9 9 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 1 0 5 6";
        assert_eq!(ticks_in(line, Pid::from_raw(9)), Some(42));
        assert_eq!(ticks_in(line, Pid::from_raw(8)), None);
        assert_eq!(ticks_in("", Pid::from_raw(9)), None);
    }
}
