//! Traces over OTLP: what happened to one job, in all processes, as a tree of spans.
//!
//! # How a trace crosses processes
//! The API begins a span for each request that changes something, as a child of the client's `traceparent` if there is one, and
//! stores its own `traceparent` with the job. Scheduler and worker read it there, so a trace survives restarts and continues over
//! several attempts. Messages carry no trace.
//!
//! # What it costs
//! Without `telemetry.otlp_endpoint` nothing is created and every call returns at once. With it, spans go into a bounded queue and a
//! thread of its own sends them. If the collector is slow or unreachable, spans are dropped; nothing else waits.

mod collector;
mod context;
mod span;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};
use settings::TelemetrySettings;

pub use span::TraceSpan;

use collector::Collector;

/// Longest time that an ended span waits to be sent with others.
const SEND_EVERY: Duration = Duration::from_secs(1);

/// Where the collector takes traces, below its base URL (OTLP specification 1.x, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// Traces cannot be exported with these settings.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The HTTP client cannot be set up.
    #[error("the HTTP client of the traces cannot be set up: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter refuses its settings.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Begins spans. Cheap to clone; the default is off.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    on: Option<Arc<Active>>,
}

/// The parts of traces that are on.
#[derive(Debug)]
struct Active {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Drop for Active {
    /// Without this, the provider would wait for the collector when the last handle goes.
    fn drop(&mut self) {
        // It fails if `finish` was called before, which is how a process should stop.
        drop(self.provider.shutdown_with_timeout(Duration::ZERO));
    }
}

impl Traces {
    /// Traces as the settings want them: off without an endpoint. `process` is the last part of the service's name. Spans are sent by
    /// the async runtime that this is called in.
    ///
    /// # Errors
    /// [`TracesError`].
    ///
    /// # Panics
    /// Outside of an async runtime, if traces are on.
    pub fn start(settings: &TelemetrySettings, process: &str) -> Result<Self, TracesError> {
        if settings.otlp_endpoint.is_empty() {
            return Ok(Self::default());
        }
        let timeout = Duration::from_millis(settings.timeout_ms);
        let endpoint = format!("{}{TRACES_PATH}", settings.otlp_endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(&endpoint)
            .with_timeout(timeout)
            .with_http_client(Collector::new(endpoint.clone(), timeout)?)
            // A repetition would delay the spans that wait behind it, and the queue is bounded.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(SEND_EVERY).build();
        let service = format!("{}-{process}", settings.service_name);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            // The client's decision counts; without one, the ratio.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sampling_ratio))))
            .with_resource(resource(service))
            .build();
        let tracer = provider.tracer("hunyuan-fleet");
        tracing::info!(endpoint, "exporting traces");
        Ok(Self { on: Some(Arc::new(Active { provider, tracer })) })
    }

    /// Whether spans are recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// The span of a request: a child of the client's span, or the root of a new trace.
    #[must_use]
    pub fn request(&self, parent: Option<&str>, name: String) -> TraceSpan {
        let Some(active) = &self.on else { return TraceSpan::default() };
        TraceSpan::of_request(active, parent.and_then(context::read).as_ref(), name)
    }

    /// A child of the span with this `traceparent`. Off if that span is not sampled, or if there is none: only the API begins traces.
    #[must_use]
    pub fn child(&self, parent: Option<&str>, name: &'static str) -> TraceSpan {
        self.below(parent, name, None)
    }

    /// As [`Traces::child`], of something that has begun earlier.
    #[must_use]
    pub fn child_since(&self, parent: Option<&str>, name: &'static str, start: SystemTime) -> TraceSpan {
        self.below(parent, name, Some(start))
    }

    fn below(&self, parent: Option<&str>, name: &'static str, start: Option<SystemTime>) -> TraceSpan {
        let (Some(active), Some(parent)) = (&self.on, parent.and_then(context::read)) else {
            return TraceSpan::default();
        };
        TraceSpan::child_of(active, &parent, name, start)
    }

    /// Sends the spans that are still queued, for at most `limit`. Spans that end later are lost.
    pub async fn finish(&self, limit: Duration) {
        let Some(active) = self.on.clone() else { return };
        // It blocks, and waits for a request that this runtime makes. Failures are reported by the collector's client.
        let sent = tokio::task::spawn_blocking(move || drop(active.provider.shutdown_with_timeout(limit)));
        drop(tokio::time::timeout(limit, sent).await);
    }
}

/// What all spans of this process have in common. `OTEL_RESOURCE_ATTRIBUTES` adds to it.
fn resource(service: String) -> Resource {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("host.name", host.trim().to_owned()),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build()
}
