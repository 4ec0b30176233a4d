//! Errors as clients see them: `application/problem+json` (RFC 9457), which names the invalid field if there is one.
//!
//! Handlers return [`Problem`]; no other code chooses an error status. An internal failure is logged once, here, and the client
//! receives a text that says what to do. Messages of the database or the broker never leave the process, because they may
//! contain addresses or data of other tenants.

use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::FieldError;
use serde::Serialize;
use store::StoreError;

/// Every kind of error that the API returns. Each kind has one status and one stable `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body or the query string cannot be parsed.
    Malformed,
    /// The request can be parsed, but one or more fields are invalid.
    InvalidRequest,
    /// The key is missing, unknown or revoked.
    Unauthenticated,
    /// The key does not have the required permission.
    Forbidden,
    /// A browser request without proof that the fleet's own page sent it.
    CrossSite,
    /// The request names a host that is not one of this API's.
    UnknownHost,
    /// It does not exist, or it belongs to another tenant. Both look the same, so that ids of other tenants cannot be probed.
    NotFound,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The job's state does not allow the action.
    Conflict,
    /// The request took too long, usually because its body did not arrive.
    TimedOut,
    /// The body is larger than the limit.
    TooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The requested bytes are outside the file.
    RangeNotSatisfiable,
    /// The idempotency key was already used with a different payload.
    KeyReused,
    /// The deadline cannot be met, and the request asks to be rejected then.
    DeadlineInfeasible,
    /// The key has exceeded its submission rate.
    RateLimited,
    /// The key has used up its quota of GPU time.
    QuotaExceeded,
    /// A budget of the tenant is used up.
    BudgetSpent,
    /// The backlog is full.
    BacklogFull,
    /// A dependency is unavailable.
    Unavailable,
    /// An internal error of the service.
    Internal,
}

impl ProblemKind {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::InvalidRequest | Self::KeyReused | Self::DeadlineInfeasible => StatusCode::UNPROCESSABLE_ENTITY,
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
            Self::RateLimited | Self::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::BudgetSpent => StatusCode::PAYMENT_REQUIRED,
            Self::BacklogFull | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Last part of the problem's `type`; also its label value in metrics.
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
            Self::DeadlineInfeasible => "deadline-infeasible",
            Self::RateLimited => "rate-limited",
            Self::QuotaExceeded => "quota-exceeded",
            Self::BudgetSpent => "budget-spent",
            Self::BacklogFull => "backlog-full",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be parsed",
            Self::InvalidRequest => "Some fields are invalid",
            Self::Unauthenticated => "A valid API key is required",
            Self::Forbidden => "This key does not have the required permission",
            Self::CrossSite => "The request was not sent by the fleet's own page",
            Self::UnknownHost => "The request names an unknown host",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Conflict => "The job's state does not allow this",
            Self::TimedOut => "The request timed out",
            Self::TooLarge => "The request is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::RangeNotSatisfiable => "The range is outside the file",
            Self::KeyReused => "The idempotency key was used for another request",
            Self::DeadlineInfeasible => "The deadline cannot be met",
            Self::RateLimited => "Too many requests",
            Self::QuotaExceeded => "The key's quota is used up",
            Self::BudgetSpent => "A budget is used up",
            Self::BacklogFull => "The backlog is full",
            Self::Unavailable => "The service is temporarily unavailable",
            Self::Internal => "Internal error",
        }
    }
}

/// The JSON body of every error.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// `urn:hunyuan-fleet:problem:<code>`. Stable; programs should compare this field.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem as a short phrase.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened in this case and what to do.
    pub detail: String,
    /// The invalid fields, with the reason for each; absent when the problem is not about a field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// With `deadline-infeasible`: the shortest deadline that looks feasible, in seconds from submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feasible_deadline_s: Option<u32>,
}

/// An error response for a client.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    feasible_deadline_s: Option<u32>,
}

/// `Retry-After` while the database is unavailable or busy, in seconds.
const RETRY_AFTER_S: u64 = 2;

