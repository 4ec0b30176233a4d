//! The envelope with any content and any bytes.

use broker::messages::ENVELOPE_VERSION;
use broker::{Envelope, FleetEvent, JobReady, JobSubmitted, MessageError};
use chrono::DateTime;
use domain::{JobId, PoolId, WorkerId};
use proptest::prelude::*;
use uuid::Uuid;

const MAX_BYTES: usize = 1 << 20;

fn any_uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn any_envelope() -> impl Strategy<Value = Envelope<JobReady>> {
    let parts = (any_uuid(), any_uuid(), any::<i32>(), ".*", 0..4_000_000_000_i64, proptest::option::of(".*"));
    parts.prop_map(|(id, job, dispatch_no, pool, seconds, traceparent)| Envelope {
        id,
        at: DateTime::from_timestamp(seconds, 0).expect("within range"),
        traceparent,
        body: JobReady { job_id: JobId(job), dispatch_no, pool: PoolId::from_stored(pool) },
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(envelope in any_envelope()) {
        let bytes = envelope.encode(MAX_BYTES).expect("small enough");
        prop_assert_eq!(Envelope::<JobReady>::decode(&bytes, MAX_BYTES).expect("our own bytes"), envelope);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Envelope::<JobReady>::decode(&bytes, MAX_BYTES).is_err());
    }

    #[test]
    fn a_truncated_message_is_never_accepted(envelope in any_envelope(), at in any::<prop::sample::Index>()) {
        let bytes = envelope.encode(MAX_BYTES).expect("small enough");
        prop_assert!(Envelope::<JobReady>::decode(&bytes[..at.index(bytes.len())], MAX_BYTES).is_err());
    }

    #[test]
    fn another_version_is_refused_whatever_its_body(version in any::<u32>(), body in ".*") {
        prop_assume!(version != ENVELOPE_VERSION);
        let wire = serde_json::json!({"v": version, "type": "job.ready", "something": body});
        let error = Envelope::<JobReady>::decode(wire.to_string().as_bytes(), MAX_BYTES).expect_err("unknown");
        prop_assert_eq!(error, MessageError::UnknownVersion { found: version });
    }
}

fn sample() -> serde_json::Value {
    let envelope = Envelope {
        id: Uuid::nil(),
        at: DateTime::from_timestamp(0, 0).expect("within range"),
        traceparent: None,
        body: JobSubmitted { job_ids: vec![JobId(Uuid::nil())] },
    };
    serde_json::from_slice(&envelope.encode(MAX_BYTES).expect("small enough")).expect("JSON")
}

#[test]
fn the_wire_form_stays_what_other_releases_expect() {
    let nil = "00000000-0000-0000-0000-000000000000";
    let expected = serde_json::json!({
        "v": 1, "type": "job.submitted", "id": nil, "at": "1970-01-01T00:00:00Z", "body": {"job_ids": [nil]},
    });
    assert_eq!(sample(), expected);
}

#[test]
fn a_field_of_a_later_release_is_ignored() {
    let mut wire = sample();
    wire["body"]["priority"] = 7.into();
    wire["hops"] = 1.into();
    assert!(Envelope::<JobSubmitted>::decode(wire.to_string().as_bytes(), MAX_BYTES).is_ok());
}

#[test]
fn the_wrong_type_and_the_wrong_size_have_different_errors() {
    let bytes = sample().to_string();
    let error = Envelope::<FleetEvent>::decode(bytes.as_bytes(), MAX_BYTES).expect_err("another type");
    assert!(matches!(error, MessageError::UnexpectedType { .. }), "{error}");
    let error = Envelope::<JobSubmitted>::decode(bytes.as_bytes(), 10).expect_err("too large");
    assert!(matches!(error, MessageError::TooLarge { max_bytes: 10, .. }), "{error}");
    let event = FleetEvent::WorkerChanged { worker_id: WorkerId::fresh() };
    let envelope = Envelope { id: Uuid::nil(), at: DateTime::UNIX_EPOCH, traceparent: None, body: event };
    assert!(matches!(envelope.encode(10), Err(MessageError::TooLarge { .. })));
}

#[test]
fn the_reason_never_quotes_the_message() {
    let error = Envelope::<JobReady>::decode(b"{\"v\":\"hunter2\",\"type\":1}", MAX_BYTES).expect_err("malformed");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

/// Phase 2 adds fields: a release that does not know them reads the message without them.
#[test]
fn fields_for_batches_and_several_gpus_are_ignored() {
    let ready = Envelope {
        id: Uuid::nil(),
        at: DateTime::UNIX_EPOCH,
        traceparent: None,
        body: JobReady { job_id: JobId(Uuid::nil()), dispatch_no: 3, pool: PoolId::from_stored("m.80g".to_owned()) },
    };
    let mut wire: serde_json::Value =
        serde_json::from_slice(&ready.encode(MAX_BYTES).expect("small enough")).expect("JSON");
    wire["body"]["batch"] = serde_json::json!([Uuid::nil(), Uuid::nil()]);
    wire["body"]["devices"] = 8.into();
    wire["body"]["candidate_of"] = Uuid::nil().to_string().into();
    let read = Envelope::<JobReady>::decode(wire.to_string().as_bytes(), MAX_BYTES).expect("readable");
    assert_eq!(read, ready);
}
