//! One span.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::Span;

use super::{Active, context};

/// A part of a trace. It ends with [`TraceSpan::end_at`], or when the last clone is dropped. The default records nothing.
#[derive(Debug, Clone, Default)]
pub struct TraceSpan {
    on: Option<Arc<Open>>,
}

#[derive(Debug)]
struct Open {
    active: Arc<Active>,
    position: SpanContext,
    span: Mutex<Span>,
}

impl TraceSpan {
    /// The span of a request, also of one that is not sampled: what follows has to know that decision.
    pub(super) fn of_request(active: &Arc<Active>, parent: Option<&SpanContext>, name: String) -> Self {
        Self::build(active, parent, SpanBuilder::from_name(name).with_kind(SpanKind::Server))
    }

    /// A child of a span of any process, from `start` or from now.
    pub(super) fn child_of(
        active: &Arc<Active>,
        parent: &SpanContext,
        name: impl Into<Cow<'static, str>>,
        start: Option<SystemTime>,
    ) -> Self {
        if !parent.is_sampled() {
            return Self::default();
        }
        let mut builder = SpanBuilder::from_name(name);
        builder.start_time = start;
        Self::build(active, Some(parent), builder)
    }

    fn build(active: &Arc<Active>, parent: Option<&SpanContext>, builder: SpanBuilder) -> Self {
        let mut around = Context::new();
        if let Some(parent) = parent {
            around = around.with_remote_span_context(parent.clone());
        }
        let span = active.tracer.build_with_context(builder, &around);
        let position = span.span_context().clone();
        Self { on: Some(Arc::new(Open { active: Arc::clone(active), position, span: Mutex::new(span) })) }
    }

    /// A span inside this one that begins now.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Self {
        self.inside(name, None)
    }

    /// A span inside this one that has begun earlier.
    #[must_use]
    pub fn child_since(&self, name: &'static str, start: SystemTime) -> Self {
        self.inside(name, Some(start))
    }

    fn inside(&self, name: &'static str, start: Option<SystemTime>) -> Self {
        self.on.as_ref().map_or_else(Self::default, |open| Self::child_of(&open.active, &open.position, name, start))
    }

    /// The header with which another process continues the trace below this span.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.on.as_ref().map(|open| context::write(&open.position))
    }

    /// The id of the trace, 32 hexadecimal digits; `None` if it is not recorded.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        let sampled = self.on.as_ref().filter(|open| open.position.is_sampled())?;
        Some(sampled.position.trace_id().to_string())
    }

    /// A span of the log that adds the trace's id to every line inside it; none if the trace is not recorded.
    #[must_use]
    pub fn log_span(&self) -> tracing::Span {
        // At error level, so that no filter for lines removes it.
        self.trace_id().map_or_else(tracing::Span::none, |trace_id| tracing::error_span!("trace", trace_id))
    }

    /// Adds an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(mut span) = self.recording() {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Adds a moment.
    pub fn event_at(&self, name: &'static str, at: SystemTime) {
        if let Some(mut span) = self.recording() {
            span.add_event_with_timestamp(name, at, Vec::new());
        }
    }

    /// Marks it as failed.
    pub fn fail(&self, reason: &str) {
        if let Some(mut span) = self.recording() {
            span.set_status(Status::error(reason.to_owned()));
        }
    }

    /// Ends it at a moment that has passed. What follows is ignored.
    pub fn end_at(&self, at: SystemTime) {
        if let Some(mut span) = self.recording() {
            span.end_with_timestamp(at);
        }
    }

    fn recording(&self) -> Option<MutexGuard<'_, Span>> {
        Some(self.on.as_ref()?.span.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
