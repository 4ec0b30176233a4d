//! Requests: JSON bodies, query strings and idempotency keys, as the API reads them. An accepted request has a valid shape and
//! survives being written and read again, as a body and as a stored document; a refusal names a field or gives a reason.

#![no_main]

use std::sync::LazyLock;

use api::extract::{read_idempotency_key, read_json, read_query};
use api::problem::ProblemKind;
use api::routes::batch::BatchRequest;
use domain::{ModelManifest, RequestLimits, VideoRequest};
use libfuzzer_sys::fuzz_target;

const LIMITS: RequestLimits =
    RequestLimits {
        prompt_chars_max: 2000,
        cfg_scale_max: 20.0,
        true_cfg_scale_max: 20.0,
        deadline_s_max: 604_800,
        interpolated_frames_max: 513,
    };

static MODEL: LazyLock<ModelManifest> = LazyLock::new(|| {
    ModelManifest::parse(include_str!("../../models/default/fleet.toml")).expect("the committed manifest is valid")
});

fn judge(request: &VideoRequest) {
    match request.validate(&LIMITS, &MODEL) {
        Ok(shape) => {
            assert!(shape.width > 0 && shape.height > 0 && shape.frames % 4 == 1 && shape.fps > 0.0);
            let written = serde_json::to_vec(request).expect("a request is JSON");
            let again: VideoRequest = serde_json::from_slice(&written).expect("our own JSON");
            assert_eq!(again.payload_hash(), request.payload_hash());
            let mut document = serde_json::to_value(request).expect("a request is JSON");
            document["unknown"] = true.into();
            assert_eq!(&VideoRequest::from_document(document).expect("our own document"), request);
        }
        Err(errors) => assert!(!errors.is_empty() && errors.iter().all(|e| !e.field.is_empty() && !e.reason.is_empty())),
    }
}

fuzz_target!(|data: &[u8]| {
    match read_json::<VideoRequest>(data) {
        Ok(request) => judge(&request),
        Err(problem) if problem.kind() == ProblemKind::InvalidRequest => assert!(!problem.body().errors.is_empty()),
        Err(_) => {}
    }
    if let Ok(batch) = read_json::<BatchRequest>(data) {
        batch.requests.iter().for_each(judge);
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(request) = read_query::<VideoRequest>(&text) {
        judge(&request);
    }
    let _ = read_idempotency_key(&text);
});
