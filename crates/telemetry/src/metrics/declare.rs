//! The [`metrics!`] macro: each metric is declared once, and its doc comment is its help text.
//!
//! The declarations are kept with their help texts, for `docs/metrics.md`.

use std::cell::RefCell;

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Buckets in seconds, from a short clip to hours in a queue.
pub(super) const LONG_S: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0];
/// Buckets in seconds, for requests and queries.
pub(super) const SHORT_S: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Buckets in jobs that are rendered together.
pub(super) const MEMBERS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0];
/// Buckets in denoising steps.
pub(super) const STEPS: &[f64] = &[1.0, 5.0, 10.0, 15.0, 18.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 75.0, 100.0];

/// A metric as documented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name, without the `_bucket`, `_sum` and `_count` of a histogram.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// What it measures, and in which unit.
    pub help: String,
}

/// Declares the metrics of a process as a struct, one field for each metric:
///
/// ```text
/// metrics! {
///     /// Metrics of one API process.
///     pub struct ApiMetrics for "api" {
///         /// The help text, which is also the field's documentation. One or two sentences.
///         requests: HistogramVec = "fleet_http_request_duration_seconds", labels &["route"], buckets SHORT_S;
///     }
///     state {
///         /// A field that is not a metric; starts at its default.
///         since: Mutex<Option<Instant>>;
///     }
/// }
/// ```
///
/// The type decides between counter, gauge and histogram. A type that ends in `Vec` needs `labels`, a histogram `buckets`.
/// `declare()` creates the struct with every metric at zero. The metrics that all processes have (see [`Declared`]) are included
/// automatically.
macro_rules! metrics {
    (
        $(#[$about:meta])*
        pub struct $name:ident for $process:literal {
            $(
                $(#[doc = $help:literal])+
                $vis:vis $field:ident: $kind:ty = $metric:literal $(, labels $labels:expr)? $(, buckets $buckets:expr)?;
            )*
        }
        $(state { $( $(#[$about_state:meta])* $state:ident: $state_kind:ty; )* })?
    ) => {
        $(#[$about])*
        #[derive(Debug)]
        pub struct $name {
            declared: $crate::metrics::declare::Declared,
            $( $(#[doc = $help])+ $vis $field: $kind, )*
            $($( $(#[$about_state])* $state: $state_kind, )*)?
        }

        impl $name {
            fn declare() -> Self {
                use $crate::metrics::declare::{Declare, Description};
                let declare = Declare::new();
                Self {
                    $( $field: declare.metric(
                        &Description::new($metric, concat!($($help),+))$(.labels($labels))?$(.buckets($buckets))?
                    ), )*
                    $($( $state: Default::default(), )*)?
                    declared: declare.finish($process),
                }
            }

            /// Records whether a service is reachable: `postgres`, `rabbitmq` or `redis`.
            pub fn dependency(&self, name: &str, up: bool) {
                self.declared.dependency(name, up);
            }

            /// Sets how many messages this process has moved to the dead-letter queue so far.
            pub fn unreadable(&self, total: u64) {
                self.declared.unreadable(total);
            }

            /// Sets how many database rows this process has left out so far because it could not read them.
            pub fn unreadable_rows(&self, total: u64) {
                self.declared.unreadable_rows(total);
            }

            /// All metrics in the text format that Prometheus scrapes.
            #[must_use]
            pub fn render(&self) -> String {
                self.declared.render()
            }

            /// All metrics as documented, in the order of their declaration.
            #[must_use]
            pub fn metrics(&self) -> &[$crate::metrics::declare::MetricInfo] {
                self.declared.metrics()
            }
        }
    };
}
pub(super) use metrics;

/// Everything that is declared about one metric.
pub(super) struct Description {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    buckets: &'static [f64],
}

impl Description {
    pub(super) fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help: help.trim(), labels: &[], buckets: &[] }
    }

    pub(super) fn labels(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    pub(super) fn buckets(self, buckets: &'static [f64]) -> Self {
        Self { buckets, ..self }
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    fn histogram_opts(&self) -> HistogramOpts {
        HistogramOpts::new(self.name, self.help).buckets(self.buckets.to_vec())
    }
}

/// A type of metric that can be declared.
pub(super) trait Metric: Collector + Clone + Sized + 'static {
    /// The kind, as Prometheus names it.
    const KIND: &'static str;

    fn make(description: &Description) -> prometheus::Result<Self>;
}

/// `metric_kind!(TYPE, KIND, d => how it is made from a description)`.
macro_rules! metric_kind {
    ($type:ty, $kind:literal, $description:ident => $make:expr) => {
        impl Metric for $type {
            const KIND: &'static str = $kind;

            fn make($description: &Description) -> prometheus::Result<Self> {
                $make
            }
        }
    };
}
metric_kind!(Counter, "counter", d => Self::with_opts(d.opts()));
metric_kind!(CounterVec, "counter", d => Self::new(d.opts(), d.labels));
metric_kind!(IntCounter, "counter", d => Self::with_opts(d.opts()));
metric_kind!(IntCounterVec, "counter", d => Self::new(d.opts(), d.labels));
metric_kind!(Gauge, "gauge", d => Self::with_opts(d.opts()));
metric_kind!(GaugeVec, "gauge", d => Self::new(d.opts(), d.labels));
metric_kind!(IntGauge, "gauge", d => Self::with_opts(d.opts()));
metric_kind!(IntGaugeVec, "gauge", d => Self::new(d.opts(), d.labels));
metric_kind!(Histogram, "histogram", d => Self::with_opts(d.histogram_opts()));
metric_kind!(HistogramVec, "histogram", d => Self::new(d.histogram_opts(), d.labels));

/// A registry being filled.
pub(super) struct Declare {
    registry: Registry,
    declared: RefCell<Vec<MetricInfo>>,
}

impl Declare {
    /// An empty registry.
    pub(super) fn new() -> Self {
        Self { registry: Registry::new(), declared: RefCell::default() }
    }

    /// Registers a metric.
    ///
    /// # Panics
    /// If the name is invalid or declared twice. Every test that creates the struct detects this.
    pub(super) fn metric<M: Metric>(&self, description: &Description) -> M {
        let metric = M::make(description).expect("names and labels of metrics are valid; this is a bug");
        self.declared.borrow_mut().push(MetricInfo {
            name: description.name.to_owned(),
            kind: M::KIND,
            labels: description.labels.iter().map(|label| (*label).to_owned()).collect(),
            help: description.help.to_owned(),
        });
        self.register(metric.clone());
        metric
    }

    /// The filled registry of a process, including the metrics that all processes have.
    pub(super) fn finish(self, process: &str) -> Declared {
        self.register(prometheus::process_collector::ProcessCollector::for_self());
        let build: IntGaugeVec = self.metric(
            &Description::new("fleet_build_info", "Always 1; the labels name the process and its version.")
                .labels(&["process", "version"]),
        );
        build.with_label_values(&[process, env!("CARGO_PKG_VERSION")]).set(1);
        let dependency_up = self.metric(
            &Description::new("fleet_dependency_up", "1 while a service that this process needs is reachable, else 0.")
                .labels(&["dependency"]),
        );
        let unreadable = self.metric(&Description::new(
            "fleet_unreadable_messages_total",
            "Messages that this process could not parse and moved to the dead-letter queue.",
        ));
        let unreadable_rows = self.metric(&Description::new(
            "fleet_unreadable_rows_total",
            "Database rows that this process could not read and left out of a list. A row counts each time it is read.",
        ));
        Declared {
            registry: self.registry,
            metrics: self.declared.into_inner(),
            dependency_up,
            unreadable,
            unreadable_rows,
        }
    }

    fn register<C: Collector + 'static>(&self, collector: C) {
        self.registry.register(Box::new(collector)).expect("each metric is declared once; this is a bug");
    }
}

/// A filled registry, and the metrics that every process has.
#[derive(Debug)]
pub(super) struct Declared {
    registry: Registry,
    metrics: Vec<MetricInfo>,
    dependency_up: IntGaugeVec,
    unreadable: IntCounter,
    unreadable_rows: IntCounter,
}

impl Declared {
    pub(super) fn dependency(&self, name: &str, up: bool) {
        self.dependency_up.with_label_values(&[name]).set(i64::from(up));
    }

    pub(super) fn unreadable(&self, total: u64) {
        raise(&self.unreadable, total);
    }

    pub(super) fn unreadable_rows(&self, total: u64) {
        raise(&self.unreadable_rows, total);
    }

    pub(super) fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| format!("# {error}\n"))
    }

    pub(super) fn metrics(&self) -> &[MetricInfo] {
        &self.metrics
    }
}

/// Raises a counter to a total that is counted elsewhere. A lower total leaves it unchanged, because counters must not decrease.
pub(super) fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// The same as [`raise`], for counters with fractions.
pub(super) fn raise_amount(counter: &Counter, total: f64) {
    counter.inc_by((total - counter.get()).max(0.0));
}
