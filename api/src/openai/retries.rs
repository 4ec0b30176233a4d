//! Recognises a submission that a client sends again because the response to the first one was lost.
//!
//! OpenAI's SDKs repeat a POST after a lost connection and after 408, 409, 429 and 5xx. They send no idempotency key, only the
//! number of the try (`x-stainless-retry-count`). A first try is always a new video, even if an equal request was sent before. A
//! repeated one returns the video that the same caller submitted with the same fields within [`WINDOW_S`], if there is one that
//! was not yet returned to such a retry (`store::jobs::retried`); otherwise it is a new video.
//!
//! A try that was refused for certain (429, full backlog) created nothing, so its retry must not take over the video of an equal
//! request that was accepted. [`Refusals`] counts these for [`REFUSED_S`], if the SDKs repeat their status. It lives in this process
//! only: a retry that reaches another replica finds no refusal there and may take over such a video. An `Idempotency-Key` avoids even
//! that. A retry takes over no failed or cancelled video: a request that is sent again after that asks for another one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use domain::{Origin, VideoRequest};
use uuid::Uuid;

/// How long after the first try a retry may arrive, seconds: the SDKs' three tries with their longest time limit, 600 s each.
pub(super) const WINDOW_S: f64 = 1800.0;

/// How long after a refusal its retry may arrive, seconds. The SDKs wait 8 s at most by themselves, and a minute if a response asks for it.
const REFUSED_S: f64 = 120.0;

/// Refusals that are remembered; beyond that, older ones are forgotten, and then all.
const REMEMBERED_MAX: usize = 10_000;

/// Number of the retry that the headers announce; 0 for a first try and for clients that do not count.
pub(super) fn retry_no(headers: &HeaderMap) -> i16 {
    let text = headers.get("x-stainless-retry-count").and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse::<i16>().ok()).unwrap_or(0).max(0)
}

/// Whether the SDKs send a request again by themselves after a response with this status.
pub(super) fn is_repeated(status: StatusCode) -> bool {
    let repeated = [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || repeated.contains(&status)
}

/// What makes two submissions the same to this rule: the caller's key, or its tenant without one, and everything it asked for.
pub(super) fn fingerprint(caller: Uuid, request: &VideoRequest, origin: &Origin) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(caller.as_bytes());
    hasher.update(&request.payload_hash());
    hasher.update(&serde_json::to_vec(origin).expect("an origin is JSON; this is a bug"));
    hasher.finalize().into()
}

/// Refused submissions whose retries have not arrived yet, by fingerprint.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<[u8; 32], (u32, Instant)>>);

impl Refusals {
    /// A submission was refused and created nothing.
    pub(super) fn note(&self, fingerprint: [u8; 32]) {
        let now = Instant::now();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= REMEMBERED_MAX {
            noted.retain(|_, (_, at)| now.duration_since(*at) < Duration::from_secs_f64(REFUSED_S));
            if noted.len() >= REMEMBERED_MAX {
                noted.clear();
            }
        }
        let (count, at) = noted.entry(fingerprint).or_insert((0, now));
        (*count, *at) = (*count + 1, now);
    }

    /// Whether a recent refusal is left for a retry; it is used up by that.
    pub(super) fn take(&self, fingerprint: &[u8; 32]) -> bool {
        self.take_at(fingerprint, Instant::now())
    }

    fn take_at(&self, fingerprint: &[u8; 32], now: Instant) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, at)) = noted.get_mut(fingerprint) else { return false };
        if now.duration_since(*at) >= Duration::from_secs_f64(REFUSED_S) {
            noted.remove(fingerprint);
            return false;
        }
        *count -= 1;
        if *count == 0 {
            noted.remove(fingerprint);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_serves_one_retry() {
        let refusals = Refusals::default();
        let (one, other) = ([1; 32], [2; 32]);
        refusals.note(one);
        refusals.note(one);
        assert!(!refusals.take(&other));
        assert!(refusals.take(&one) && refusals.take(&one) && !refusals.take(&one));
    }

    #[test]
    fn an_old_refusal_serves_no_retry() {
        let refusals = Refusals::default();
        refusals.note([1; 32]);
        refusals.note([1; 32]);
        let later = Instant::now() + Duration::from_secs_f64(REFUSED_S);
        assert!(!refusals.take_at(&[1; 32], later) && !refusals.take(&[1; 32]), "all of them are forgotten");
    }

    #[test]
    fn what_the_sdks_give_up_on_is_no_retry() {
        assert!([408, 409, 429, 500, 503].iter().all(|status| is_repeated(StatusCode::from_u16(*status).unwrap())));
        assert!([400, 402, 413, 422].iter().all(|status| !is_repeated(StatusCode::from_u16(*status).unwrap())));
    }

    #[test]
    fn only_a_count_is_a_retry() {
        let read = |text: &'static str| {
            retry_no(&HeaderMap::from_iter([("x-stainless-retry-count".parse().unwrap(), text.parse().unwrap())]))
        };
        assert_eq!(["0", "1", "2", "-3", "x", ""].map(read), [0, 1, 2, 0, 0, 0]);
        assert_eq!(retry_no(&HeaderMap::new()), 0);
    }
}
