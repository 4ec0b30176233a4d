//! Declaring metrics with one line each, and remembering what was declared for `docs/metrics.md`.

use std::cell::RefCell;

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds from a quick clip to hours in a queue.
pub(super) const LONG_S: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0];
/// Seconds of a request or a query.
pub(super) const SHORT_S: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Denoising steps.
pub(super) const STEPS: &[f64] = &[1.0, 5.0, 10.0, 15.0, 18.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 75.0, 100.0];

/// What a metric is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name, without the `_bucket`, `_sum` and `_count` of a histogram.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: Vec<String>,
    /// What it says.
    pub help: String,
}

/// A registry being filled.
pub(super) struct Declare {
    registry: Registry,
    declared: RefCell<Vec<MetricInfo>>,
}

/// A filled registry.
#[derive(Debug)]
pub(super) struct Declared {
    registry: Registry,
    metrics: Vec<MetricInfo>,
}

impl Declared {
    /// As Prometheus reads it.
    pub(super) fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// What was declared, in that order.
    pub(super) fn metrics(&self) -> &[MetricInfo] {
        &self.metrics
    }
}

impl Declare {
    /// An empty registry, with the process's own numbers (CPU, memory, open files) and its version.
    pub(super) fn new(process: &str) -> Self {
        let declare = Self { registry: Registry::new(), declared: RefCell::default() };
        declare.register(prometheus::process_collector::ProcessCollector::for_self());
        let build = declare.int_gauges(
            "fleet_build_info",
            "Version of a process of the fleet; always 1.",
            &["process", "version"],
        );
        build.with_label_values(&[process, env!("CARGO_PKG_VERSION")]).set(1);
        declare
    }

    pub(super) fn finish(self) -> Declared {
        Declared { registry: self.registry, metrics: self.declared.into_inner() }
    }

    fn register<C: Collector + 'static>(&self, collector: C) {
        self.registry.register(Box::new(collector)).expect("each metric is declared once; this is a bug");
    }

    fn keep<C: Collector + Clone + 'static>(&self, kind: &'static str, made: prometheus::Result<C>) -> C {
        let collector = made.expect("names and labels of metrics are valid; this is a bug");
        for described in collector.desc() {
            self.declared.borrow_mut().push(MetricInfo {
                name: described.fq_name.clone(),
                kind,
                labels: described.variable_labels.clone(),
                help: described.help.clone(),
            });
        }
        self.register(collector.clone());
        collector
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep("counter", IntCounter::new(name, help))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep("counter", IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn amount(&self, name: &str, help: &str) -> Counter {
        self.keep("counter", Counter::new(name, help))
    }

    pub(super) fn amounts(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.keep("counter", CounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.keep("gauge", Gauge::new(name, help))
    }

    pub(super) fn int_gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep("gauge", IntGauge::new(name, help))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.keep("gauge", GaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn int_gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep("gauge", IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.keep("histogram", Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    pub(super) fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.keep("histogram", HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }
}

/// Brings a counter up to a total that is counted elsewhere; it never goes down.
pub(super) fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// As [`raise`], for amounts.
pub(super) fn raise_amount(counter: &Counter, total: f64) {
    counter.inc_by((total - counter.get()).max(0.0));
}
