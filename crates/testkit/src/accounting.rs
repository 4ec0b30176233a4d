//! Accounts for every submitted job: attempted, accepted, completed once, lost or executed twice.
//!
//! The counts are those of RabbitMQ's own fault tests. Clients record what they submit; afterwards the
//! records are compared with the rows, their events and the objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};

/// Pause before a submission without a response is retried.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Client timeout of one attempt.
const TRY_MAX: Duration = Duration::from_secs(15);

/// What clients know about their submissions. Tasks share it by reference.
#[derive(Debug, Default)]
pub struct Accounting {
    book: Mutex<Book>,
}

/// How a client reaches the fleet.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// Its HTTP client.
    pub client: &'a Client,
    /// The API's replicas; each try goes to the next one.
    pub urls: &'a [String],
    /// Its API key, if the fleet requires one.
    pub token: Option<&'a str>,
    /// Time within which a submission must be accepted.
    pub patience: Duration,
}

#[derive(Debug, Default)]
struct Book {
    attempted: u64,
    unanswered: u64,
    refused: u64,
    accepted: BTreeMap<String, String>,
    unexpected: Vec<String>,
}

impl Accounting {
    /// Submits with an idempotency key, repeatedly until it is accepted, as a careful client does. Returns the job's id.
    ///
    /// # Panics
    /// If the submission is not accepted within the client's time limit.
    pub async fn submit(&self, way: &Way<'_>, key: &str, request: &Value) -> String {
        let Way { client, urls, token, patience } = *way;
        let deadline = std::time::Instant::now() + patience;
        for url in urls.iter().cycle() {
            let call = client.post(format!("{url}/api/generate")).json(request).header("Idempotency-Key", key);
            let call = match token {
                Some(token) => call.bearer_auth(token),
                None => call,
            };
            if let Some(id) = self.attempt(key, call).await {
                return id;
            }
            assert!(std::time::Instant::now() < deadline, "{key} was not accepted within {patience:?}");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        unreachable!("an empty list of addresses; this is a bug of the test")
    }

    async fn attempt(&self, key: &str, call: RequestBuilder) -> Option<String> {
        self.note(|book| book.attempted += 1);
        let answered = async {
            let answer = call.timeout(TRY_MAX).send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.json::<Value>().await?))
        };
        let Ok((status, body)) = answered.await else {
            self.note(|book| book.unanswered += 1);
            return None;
        };
        if status == StatusCode::ACCEPTED
            && let Some(id) = body["job_id"].as_str()
        {
            self.note(|book| {
                let first = book.accepted.entry(key.to_owned()).or_insert_with(|| id.to_owned());
                if first != id {
                    book.unexpected.push(format!("{key} was accepted as {first} and as {id}"));
                }
            });
            return Some(id.to_owned());
        }
        let may_be = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        self.note(|book| match may_be {
            true => book.refused += 1,
            false => book.unexpected.push(format!("{key} returned {status}: {body}")),
        });
        None
    }

    /// Ids of all accepted jobs.
    #[must_use]
    pub fn accepted(&self) -> Vec<String> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).accepted.values().cloned().collect()
    }

    fn note(&self, write: impl FnOnce(&mut Book)) {
        write(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Compares the records with the database and the objects' keys.
    ///
    /// # Panics
    /// If the database is unavailable.
    pub async fn report(&self, database_url: &str, objects: &[String]) -> Report {
        let mut database = PgConnection::connect(database_url).await.expect("the database is available");
        let rows = sqlx::query(
            "SELECT id::text, COALESCE(idempotency_key, ''), status, video_key, poster_key, failure_code,
                (SELECT count(*) FROM job_events e WHERE e.job_id = jobs.id AND kind = 'running'),
                (SELECT count(*) FROM job_events e WHERE e.job_id = jobs.id AND kind = 'completed'),
                preview_key, checkpoint_key
             FROM jobs",
        )
        .fetch_all(&mut database)
        .await
        .expect("the database is available");
        let rows: Vec<_> = rows
            .iter()
            .map(|row| JobRow {
                id: row.get(0),
                key: row.get(1),
                status: row.get(2),
                video: row.get(3),
                poster: row.get(4),
                failure: row.get(5),
                executions: u64::try_from(row.get::<i64, _>(6)).unwrap_or_default(),
                completions: u64::try_from(row.get::<i64, _>(7)).unwrap_or_default(),
                preview: row.get(8),
                checkpoint: row.get(9),
            })
            .collect();
        self.compare(&rows, objects)
    }

    fn compare(&self, rows: &[JobRow], objects: &[String]) -> Report {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let objects: BTreeSet<&str> = objects.iter().map(String::as_str).collect();
        let mut report = Report {
            attempted: book.attempted,
            unanswered: book.unanswered,
            refused: book.refused,
            accepted: book.accepted.len() as u64,
            unexpected: book.unexpected.clone(),
            ..Report::default()
        };
        let by_id: BTreeMap<&str, &JobRow> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
        for (key, id) in &book.accepted {
            match by_id.get(id.as_str()) {
                Some(row) if ["completed", "failed", "cancelled"].contains(&row.status.as_str()) => {}
                Some(row) => report.unfinished.push(format!("{key} ({id}) is {}", row.status)),
                None => report.lost.push(format!("{key} ({id}) has no row")),
            }
        }
        report.count_outcomes(rows);
        let mut known = BTreeSet::new();
        for row in rows {
            if !book.accepted.contains_key(row.submission()) {
                report.unexpected.push(format!("{} has a row that no client knows about (key '{}')", row.id, row.key));
            }
            report.duplicate_executions += row.executions.saturating_sub(1);
            known.extend(
                [&row.video, &row.poster, &row.preview, &row.checkpoint].into_iter().flatten().map(String::as_str),
            );
            match row.status.as_str() {
                "completed" if row.completions != 1 => {
                    report.duplicated.push(format!("{} was completed {} times", row.id, row.completions));
                }
                "failed" => report.failed.push(format!("{}: {}", row.id, row.failure.clone().unwrap_or_default())),
                _ => {}
            }
            for key in [&row.video, &row.poster, &row.preview].into_iter().flatten() {
                if !objects.contains(key.as_str()) {
                    report.lost.push(format!("{} points to {key}, which does not exist", row.id));
                }
            }
        }
        report.left_over = objects.iter().filter(|key| !known.contains(*key)).map(|key| (*key).to_owned()).collect();
        report
    }
}

struct JobRow {
    id: String,
    key: String,
    status: String,
    video: Option<String>,
    poster: Option<String>,
    failure: Option<String>,
    preview: Option<String>,
    checkpoint: Option<String>,
    executions: u64,
    completions: u64,
}

impl JobRow {
    /// The key with which a client submitted it. Candidates after the first have one made of it.
    fn submission(&self) -> &str {
        self.key.split_once("/candidate-").map_or(&self.key, |(key, _)| key)
    }
}

/// The outcome of a fault run.
#[derive(Debug, Default)]
pub struct Report {
    /// Submission attempts.
    pub attempted: u64,
    /// Attempts without a response.
    pub unanswered: u64,
    /// Attempts that were asked to retry later.
    pub refused: u64,
    /// Jobs whose id a client received.
    pub accepted: u64,
    /// Jobs with one completion and a video.
    pub completed: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Jobs that failed, and with what code.
    pub failed: Vec<String>,
    /// Accepted jobs that have not ended yet.
    pub unfinished: Vec<String>,
    /// Accepted jobs that have no row, and videos that do not exist.
    pub lost: Vec<String>,
    /// Jobs with more than one completion.
    pub duplicated: Vec<String>,
    /// Claims beyond the first of each job: work that was restarted.
    pub duplicate_executions: u64,
    /// Objects that no row points to: a crash between two steps, which the orphan sweep removes.
    pub left_over: Vec<String>,
    /// Everything unexpected.
    pub unexpected: Vec<String>,
}

impl Report {
    /// Counts submissions by how they ended: candidates of one request give one video, or were all cancelled.
    fn count_outcomes(&mut self, rows: &[JobRow]) {
        let mut submissions: BTreeMap<&str, Vec<&JobRow>> = BTreeMap::new();
        for row in rows {
            // A row without a key is a submission of its own.
            let submission = if row.key.is_empty() { &row.id } else { row.submission() };
            submissions.entry(submission).or_default().push(row);
        }
        for (submission, rows) in submissions {
            let of = |status: &str| rows.iter().filter(|row| row.status == status).count();
            match (of("completed"), of("cancelled")) {
                (1, others) if others + 1 == rows.len() => self.completed += 1,
                (0, all) if all == rows.len() => self.cancelled += 1,
                (0 | 1, _) if rows.len() == 1 => {}
                (videos @ 2.., _) => self.duplicated.push(format!("{submission} gave {videos} videos")),
                _ => {
                    let states = rows.iter().map(|row| row.status.as_str()).collect::<Vec<_>>().join(", ");
                    self.unfinished.push(format!("the candidates of {submission} are {states}"));
                }
            }
        }
    }

    /// Panics unless every accepted job was completed once and nothing unexpected happened.
    ///
    /// # Panics
    /// Otherwise, with a description of what is wrong.
    pub fn assert_all_completed_once(&self) {
        let clean = self.lost.is_empty()
            && self.unfinished.is_empty()
            && self.duplicated.is_empty()
            && self.unexpected.is_empty()
            && self.failed.is_empty()
            && self.completed + self.cancelled == self.accepted;
        assert!(clean, "{self:#?}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "attempted {} (unanswered {}, refused {}), accepted {}, completed once {}, cancelled {}, failed {}, \
             unfinished {}, lost {}, duplicated artifacts {}, duplicate executions {}, left over {}, unexpected {}",
            self.attempted,
            self.unanswered,
            self.refused,
            self.accepted,
            self.completed,
            self.cancelled,
            self.failed.len(),
            self.unfinished.len(),
            self.lost.len(),
            self.duplicated.len(),
            self.duplicate_executions,
            self.left_over.len(),
            self.unexpected.len()
        )
    }
}

/// Keys of all objects in a folder store, but for the tokenizers of models, which belong to no job and stay.
#[must_use]
pub(crate) fn objects_in(folder: &Path) -> Vec<String> {
    let mut keys = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(key) = path.strip_prefix(folder) {
                keys.push(key.display().to_string());
            }
        }
    }
    keys.retain(|key| !key.starts_with("tokenizers/"));
    keys.sort();
    keys
}
