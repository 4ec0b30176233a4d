//! The processes and services of a storm, and the faults that hit any of them at any time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{Accounting, Fleet, Gates, PrivateStack, Process};

use super::Dice;

/// All processes at the start. The names' first words are the kinds.
pub(super) const PROCESSES: [&str; 7] = ["api-1", "api-2", "scheduler-1", "scheduler-2", "worker-1", "worker-2", TEAM];

/// The worker with the real model, which computes each video with two processes.
pub(super) const TEAM: &str = "team-1";

/// The services that are killed in turn.
const SERVICES: [&str; 3] = ["redis", "postgres", "rabbitmq"];

/// Everything that can be killed.
pub(super) struct Stage {
    pub(super) fleet: Arc<Fleet>,
    pub(super) book: Arc<Accounting>,
    pub(super) stack: PrivateStack,
    pub(super) processes: BTreeMap<String, Process>,
    /// How often each fault happened.
    pub(super) faults: BTreeMap<String, u32>,
    services_hit: usize,
}

impl Stage {
    /// Everything runs.
    pub(super) fn set(fleet: Arc<Fleet>, book: Arc<Accounting>, stack: PrivateStack) -> Self {
        let mut stage =
            Self { fleet, book, stack, processes: BTreeMap::new(), faults: BTreeMap::new(), services_hit: 0 };
        PROCESSES.iter().for_each(|name| stage.start(name));
        stage
    }

    pub(super) fn start(&mut self, name: &str) {
        let kind = kind_of(name);
        let process = match kind {
            "api" if name == "api-1" => self.fleet.api(),
            "api" => self.fleet.api_on(name, self.fleet.second_port()),
            "scheduler" => self.fleet.scheduler(name),
            "team" => self.team(name),
            _ => self.fleet.gated_worker(name, &self.gates(name), &[]),
        };
        self.processes.insert(name.to_owned(), process);
    }

    /// Its cache is off: under the same fingerprint the quick workers store embeddings of another shape.
    fn team(&self, name: &str) -> Process {
        let folder = self.fleet.folder().display().to_string();
        let settings = [
            ("FLEET__WORKER__DEVICES", "cpu,cpu"),
            ("FLEET__WORKER__STALL_MIN_S", "20"),
            ("ENABLE_CACHE", "false"),
            ("TMPDIR", folder.as_str()),
        ];
        self.fleet.worker_with(name, &settings)
    }

    /// The gates of a quick worker; the same after a restart.
    pub(super) fn gates(&self, name: &str) -> Gates {
        self.fleet.gates(name)
    }

    /// Names of the processes of a kind.
    pub(super) fn all(&self, kind: &str) -> Vec<String> {
        self.processes.keys().filter(|name| kind_of(name) == kind).cloned().collect()
    }

    /// SIGKILL; it stays down until [`Stage::start`].
    pub(super) fn kill(&mut self, name: &str) {
        self.processes.get_mut(name).expect("it is ours").kill();
    }

    pub(super) fn count(&mut self, fault: &str) {
        *self.faults.entry(fault.to_owned()).or_default() += 1;
    }

    /// The next service is killed and started.
    pub(super) fn hit_a_service(&mut self) {
        self.services_hit += 1;
        let service = SERVICES[self.services_hit % SERVICES.len()];
        self.count(&format!("{service} killed"));
        self.stack.kill(service);
        self.stack.start_again(service);
    }

    /// A process is killed, asked to stop, or paused for a while.
    pub(super) async fn hit_a_process(&mut self, dice: &mut Dice) {
        let at = usize::try_from(dice.below(PROCESSES.len() as u64)).unwrap_or_default();
        let name = PROCESSES[at];
        let how = match dice.below(4) {
            0 => {
                self.processes[name].signal(Signal::SIGSTOP);
                tokio::time::sleep(Duration::from_millis(500 + dice.below(7_000))).await;
                self.processes[name].signal(Signal::SIGCONT);
                "paused"
            }
            1 => {
                self.processes[name].signal(Signal::SIGTERM);
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.kill(name);
                self.start(name);
                "stopped"
            }
            _ => {
                self.kill(name);
                self.start(name);
                "killed"
            }
        };
        self.count(&format!("{} {how}", kind_of(name)));
    }
}

/// The first word of a process's name.
fn kind_of(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}
