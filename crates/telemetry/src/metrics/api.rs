//! What an API process measures.

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::declare::{Declare, Declared, MetricInfo, SHORT_S, raise};

/// Metrics of one API process.
#[derive(Debug)]
pub struct ApiMetrics {
    declared: Declared,
    submissions: IntCounterVec,
    refusals: IntCounterVec,
    requests: HistogramVec,
    /// Rows of one ingest batch, seen as a count of batches and of rows.
    ingest_batches: IntCounter,
    ingest_rows: IntCounter,
    /// Open event streams.
    pub event_streams: IntGauge,
    database_connections: IntGaugeVec,
    dependency_up: IntGaugeVec,
    unreadable: IntCounter,
    unreadable_rows: IntCounter,
}

impl Default for ApiMetrics {
    /// All at zero.
    fn default() -> Self {
        let new = Declare::new("api");
        let metrics = Self {
            submissions: new.counters(
                "fleet_submissions_total",
                "Jobs accepted, or answered again for the same key.",
                &["outcome"],
            ),
            refusals: new.counters(
                "fleet_submissions_refused_total",
                "Submissions refused, by the problem's code.",
                &["code"],
            ),
            requests: new.histograms(
                "fleet_http_request_duration_seconds",
                "Time to answer a request.",
                SHORT_S,
                &["route", "method", "status"],
            ),
            ingest_batches: new
                .counter("fleet_ingest_batches_total", "Inserts of submitted jobs; several jobs share one under load."),
            ingest_rows: new.counter("fleet_ingest_rows_total", "Jobs written by those inserts."),
            event_streams: new.int_gauge("fleet_event_streams", "Open streams of events."),
            database_connections: new.int_gauges(
                "fleet_database_connections",
                "Database connections of this process.",
                &["state"],
            ),
            dependency_up: new.int_gauges(
                "fleet_dependency_up",
                "1 while a service that this process needs answers.",
                &["dependency"],
            ),
            unreadable: new.counter(
                "fleet_unreadable_messages_total",
                "Messages that this process could not read and moved to the dead-letter queue.",
            ),
            unreadable_rows: new.counter(
                "fleet_unreadable_rows_total",
                "Rows of the database that this process could not read and left out of a list; a row counts each time.",
            ),
            declared: new.finish(),
        };
        // Series that exist from the start: the first count is then an increase.
        for outcome in ["accepted", "replayed"] {
            metrics.submissions.with_label_values(&[outcome]);
        }
        metrics
    }
}

impl ApiMetrics {
    /// New jobs were committed.
    pub fn submission_accepted(&self, jobs: u64) {
        self.submissions.with_label_values(&["accepted"]).inc_by(jobs);
    }

    /// Submissions were answered with the job of an earlier one.
    pub fn submission_replayed(&self, jobs: u64) {
        self.submissions.with_label_values(&["replayed"]).inc_by(jobs);
    }

    /// A submission was refused; `code` is the problem's.
    pub fn submission_refused(&self, code: &str) {
        self.refusals.with_label_values(&[code]).inc();
    }

    /// One INSERT of the ingest carried `rows` jobs.
    pub fn ingest_batch(&self, rows: u64) {
        self.ingest_batches.inc();
        self.ingest_rows.inc_by(rows);
    }

    /// A request was answered. `route` is the pattern, not the path.
    pub fn request(&self, route: &str, method: &str, status: u16, seconds: f64) {
        self.requests.with_label_values(&[route, method, &status.to_string()]).observe(seconds);
    }

    /// Connections in use and open.
    pub fn database_pool(&self, used: u32, open: u32) {
        self.database_connections.with_label_values(&["used"]).set(i64::from(used));
        self.database_connections.with_label_values(&["idle"]).set(i64::from(open.saturating_sub(used)));
    }

    /// Whether a service answers: `postgres`, `rabbitmq` or `redis`.
    pub fn dependency(&self, name: &str, up: bool) {
        self.dependency_up.with_label_values(&[name]).set(i64::from(up));
    }

    /// Unreadable messages and rows so far.
    pub fn unreadable(&self, messages: u64, rows: u64) {
        raise(&self.unreadable, messages);
        raise(&self.unreadable_rows, rows);
    }

    /// As Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        self.declared.render()
    }

    /// What there is.
    #[must_use]
    pub fn metrics(&self) -> &[MetricInfo] {
        self.declared.metrics()
    }
}
