//! The processes of the other devices of a worker that computes each video with several.
//!
//! The rule: this process holds the first device and leads; each other device has a child process (`worker rank`, [`follow`]). A
//! child reads orders from its standard input and reports on its standard output that it is ready or why it failed; tensors go
//! through [`hunyuan::Team`]. Children die with this process, and when one of them fails, all are killed and new ones started for the
//! next job.

mod devices;
pub mod follow;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hunyuan::runtime::team::Abort;
use hunyuan::{Control, DeviceChoice, Engine, EngineOptions, Error, Leader, Storage, Team};
use tempfile::TempDir;
use tracing::info;

pub(crate) use self::devices::Devices;
use crate::child::die_with_us;

/// Longest time in which a child loads the model.
const LOAD_MAX: Duration = Duration::from_secs(1800);
/// How often a wait for the children shows that it is one.
const LOOK: Duration = Duration::from_millis(500);
/// Name of the file at which a team meets.
const MEETING: &str = "meet";
/// A child is there and will join the team.
const HERE: &str = "here";
/// A child holds its model, whose fingerprint follows.
const READY: &str = "ready ";
/// A child has failed; the reason follows.
const FAILED: &str = "failed ";

/// How to start the processes of a worker's devices.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// At least two; the first one is this process's own.
    pub(crate) devices: Vec<DeviceChoice>,
    /// Longest wait for another process within a video.
    pub(crate) limit: Duration,
    /// How this process loaded its model.
    pub(crate) options: EngineOptions,
}

