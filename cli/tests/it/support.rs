//! Runs the client against a test's fleet.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use testkit::{Fleet, FleetOptions, Gates, Process};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ran {
    /// The JSON documents on standard output.
    pub(crate) fn documents(&self) -> Vec<Value> {
        let read =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}: {self:?}"));
        self.stdout.lines().map(read).collect()
    }

    /// The only JSON document on standard output.
    pub(crate) fn document(&self) -> Value {
        let documents = self.documents();
        assert_eq!(documents.len(), 1, "{self:?}");
        documents.into_iter().next().unwrap_or_default()
    }

    /// Asserts the exit code.
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// The client, with a server and without the configuration of the user who runs the tests.
pub(crate) fn client(server: &str, home: &Path) -> Command {
    let mut command = Command::new(executable());
    command
        .env_remove("FLEET_API_KEY")
        .env_remove("FLEET_CLI_CONFIG")
        .env("XDG_CONFIG_HOME", home)
        .env("FLEET_SERVER", server)
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

/// The built client.
pub(crate) fn executable() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_fleet"))
}

/// Runs the client to its end.
pub(crate) async fn run(fleet: &Fleet, arguments: &[&str]) -> Ran {
    let mut command = client(&fleet.api_url, fleet.folder());
    command.args(arguments);
    finish(command).await
}

/// Runs a prepared command to its end.
pub(crate) async fn finish(mut command: Command) -> Ran {
    tokio::task::spawn_blocking(move || command.output().expect("the client starts").into()).await.expect("it ends")
}

/// A running client; its output is collected in a file.
pub(crate) fn start(fleet: &Fleet, name: &str, arguments: &[&str]) -> Process {
    let mut command = client(&fleet.api_url, fleet.folder());
    command.args(arguments);
    Process::start(name, &mut command, &fleet.folder().join(format!("{name}.log")))
}

/// API, scheduler and a worker whose model waits at gates and takes no time.
pub(crate) async fn gated(options: FleetOptions) -> (Fleet, Gates, Vec<Process>) {
    let fleet = Fleet::prepare(options.with("FLEET__WORKER__PROGRESS_MS", "10")).await;
    let gates = fleet.gates("worker-1");
    let api = fleet.api();
    fleet.until_api_ready().await;
    let processes = vec![api, fleet.scheduler("scheduler"), fleet.gated_worker("worker-1", &gates, &[])];
    (fleet, gates, processes)
}

/// All jobs of the fleet.
pub(crate) async fn jobs(fleet: &Fleet) -> Vec<Value> {
    run(fleet, &["jobs", "--json", "--limit", "1000"]).await.ended_with(0).documents()
}
