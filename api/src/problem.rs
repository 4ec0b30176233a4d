//! Errors as users see them: `application/problem+json` (RFC 9457), naming the field where there is one.
//!
//! Handlers return [`Problem`]; nothing else decides a status. What goes wrong inside is logged once, here, and answered
//! with a text that says what to do; a database's or broker's own words never leave the process.

use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::FieldError;
use serde::Serialize;
use store::StoreError;

/// Every kind of error that the API answers, each with one status and one stable `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body or the query string cannot be read at all.
    Malformed,
    /// Readable, but one or more fields are wrong.
    InvalidRequest,
    /// No key, or one that is unknown or revoked.
    Unauthenticated,
    /// The key may not do this.
    Forbidden,
    /// A browser request without proof that the page itself sent it.
    CrossSite,
    /// The request names a host that is not one of this API's.
    UnknownHost,
    /// No such thing, or it belongs to somebody else.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The job is in a state that does not allow it.
    Conflict,
    /// The request took too long, mostly because its body did not arrive.
    TimedOut,
    /// The body is larger than the limit.
    TooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The wanted bytes lie outside the video.
    RangeNotSatisfiable,
    /// The idempotency key was used for another payload.
    KeyReused,
    /// The key's rate is used up.
    RateLimited,
    /// The backlog is full.
    BacklogFull,
    /// A dependency does not answer.
    Unavailable,
    /// A fault of the service.
    Internal,
}

impl ProblemKind {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::InvalidRequest | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::BacklogFull | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Last part of the problem's `type`; also its word in metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::InvalidRequest => "invalid-request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::CrossSite => "cross-site",
            Self::UnknownHost => "unknown-host",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Conflict => "conflict",
            Self::TimedOut => "timed-out",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::RangeNotSatisfiable => "range-not-satisfiable",
            Self::KeyReused => "idempotency-key-reused",
            Self::RateLimited => "rate-limited",
            Self::BacklogFull => "backlog-full",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::InvalidRequest => "Some fields are wrong",
            Self::Unauthenticated => "A valid API key is needed",
            Self::Forbidden => "This key may not do that",
            Self::CrossSite => "The request did not come from the page",
            Self::UnknownHost => "The request names an unknown host",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "The method is not known here",
            Self::Conflict => "The job's state does not allow it",
            Self::TimedOut => "The request took too long",
            Self::TooLarge => "The request is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::RangeNotSatisfiable => "The range lies outside the file",
            Self::KeyReused => "The idempotency key belongs to another request",
            Self::RateLimited => "Too many requests",
            Self::BacklogFull => "The backlog is full",
            Self::Unavailable => "The service cannot answer right now",
            Self::Internal => "Something went wrong inside",
        }
    }
}

/// The JSON body of every error.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// `urn:hunyuan-fleet:problem:<code>`: stable, for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time and what to do.
    pub detail: String,
    /// What is wrong with which field; empty when no field is to blame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// An error on its way to the user.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a client is told to wait for a database that is away or busy, seconds.
const RETRY_AFTER_S: u64 = 2;

/// What handlers return.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of a kind, with what happened and what to do.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    /// Fields that are wrong. The detail repeats the first so that a log line alone is useful.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [] => "the request is invalid".to_owned(),
            [one] => format!("{}: {}", one.field, one.reason),
            [first, rest @ ..] => format!("{}: {} (and {} more)", first.field, first.reason, rest.len()),
        };
        Self { kind: ProblemKind::InvalidRequest, detail, errors, headers: Vec::new() }
    }

    /// One field that is wrong.
    #[must_use]
    pub fn field(field: &str, reason: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(field, reason)])
    }

    /// There is no such job for this caller.
    #[must_use]
    pub(crate) fn no_job() -> Self {
        Self::new(ProblemKind::NotFound, "there is no job with this id; GET /api/jobs lists yours")
    }

    /// Adds a header, for example a rate limit's.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says when to come back, whole seconds.
    #[must_use]
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Something that must not happen happened. The error is logged here; the user learns only that it did.
    #[must_use]
    pub(crate) fn internal(doing: &str, error: &dyn Display) -> Self {
        tracing::error!(doing, error = %error, "request failed inside");
        Self::new(ProblemKind::Internal, "an unexpected error occurred; it has been logged under the request's id")
    }

    /// A dependency is down.
    #[must_use]
    pub(crate) fn unavailable(what: &str, retry_after_s: u64) -> Self {
        Self::new(ProblemKind::Unavailable, format!("{what} does not answer; try again in {retry_after_s} s"))
            .retry_after(retry_after_s)
    }

    /// What a failed call of the store means to a client.
    #[must_use]
    pub(crate) fn from_store(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => {
                tracing::warn!(error = %cause, "the database does not answer");
                Self::unavailable("the database", RETRY_AFTER_S)
            }
            StoreError::Conflict(_) => {
                Self::unavailable("the database is busy with conflicting changes and", RETRY_AFTER_S)
            }
            other => {
                let cause = std::error::Error::source(other).map(ToString::to_string).unwrap_or_default();
                Self::internal("store", &format!("{other} {cause}"))
            }
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:hunyuan-fleet:problem:{}", self.kind.code()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            errors: self.errors.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_type_of_its_own() {
        use ProblemKind as K;
        let kinds = [
            K::Malformed,
            K::InvalidRequest,
            K::Unauthenticated,
            K::Forbidden,
            K::CrossSite,
            K::UnknownHost,
            K::NotFound,
            K::MethodNotAllowed,
            K::Conflict,
            K::TimedOut,
            K::TooLarge,
            K::UnsupportedMediaType,
            K::RangeNotSatisfiable,
            K::KeyReused,
            K::RateLimited,
            K::BacklogFull,
            K::Unavailable,
            K::Internal,
        ];
        let codes: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), kinds.len());
    }

    #[test]
    fn several_wrong_fields_are_all_told() {
        let problem = Problem::fields(vec![FieldError::new("a", "is bad"), FieldError::new("b", "is worse")]);
        insta::assert_json_snapshot!(problem.body(), @r#"
        {
          "type": "urn:hunyuan-fleet:problem:invalid-request",
          "title": "Some fields are wrong",
          "status": 422,
          "detail": "a: is bad (and 1 more)",
          "errors": [
            {
              "field": "a",
              "reason": "is bad"
            },
            {
              "field": "b",
              "reason": "is worse"
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_retry_time_is_at_least_a_second() {
        let response = Problem::unavailable("the database", 0).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
