//! Spans: off without an endpoint, below the client's otherwise, and never waiting for a collector.
//! What a collector receives is checked by `scripts/check-traces` on a whole fleet.

use std::time::{Duration, SystemTime};

use settings::TelemetrySettings;
use telemetry::{TraceSpan, Traces};
use tokio::net::TcpListener;

const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traces(endpoint: &str, sampling_ratio: f64) -> Traces {
    let settings = TelemetrySettings {
        otlp_endpoint: endpoint.to_owned(),
        service_name: "test".to_owned(),
        sampling_ratio,
        timeout_ms: 100,
    };
    Traces::start(&settings, "unit").expect("traces")
}

/// Nothing listens on the discard port.
fn on(sampling_ratio: f64) -> Traces {
    traces("http://127.0.0.1:9", sampling_ratio)
}

fn ids(span: &TraceSpan) -> (Option<String>, Option<String>) {
    (span.trace_id(), span.traceparent())
}

#[test]
fn without_an_endpoint_nothing_is_recorded() {
    // Outside of an async runtime: nothing is started either.
    let off = traces("", 1.0);
    assert!(!off.is_on());
    let spans = [off.request(Some(CLIENT), "POST /".to_owned()), off.child(Some(CLIENT), "run")];
    for span in spans.iter().chain([&spans[0].child("stage")]) {
        assert_eq!(ids(span), (None, None));
        assert!(span.log_span().is_none());
    }
}

#[tokio::test]
async fn a_request_continues_the_trace_of_its_client() {
    let traces = on(0.0);
    let request = traces.request(Some(CLIENT), "POST /api/generate".to_owned());
    assert_eq!(request.trace_id().as_deref(), Some(TRACE), "the client's decision counts, not the ratio");
    let header = request.traceparent().expect("a header");
    assert!(header.starts_with(&format!("00-{TRACE}-")) && header.ends_with("-01") && header != CLIENT);
    let run = traces.child(Some(&header), "run");
    let stage = run.child_since("stage", SystemTime::now());
    assert_eq!((run.trace_id().as_deref(), stage.trace_id().as_deref()), (Some(TRACE), Some(TRACE)));
    assert_ne!(run.traceparent(), stage.traceparent());
}

#[tokio::test]
async fn what_is_not_sampled_is_passed_on_as_such_and_not_recorded() {
    let declined = on(1.0).request(Some(&CLIENT.replace("-01", "-00")), "POST /".to_owned());
    let left_out = on(0.0).request(None, "POST /".to_owned());
    for request in [declined, left_out] {
        assert_eq!(request.trace_id(), None);
        let header = request.traceparent().expect("a header: later processes follow the decision");
        assert!(header.ends_with("-00"), "{header}");
        assert_eq!(ids(&on(1.0).child(Some(&header), "run")), (None, None));
    }
}

#[tokio::test]
async fn only_a_request_begins_a_trace() {
    let traces = on(1.0);
    assert!(traces.request(None, "POST /".to_owned()).trace_id().is_some());
    assert_eq!(ids(&traces.child(None, "run")), (None, None));
    assert_eq!(ids(&traces.child(Some("not a header"), "run")), (None, None));
}

/// Were any of these calls to wait for the collector, this test would not end.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_respond_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}/", silent.local_addr().expect("an address"));
    let traces = traces(&endpoint, 1.0);
    let request = traces.request(None, "POST /".to_owned());
    // More than the queue holds.
    for number in 0..10_000 {
        let span = request.child("part");
        span.set("number", i64::from(number));
        span.event_at("middle", SystemTime::now());
        span.fail("of no consequence");
        span.end_at(SystemTime::now());
    }
    drop(request);
    traces.finish(Duration::from_millis(100)).await;
}
