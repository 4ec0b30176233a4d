//! A stack that belongs to one test, which may kill, stop and pause its services.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::addresses::{Services, checkout};
use crate::services::services;

/// Postgres, RabbitMQ and Redis of one test; stopped when it ends.
pub struct PrivateStack {
    /// Where they are.
    pub services: Services,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _folder: TempDir,
}

impl PrivateStack {
    /// Starts a stack; this takes about ten seconds.
    ///
    /// # Panics
    /// If it does not start; the script prints its log.
    #[must_use]
    pub fn start() -> Self {
        Self::launch(&[])
    }

    /// Starts only these services; the others are the shared ones of the run. Without RabbitMQ it takes about a second.
    ///
    /// # Panics
    /// As [`PrivateStack::start`].
    #[must_use]
    pub fn only(names: &[&str]) -> Self {
        let mut stack = Self::launch(names);
        let (own, shared) = (stack.services.clone(), services().clone());
        let is_own = |name: &str| names.contains(&name);
        stack.services = Services {
            database_url: if is_own("postgres") { own.database_url } else { shared.database_url },
            broker_url: if is_own("rabbitmq") { own.broker_url } else { shared.broker_url },
            broker_management_url: match is_own("rabbitmq") {
                true => own.broker_management_url,
                false => shared.broker_management_url,
            },
            redis_host: if is_own("redis") { own.redis_host } else { shared.redis_host },
            redis_port: if is_own("redis") { own.redis_port } else { shared.redis_port },
            dir: own.dir,
        };
        stack
    }

    fn launch(only: &[&str]) -> Self {
        let parent = checkout().join(".run/tests");
        std::fs::create_dir_all(&parent).expect("the folder for test stacks can be made");
        let folder = tempfile::Builder::new().prefix("own-").tempdir_in(&parent).expect("a folder");
        open_for_all(folder.path());
        let mut child = Command::new(checkout().join("scripts/fleet"))
            .args(["services", "--dir"])
            .arg(folder.path())
            .args(if only.is_empty() { None } else { Some("--only") })
            .args(only)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/fleet can be run");
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("it is piped; this is a bug"));
        let services = Services::parse(&read_line(&mut output));
        Self { services, child, input, output, _folder: folder }
    }

    /// SIGKILL; it stays down until [`PrivateStack::start_again`].
    pub fn kill(&mut self, service: &str) {
        self.command("kill", service);
    }

    /// A polite stop; it stays down until [`PrivateStack::start_again`].
    pub fn stop(&mut self, service: &str) {
        self.command("stop", service);
    }

    /// Starts it with the same data and waits until it is ready.
    pub fn start_again(&mut self, service: &str) {
        self.command("start", service);
    }

    /// SIGSTOP: connections stay open and get no replies.
    pub fn pause(&mut self, service: &str) {
        self.command("pause", service);
    }

    /// SIGCONT.
    pub fn resume(&mut self, service: &str) {
        self.command("resume", service);
    }

    /// A memory alarm: RabbitMQ blocks all publishers.
    pub fn alarm(&mut self) {
        self.command("alarm", "rabbitmq");
    }

    /// Ends the alarm.
    pub fn calm(&mut self) {
        self.command("calm", "rabbitmq");
    }

    /// Starts a standby of Postgres; from then on a commit waits until the standby has it. Returns the standby's address. Its service
    /// is named `replica`.
    ///
    /// # Panics
    /// When the server cannot be copied.
    pub fn replicate(&mut self) -> String {
        let answer = self.command("replicate", "postgres");
        answer["database_url"].as_str().expect("an address").to_owned()
    }

    /// The standby accepts writes and follows nobody any more.
    pub fn promote(&mut self) {
        self.command("promote", "replica");
    }

    fn command(&mut self, verb: &str, service: &str) -> Value {
        let input = self.input.as_mut().expect("open until the end; this is a bug");
        writeln!(input, "{verb} {service}").expect("the stack takes commands");
        let answer: Value = serde_json::from_str(&read_line(&mut self.output)).expect("the stack answers in JSON");
        assert_eq!(answer["ok"], true, "{verb} {service}: {answer}");
        answer
    }
}

impl Drop for PrivateStack {
    fn drop(&mut self) {
        // The script ends its services when its input closes.
        self.input.take();
        drop(self.child.wait());
    }
}

fn read_line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("the stack can be read");
    assert!(!line.is_empty(), "the stack ended before it answered");
    line
}

/// Postgres runs as another user than root and must reach its data.
fn open_for_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
}
