//! The fleet's own processes on a test's own database, virtual host and folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Context;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::accounting::objects_in;
use crate::addresses::Services;
use crate::gates::Gates;
use crate::http::http_client;
use crate::postgres;
use crate::process::{Process, free_port, program, repository};
use crate::rabbitmq::Vhost;
use crate::services::services;
use crate::wait::eventually_seen;

/// What to start, and with which settings.
#[derive(Debug, Clone, Default)]
pub struct FleetOptions {
    /// Variables for all processes, for example `FLEET__WORKER__LEASE_S`.
    pub variables: BTreeMap<String, String>,
    /// The test's own services; the shared services of the run if `None`.
    pub services: Option<Services>,
}

impl FleetOptions {
    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// A fleet: start its processes one by one, break them, call its API.
pub struct Fleet {
    folder: TempDir,
    environment: BTreeMap<String, String>,
    /// Where the first API listens.
    pub api_url: String,
    api_port: u16,
    second_port: OnceLock<u16>,
    /// The fleet's virtual host.
    pub vhost: Vhost,
    /// Client for the API.
    pub client: Client,
}

impl Fleet {
    /// Prepares database, virtual host and folder; starts nothing.
    ///
    /// # Panics
    /// If a service refuses a request.
    pub async fn prepare(options: FleetOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("fleet-test-").tempdir().expect("a folder");
        let shared = options.services.unwrap_or_else(|| services().clone());
        let vhost = Vhost::create_on(&shared).await;
        let api_port = free_port();
        let mut environment: BTreeMap<String, String> = [
            ("FLEET_CONFIG_DIR", repository().join("configuration").display().to_string()),
            ("FLEET__DATABASE__URL", postgres::database_on(&shared).await),
            ("FLEET__BROKER__URL", vhost.settings().url.expose().to_owned()),
            ("REDIS_HOST", shared.redis_host.clone()),
            ("REDIS_PORT", shared.redis_port.to_string()),
            ("FLEET__ARTIFACTS__URL", folder.path().join("artifacts").display().to_string()),
            ("FLEET__SERVER__PORT", api_port.to_string()),
            ("FLEET__SCHEDULER__METRICS_PORT", "0".to_owned()),
            ("FLEET__WORKER__METRICS_PORT", "0".to_owned()),
            ("FLEET__WORKER__THREADS", "1".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        environment.extend(options.variables);
        let client = http_client().build().expect("an HTTP client");
        Self {
            folder,
            environment,
            api_url: format!("http://127.0.0.1:{api_port}"),
            api_port,
            second_port: OnceLock::new(),
            vhost,
            client,
        }
    }

    /// Starts API, scheduler and one worker, and waits until the API is ready.
    ///
    /// # Panics
    /// When a process does not start.
    pub async fn start(options: FleetOptions) -> (Self, Vec<Process>) {
        let fleet = Self::prepare(options).await;
        let api = fleet.api();
        fleet.until_api_ready().await;
        let processes = vec![api, fleet.scheduler("scheduler"), fleet.worker("worker-1")];
        (fleet, processes)
    }

    /// The test's folder: logs, artifacts.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The value of a variable that all processes get.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }

    /// Starts the API.
    #[must_use]
    pub fn api(&self) -> Process {
        self.process("api", "api", &[], &[])
    }

    /// Starts the API with additional variables.
    #[must_use]
    pub fn api_with(&self, variables: &[(&str, &str)]) -> Process {
        self.process("api", "api", &[], variables)
    }

    /// Starts another API on a separate port; returns its address.
    #[must_use]
    pub fn another_api(&self, name: &str) -> (Process, String) {
        let port = self.second_port();
        (self.api_on(name, port), format!("http://127.0.0.1:{port}"))
    }

    /// Starts an API on a port that the caller chooses.
    #[must_use]
    pub fn api_on(&self, name: &str, port: u16) -> Process {
        self.process(name, "api", &[], &[("FLEET__SERVER__PORT", &port.to_string())])
    }

    /// The port of a second API; the same each time.
    #[must_use]
    pub fn second_port(&self) -> u16 {
        *self.second_port.get_or_init(|| {
            // The first one's may not be taken yet.
            std::iter::repeat_with(free_port).find(|port| *port != self.api_port).unwrap_or_default()
        })
    }

    /// Issues a key of a tenant, which is created if no tenant has this name.
    ///
    /// # Panics
    /// When the API's command fails.
    #[must_use]
    pub fn issue_key(&self, tenant: &str) -> String {
        let issued = Command::new(program("api"))
            .args(["keys", "issue", "--tenant", tenant])
            .current_dir(repository())
            .envs(&self.environment)
            .output()
            .expect("the command runs");
        assert!(issued.status.success(), "{}", String::from_utf8_lossy(&issued.stderr));
        String::from_utf8_lossy(&issued.stdout).lines().last().unwrap_or_default().trim().to_owned()
    }

    /// Starts a scheduler.
    #[must_use]
    pub fn scheduler(&self, name: &str) -> Process {
        self.process(name, "scheduler", &[], &[])
    }

    /// Starts a scheduler with additional variables.
    #[must_use]
    pub fn scheduler_with(&self, name: &str, variables: &[(&str, &str)]) -> Process {
        self.process(name, "scheduler", &[], variables)
    }

    /// Gates for a worker of this name.
    #[must_use]
    pub fn gates(&self, name: &str) -> Gates {
        Gates::new(&self.folder.path().join(format!("gates-{name}")))
    }

    /// Starts a worker whose model waits at gates and takes no time (see `worker/examples/gated_worker`).
    #[must_use]
    pub fn gated_worker(&self, name: &str, gates: &Gates, variables: &[(&str, &str)]) -> Process {
        let folder = gates.folder().display().to_string();
        let mut all = vec![("FLEET__WORKER__NAME", name), ("FLEET_TEST_GATES", folder.as_str())];
        all.extend(variables);
        self.process(name, "examples/gated_worker", &[], &all)
    }

    /// Starts a worker whose model takes no time and has no gates.
    #[must_use]
    pub fn quick_worker(&self, name: &str, variables: &[(&str, &str)]) -> Process {
        let mut all = vec![("FLEET__WORKER__NAME", name)];
        all.extend(variables);
        self.process(name, "examples/gated_worker", &[], &all)
    }

    /// Keys of all objects, if the fleet's object store is a folder.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        objects_in(Path::new(self.variable("FLEET__ARTIFACTS__URL")))
    }

    /// Starts a worker.
    #[must_use]
    pub fn worker(&self, name: &str) -> Process {
        self.process(name, "worker", &["run"], &[("FLEET__WORKER__NAME", name)])
    }

    /// Starts a worker with additional variables.
    #[must_use]
    pub fn worker_with(&self, name: &str, variables: &[(&str, &str)]) -> Process {
        let mut all = vec![("FLEET__WORKER__NAME", name)];
        all.extend(variables);
        self.process(name, "worker", &["run"], &all)
    }

    fn process(&self, name: &str, executable: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(program(executable));
        command.args(arguments).current_dir(repository()).envs(&self.environment).envs(variables.iter().copied());
        Process::start(name, &mut command, &self.log_path(name))
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Waits until `/readyz` of the API succeeds.
    pub async fn until_api_ready(&self) {
        eventually_seen("the API is ready", || async {
            let answer = self.client.get(format!("{}/readyz", self.api_url)).send().await.map_err(|e| e.to_string())?;
            let status = answer.status();
            if status.is_success() { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// Submits a request; returns the job as the API showed it.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn submit(&self, request: &Value) -> Value {
        let answer = self.try_submit(request, None).await.expect("an answer");
        assert_eq!(answer.0, StatusCode::ACCEPTED, "{}", answer.1);
        answer.1
    }

    /// Submits a request, optionally with an idempotency key; returns status and body.
    ///
    /// # Errors
    /// No response.
    pub(crate) async fn try_submit(&self, request: &Value, key: Option<&str>) -> anyhow::Result<(StatusCode, Value)> {
        let mut call = self.client.post(format!("{}/api/generate", self.api_url)).json(request);
        if let Some(key) = key {
            call = call.header("Idempotency-Key", key);
        }
        let answer = call.send().await?;
        Ok((answer.status(), answer.json().await.context("a JSON body")?))
    }

    /// A job as the API shows it now.
    ///
    /// # Errors
    /// No response, or an unknown job.
    pub async fn job(&self, id: &str) -> anyhow::Result<Value> {
        let answer = self.client.get(format!("{}/api/jobs/{id}", self.api_url)).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Waits until a job is in a state that the caller names.
    pub async fn until_status(&self, id: &str, wanted: &[&str]) -> Value {
        let what = format!("job {id} is {}", wanted.join(" or "));
        eventually_seen(&what, || async {
            let job = self.job(id).await.map_err(|error| error.to_string())?;
            let status = job["status"].as_str().unwrap_or_default();
            if wanted.contains(&status) { Ok(job.clone()) } else { Err(job.to_string()) }
        })
        .await
    }

    /// Bytes of a finished video.
    ///
    /// # Panics
    /// When there is none.
    pub async fn video(&self, id: &str) -> Vec<u8> {
        let answer = self.client.get(format!("{}/api/videos/{id}", self.api_url)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.expect("the video").to_vec()
    }

    /// A small request with every field set, so that a run is quick and repeatable.
    #[must_use]
    pub fn small_request(prompt: &str, seed: i64, steps: u32) -> Value {
        json!({ "prompt": prompt, "seed": seed, "infer_steps": steps, "video_length": 33 })
    }
}
