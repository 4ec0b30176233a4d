//! The metrics of an API process.

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::declare::{SHORT_S, metrics};

metrics! {
    /// Metrics of one API process.
    pub struct ApiMetrics for "api" {
        /// Submitted jobs by outcome: accepted, or replayed (the existing job was returned for the same idempotency key).
        submissions: IntCounterVec = "fleet_submissions_total", labels &["outcome"];
        /// Rejected submissions, by problem code.
        refusals: IntCounterVec = "fleet_submissions_refused_total", labels &["code"];
        /// Time from receiving a request to sending its response, in seconds.
        requests: HistogramVec = "fleet_http_request_duration_seconds",
            labels &["route", "method", "status"], buckets SHORT_S;
        /// INSERT statements for submitted jobs. Under load, one statement carries several jobs.
        ingest_batches: IntCounter = "fleet_ingest_batches_total";
        /// Jobs written by those statements.
        ingest_rows: IntCounter = "fleet_ingest_rows_total";
        /// Open event streams (SSE).
        pub event_streams: IntGauge = "fleet_event_streams";
        /// Database connections of this process, by state: used or idle.
        database_connections: IntGaugeVec = "fleet_database_connections", labels &["state"];
    }
}

impl Default for ApiMetrics {
    /// All metrics at zero.
    fn default() -> Self {
        let metrics = Self::declare();
        // These series exist from the start, so that their first count is an increase.
        for outcome in ["accepted", "replayed"] {
            metrics.submissions.with_label_values(&[outcome]);
        }
        metrics
    }
}

impl ApiMetrics {
    /// Counts newly committed jobs.
    pub fn submission_accepted(&self, jobs: u64) {
        self.submissions.with_label_values(&["accepted"]).inc_by(jobs);
    }

    /// Counts submissions that returned the job of an earlier one.
    pub fn submission_replayed(&self, jobs: u64) {
        self.submissions.with_label_values(&["replayed"]).inc_by(jobs);
    }

    /// Counts a rejected submission; `code` is the problem's.
    pub fn submission_refused(&self, code: &str) {
        self.refusals.with_label_values(&[code]).inc();
    }

    /// Counts an INSERT of `rows` submitted jobs.
    pub fn ingest_batch(&self, rows: u64) {
        self.ingest_batches.inc();
        self.ingest_rows.inc_by(rows);
    }

    /// Counts a response and its time. `route` is the pattern, not the path.
    pub fn request(&self, route: &str, method: &str, status: u16, seconds: f64) {
        self.requests.with_label_values(&[route, method, &status.to_string()]).observe(seconds);
    }

    /// Sets how many database connections are in use, of those that are open.
    pub fn database_pool(&self, used: u32, open: u32) {
        self.database_connections.with_label_values(&["used"]).set(i64::from(used));
        self.database_connections.with_label_values(&["idle"]).set(i64::from(open.saturating_sub(used)));
    }
}