/// What handlers return.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of the given kind. `detail` says what happened and what to do.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), headers: Vec::new(), feasible_deadline_s: None }
    }

    /// Invalid fields. The detail repeats the first one, so that clients which show only the detail are still useful.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [] => "the request is invalid".to_owned(),
            [one] => format!("{}: {}", one.field, one.reason),
            [first, rest @ ..] => format!("{}: {} (and {} more)", first.field, first.reason, rest.len()),
        };
        Self { errors, ..Self::new(ProblemKind::InvalidRequest, detail) }
    }

    /// One invalid field.
    #[must_use]
    pub fn field(field: &str, reason: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(field, reason)])
    }

    /// The deadline in `field` cannot be met.
    #[must_use]
    pub(crate) fn infeasible_deadline(
        field: &str,
        reason: String,
        feasible_deadline_s: Option<u32>,
        retry_after_s: Option<u64>,
    ) -> Self {
        let problem = Self { kind: ProblemKind::DeadlineInfeasible, feasible_deadline_s, ..Self::field(field, reason) };
        match retry_after_s {
            Some(seconds) => problem.retry_after(seconds),
            None => problem,
        }
    }

    /// A field that is larger than the server accepts.
    #[must_use]
    pub(crate) fn too_large(field: &str, reason: impl Into<String>) -> Self {
        Self { kind: ProblemKind::TooLarge, ..Self::field(field, reason) }
    }

    /// The same problem about fields under other names.
    #[must_use]
    pub(crate) fn with_fields(self, translate: impl FnOnce(Vec<FieldError>) -> Vec<FieldError>) -> Self {
        if self.errors.is_empty() {
            return self;
        }
        let Self { kind, errors, headers, feasible_deadline_s, .. } = self;
        Self { kind, headers, feasible_deadline_s, ..Self::fields(translate(errors)) }
    }

    /// The job does not exist for this caller.
    #[must_use]
    pub(crate) fn no_job() -> Self {
        Self::new(ProblemKind::NotFound, "there is no job with this id; GET /api/jobs lists yours")
    }

    /// Adds a response header, for example the state of a rate limit.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets `Retry-After`, in whole seconds.
    #[must_use]
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// An unexpected error. It is logged here; the client learns only that it occurred and where to find it in the log.
    #[must_use]
    pub(crate) fn internal(doing: &str, error: &dyn Display) -> Self {
        tracing::error!(doing, error = %error, "internal error");
        Self::new(
            ProblemKind::Internal,
            "an unexpected error occurred; it is logged under this response's x-request-id",
        )
    }

    /// A dependency is unavailable; `what` names it.
    #[must_use]
    pub(crate) fn unavailable(what: &str, retry_after_s: u64) -> Self {
        Self::try_later(&format!("{what} is unavailable"), retry_after_s)
    }

    /// The request cannot be served for now, for the given reason.
    #[must_use]
    pub(crate) fn try_later(reason: &str, retry_after_s: u64) -> Self {
        Self::new(ProblemKind::Unavailable, format!("{reason}; try again in {retry_after_s} s"))
            .retry_after(retry_after_s)
    }

    /// Translates an error of the store into a problem.
    #[must_use]
    pub(crate) fn from_store(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) | StoreError::Rejected { cause, .. } => {
                tracing::warn!(error = %cause, "the database is unavailable");
                Self::unavailable("the database", RETRY_AFTER_S)
            }
            StoreError::ImageReference(_) => {
                Self::field("image", "was deleted while the request was submitted; upload it again")
            }
            StoreError::Conflict(_) => Self::try_later("the database is busy with conflicting changes", RETRY_AFTER_S),
            other => {
                let cause = std::error::Error::source(other).map(ToString::to_string).unwrap_or_default();
                Self::internal("store", &format!("{other} {cause}"))
            }
        }
    }

    /// The kind of problem.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The JSON body of the response.
    #[must_use]
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:hunyuan-fleet:problem:{}", self.kind.code()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            errors: self.errors.clone(),
            feasible_deadline_s: self.feasible_deadline_s,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.body())).into_response();
        // For the part of the API that shows errors in another shape.
        response.extensions_mut().insert(self.clone());
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
    fn every_kind_has_its_own_type() {
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
            K::DeadlineInfeasible,
            K::RateLimited,
            K::QuotaExceeded,
            K::BudgetSpent,
            K::BacklogFull,
            K::Unavailable,
            K::Internal,
        ];
        let codes: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), kinds.len());
    }

    #[test]
    fn all_invalid_fields_are_reported() {
        let problem = Problem::fields(vec![FieldError::new("a", "is bad"), FieldError::new("b", "is worse")]);
        insta::assert_json_snapshot!(problem.body(), @r#"
        {
          "type": "urn:hunyuan-fleet:problem:invalid-request",
          "title": "Some fields are invalid",
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