impl Plan {
    /// All devices, as the setting writes them.
    pub(crate) fn names(&self) -> String {
        self.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// What a child said; none at the end of its output.
type Said = (usize, Option<String>);

/// How to stop a team's exchange, once there is one.
type Aborter = Arc<Mutex<Option<Abort>>>;

/// The running children. Dropping it kills them and waits until they are gone.
#[derive(Debug)]
pub(crate) struct Ranks {
    children: Vec<Child>,
    said: Receiver<Said>,
    _folder: TempDir,
}

impl Ranks {
    /// Starts a child for each other device, waits until all hold their models, and makes `engine` lead them.
    ///
    /// # Errors
    /// [`Error::Team`] with the reason of a child that failed, [`Error::Cancelled`], [`Error::Input`] for a number of devices that
    /// the model cannot use.
    pub(crate) fn start(plan: &Plan, engine: &mut Engine, control: &Control) -> Result<Self, Error> {
        let size = plan.devices.len();
        let begun = Instant::now();
        let folder = tempfile::tempdir().map_err(|error| broken(format!("make a folder: {error}")))?;
        let file = folder.path().join(MEETING);
        let (sender, said) = mpsc::channel();
        let aborter = Aborter::default();
        let mut ranks = Self { children: Vec::new(), said, _folder: folder };
        let mut inputs = Vec::new();
        for rank in 1..size {
            let mut command = command(plan, engine, rank, &file)?;
            let mut child = command.spawn().map_err(|error| broken(format!("start its process: {error}")))?;
            inputs.extend(child.stdin.take());
            if let Some(output) = child.stdout.take() {
                listen(rank, output, sender.clone(), Arc::clone(&aborter));
            }
            ranks.children.push(child);
        }
        drop(sender);
        ranks.each(control, |line| if line == HERE { Ok(()) } else { Err(unexpected(line)) })?;
        let mut team = Team::join(&file, 0, size, plan.limit)?;
        let fingerprint = engine.info().model_fingerprint.clone();
        ranks.each(control, |line| match line.strip_prefix(READY) {
            Some(theirs) if theirs == fingerprint => Ok(()),
            Some(_) => Err(broken("its process loaded other weights; restart the worker".to_owned())),
            None => Err(unexpected(line)),
        })?;
        team.use_device(engine.device())?;
        *aborter.lock().unwrap_or_else(PoisonError::into_inner) = Some(team.aborter());
        engine.lead(Some(Leader::new(team, Box::new(move |line| send(&mut inputs, line)))?))?;
        info!(devices = size, seconds = begun.elapsed().as_secs_f64(), "all devices hold the model");
        Ok(ranks)
    }

    /// Whether all children are alive.
    pub(crate) fn are_alive(&mut self) -> bool {
        self.children.iter_mut().all(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Why a child failed, if one has said so.
    pub(crate) fn complaint(&self) -> Option<String> {
        let complaint = |(rank, line): Said| {
            let reason = line?.strip_prefix(FAILED)?.to_owned();
            Some(format!("device {rank}: {reason}"))
        };
        self.said.try_iter().find_map(complaint)
    }

    /// Waits for the next line of each child. The control sees progress meanwhile, since loading takes its time.
    fn each(&self, control: &Control, mut accept: impl FnMut(&str) -> Result<(), Error>) -> Result<(), Error> {
        let begun = Instant::now();
        for _ in &self.children {
            let line = loop {
                control.check()?;
                match self.said.recv_timeout(LOOK) {
                    Ok(said) => break said,
                    Err(RecvTimeoutError::Timeout) if begun.elapsed() < LOAD_MAX => {}
                    Err(_) => return Err(broken("its process did not become ready in time".to_owned())),
                }
            };
            match line {
                (_, Some(line)) => accept(&line)?,
                (rank, None) => return Err(broken(format!("the process of device {rank} ended while it started"))),
            }
        }
        Ok(())
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended already.
            drop(child.kill());
        }
        for child in &mut self.children {
            drop(child.wait());
        }
    }
}

/// The command of a child: this program with the options of this process.
fn command(plan: &Plan, engine: &Engine, rank: usize, file: &Path) -> Result<Command, Error> {
    let program = std::env::current_exe().map_err(|error| broken(format!("find this program: {error}")))?;
    let (options, info) = (&plan.options, engine.info());
    let mut command = Command::new(program);
    command.arg("rank").arg("--meet").arg(file).arg("--model").arg(&options.model_dir);
    let mut flag = |name: &str, value: String| {
        command.arg(name).arg(value);
    };
    flag("--rank", rank.to_string());
    flag("--size", plan.devices.len().to_string());
    flag("--limit-ms", plan.limit.as_millis().to_string());
    flag("--device", plan.devices[rank].to_string());
    flag("--dtype", info.dtype.to_string());
    let storage = match info.storage {
        Storage::Model => "model",
        Storage::Fp8 => "fp8",
    };
    flag("--storage", storage.to_owned());
    flag("--decoder-dtype", info.decoder_dtype.to_string());
    flag("--threads", info.threads.to_string());
    if let Some(chosen) = &info.attention {
        flag("--attention", chosen.backend.to_string());
    }
    for (name, path) in [("--attention-library", &options.attention_library), ("--hashes", &options.hashes_dir)] {
        if let Some(path) = path {
            command.arg(name).arg(path);
        }
    }
    if options.deterministic {
        command.arg("--deterministic");
    }
    // A group of its own, so that a key press in a terminal does not end it before this process has handed its job back.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    die_with_us(&mut command);
    Ok(command)
}

/// Passes on what a child says. At its end nothing must wait for it.
fn listen(rank: usize, output: ChildStdout, said: Sender<Said>, aborter: Aborter) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody reads it any more when the children are being stopped.
            drop(said.send((rank, Some(line))));
        }
        drop(said.send((rank, None)));
        if let Some(abort) = aborter.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            abort.abort();
        }
    });
}

fn send(inputs: &mut [ChildStdin], line: &str) -> std::io::Result<()> {
    for input in inputs {
        writeln!(input, "{line}")?;
        input.flush()?;
    }
    Ok(())
}

fn unexpected(line: &str) -> Error {
    broken(line.strip_prefix(FAILED).unwrap_or(line).to_owned())
}

fn broken(reason: String) -> Error {
    Error::Team { reason }
}
