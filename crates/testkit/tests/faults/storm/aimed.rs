//! Faults that hit a certain moment of a certain job, which the storm submits for it. [`AIMED`] lists them; each happens at least once.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use testkit::{Way, eventually_seen};

use super::stage::{Stage, TEAM};
use super::{CALM, Size};
use crate::ranks::ranks;
use crate::support::{database, request};

/// Seeds of aimed jobs begin here, above those of the tenants' jobs.
const FIRST_SEED: i64 = 1_000_000;

/// A fault, the job that brings its moment about, and the moment.
pub(super) struct Aimed {
    /// Its name in the report.
    pub(super) name: &'static str,
    /// Fields of the job.
    fields: fn() -> Value,
    moment: Moment,
}

/// What is waited for, and what dies then.
enum Moment {
    /// A quick worker is held at this gate of the job's seed, and dies.
    Gate(&'static str),
    /// The draft waits to be continued; a worker and a scheduler die.
    Drafted,
    /// The worker with two processes denoises the job; its second process dies.
    Rank,
}

/// Every aimed fault. To add one, add a line, and a moment if none of these fits.
pub(super) static AIMED: [Aimed; 5] = [
    Aimed {
        name: "worker killed at the change of resolution",
        fields: || json!({ "infer_steps": 8, "progressive": "fast" }),
        moment: Moment::Gate("raise"),
    },
    Aimed {
        name: "worker killed while it pauses a draft",
        fields: || json!({ "mode": "draft" }),
        moment: Moment::Gate("pause"),
    },
    Aimed {
        name: "worker killed while it drafts one of several candidates",
        fields: || json!({ "candidates": 3 }),
        moment: Moment::Gate("pause"),
    },
    Aimed {
        name: "worker and scheduler killed while a draft waits",
        fields: || json!({ "mode": "draft" }),
        moment: Moment::Drafted,
    },
    Aimed {
        name: "second process of a worker killed while it denoises",
        fields: || json!({ "infer_steps": 100 }),
        moment: Moment::Rank,
    },
];

/// Submits the jobs of aimed faults as a tenant of their own.
pub(super) struct Archer {
    token: String,
    urls: [String; 2],
    /// Jobs or groups that were submitted.
    pub(super) submitted: u64,
    /// Faults so far.
    shots: usize,
}

impl Archer {
    pub(super) fn new(stage: &Stage) -> Self {
        let token = stage.fleet.issue_key("aimed");
        Self { token, urls: super::addresses(&stage.fleet), submitted: 0, shots: 0 }
    }

    /// Whether each of the faults has happened.
    pub(super) fn is_done(&self) -> bool {
        self.shots >= AIMED.len()
    }

    /// Carries out the next fault of the list.
    pub(super) async fn shoot(&mut self, stage: &mut Stage, size: &Size) {
        let aimed = &AIMED[self.shots % AIMED.len()];
        self.shots += 1;
        match aimed.moment {
            Moment::Gate(gate) => self.at_gate(stage, size, aimed, gate).await,
            Moment::Drafted => self.while_drafted(stage, size, aimed).await,
            Moment::Rank => self.at_rank(stage, size, aimed).await,
        }
        stage.count(aimed.name);
    }

    /// The seed that the next job will have.
    fn next_seed(&self) -> i64 {
        FIRST_SEED + i64::try_from(self.submitted).unwrap_or_default()
    }

    /// Returns the job's id.
    async fn submit(&mut self, stage: &Stage, size: &Size, aimed: &Aimed) -> String {
        let seed = self.next_seed();
        self.submitted += 1;
        let mut request = request(seed);
        if let (Some(request), Value::Object(fields)) = (request.as_object_mut(), (aimed.fields)()) {
            request.extend(fields);
        }
        let fleet = &stage.fleet;
        let way = Way { client: &fleet.client, urls: &self.urls, token: Some(&self.token), patience: size.patience() };
        stage.book.submit(&way, &format!("aimed-{seed}"), &request).await
    }

    /// Another job is submitted when the worker without gates takes this one.
    async fn at_gate(&mut self, stage: &mut Stage, size: &Size, aimed: &Aimed, gate: &str) {
        let workers = stage.all("worker");
        let (at, point) = loop {
            let point = format!("{gate}-{}", self.next_seed());
            workers.iter().for_each(|name| stage.gates(name).hold(&point));
            let job = self.submit(stage, size, aimed).await;
            let reached = eventually_seen("a worker reaches the gate, or the job is beyond it", || async {
                if let Some(at) = workers.iter().position(|name| stage.gates(name).is_reached(&point)) {
                    return Ok(Some(at));
                }
                let status = status(stage, &job).await;
                if CALM.contains(&status.as_str()) { Ok(None) } else { Err(status) }
            })
            .await;
            if let Some(at) = reached {
                break (at, point);
            }
        };
        let name = &workers[at];
        stage.kill(name);
        workers.iter().for_each(|name| stage.gates(name).open(&point));
        stage.start(name);
    }

    /// The draft is neither lost nor continued by the faults.
    async fn while_drafted(&mut self, stage: &mut Stage, size: &Size, aimed: &Aimed) {
        let job = self.submit(stage, size, aimed).await;
        until_status(stage, &job, "drafted").await;
        for kind in ["worker", "scheduler"] {
            let name = stage.all(kind).swap_remove(self.shots % 2);
            stage.kill(&name);
            stage.start(&name);
        }
        until_status(stage, &job, "drafted").await;
    }

    /// The quick workers are down meanwhile, so that the job comes to the one with two processes. A stopped process keeps its
    /// job from ending between the look and the kill.
    async fn at_rank(&mut self, stage: &mut Stage, size: &Size, aimed: &Aimed) {
        let workers = stage.all("worker");
        workers.iter().for_each(|name| stage.kill(name));
        self.submit(stage, size, aimed).await;
        let rank = eventually_seen("the worker with two processes denoises", || async {
            let found = ranks(&stage.fleet);
            let [rank] = found.as_slice() else { return Err(format!("processes {found:?}")) };
            let rank = Pid::from_raw(*rank);
            if !denoises(stage).await {
                return Err("no job at a step".to_owned());
            }
            kill(rank, Signal::SIGSTOP).map_err(|error| error.to_string())?;
            if denoises(stage).await {
                return Ok(rank);
            }
            kill(rank, Signal::SIGCONT).map_err(|error| error.to_string())?;
            Err("the job ended".to_owned())
        })
        .await;
        kill(rank, Signal::SIGKILL).expect("it is stopped");
        workers.iter().for_each(|name| stage.start(name));
    }
}

/// Whether the worker with two processes holds a job that has begun to denoise.
async fn denoises(stage: &Stage) -> bool {
    let held = "SELECT count(*) FROM jobs JOIN workers ON workers.id = worker_id
                WHERE workers.name = $1 AND status = 'running' AND stage = 'denoise' AND step > 0";
    let held: Result<i64, _> = sqlx::query_scalar(held).bind(TEAM).fetch_one(&mut database(&stage.fleet).await).await;
    held.is_ok_and(|held| held > 0)
}

async fn status(stage: &Stage, job: &str) -> String {
    let status = "SELECT status FROM jobs WHERE id = $1::uuid";
    let status = sqlx::query_scalar(status).bind(job).fetch_one(&mut database(&stage.fleet).await).await;
    status.unwrap_or_else(|error| error.to_string())
}

async fn until_status(stage: &Stage, job: &str, wanted: &str) {
    eventually_seen(&format!("job {job} is {wanted}"), || async {
        let status = status(stage, job).await;
        if status == wanted { Ok(()) } else { Err(status) }
    })
    .await;
}
