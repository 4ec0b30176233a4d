//! Error responses in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.
//!
//! Every error under `/v1` is a [`Problem`] first, whether a handler, an extractor or a layer created it. The middleware
//! [`translate`] turns it into this shape. The members of RFC 9457 stay, because neither shape excludes the other.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::FieldError;
use serde::Serialize;

use crate::problem::{Problem, ProblemBody, ProblemKind as Kind};

/// Tells OpenAI's clients whether to repeat a request, whatever its status.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// What a handler under `/v1` returns instead of a response: a problem, and the code that only this API has for it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    problem: Problem,
    shown: Shown,
}

/// The members of the error that do not follow from the problem's kind.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    code: Option<&'static str>,
    param: Option<&'static str>,
}

impl Refusal {
    /// A problem with a code and a parameter of its own.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>, code: &'static str, param: Option<&'static str>) -> Self {
        Self { problem: Problem::new(kind, detail), shown: Shown { code: Some(code), param } }
    }

    /// The video does not exist for this caller.
    pub(crate) fn no_video() -> Self {
        Problem::new(Kind::NotFound, "there is no video with this id; GET /v1/videos lists yours").into()
    }

    /// The problem without what only this API says.
    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, shown: Shown::default() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        response.extensions_mut().insert(self.shown);
        response
    }
}

#[derive(Debug, Serialize)]
struct Body {
    error: ErrorBody,
    #[serde(flatten)]
    problem: ProblemBody,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<String>,
    code: &'static str,
}

/// Middleware: gives the errors of all paths under `/v1` OpenAI's shape.
pub(crate) async fn translate(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let concerned = path == "/v1" || path.starts_with("/v1/");
    let mut response = next.run(request).await;
    if !concerned {
        return response;
    }
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let shown = response.extensions_mut().remove::<Shown>().unwrap_or_default();
    let status = status(problem.kind());
    let mut translated = (status, Json(body(&problem, shown, status))).into_response();
    let kept = response.headers().iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    for (name, value) in kept {
        translated.headers_mut().insert(name.clone(), value.clone());
    }
    // 409 would be repeated, although only another request can succeed, and so would 429, although a quota renews once a day.
    if status == StatusCode::CONFLICT || problem.kind() == Kind::QuotaExceeded {
        translated.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    translated
}

fn body(problem: &Problem, shown: Shown, status: StatusCode) -> Body {
    let mut problem_body = problem.body();
    problem_body.status = status.as_u16();
    let first = problem_body.errors.first();
    let error = ErrorBody {
        message: problem_body.detail.clone(),
        kind: kind(problem.kind()),
        param: shown.param.map(str::to_owned).or_else(|| first.map(|error| error.field.clone())),
        code: shown.code.unwrap_or_else(|| first.map_or_else(|| code(problem.kind()), field_code)),
    };
    Body { error, problem: problem_body }
}

/// Invalid fields are a 400 here. Everything else keeps its status, which OpenAI's clients act on in the same way.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidRequest | Kind::DeadlineInfeasible => StatusCode::BAD_REQUEST,
        other => other.status(),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Forbidden | Kind::CrossSite | Kind::UnknownHost => "permission_error",
        Kind::KeyReused => "idempotency_error",
        Kind::RateLimited => "rate_limit_error",
        Kind::QuotaExceeded | Kind::BudgetSpent => "insufficient_quota",
        Kind::BacklogFull | Kind::Unavailable | Kind::Internal | Kind::TimedOut => "server_error",
        _ => "invalid_request_error",
    }
}

fn code(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidRequest => "invalid_value",
        Kind::Unauthenticated => "invalid_api_key",
        Kind::NotFound => "not_found",
        Kind::RateLimited => "rate_limit_exceeded",
        Kind::QuotaExceeded | Kind::BudgetSpent => "insufficient_quota",
        Kind::BacklogFull | Kind::Unavailable => "overloaded",
        other => other.code(),
    }
}

/// OpenAI's codes for the two errors that are not about a value.
fn field_code(error: &FieldError) -> &'static str {
    if error.reason.starts_with("is missing") {
        "missing_required_parameter"
    } else if error.reason.starts_with("is not known here") {
        "unknown_parameter"
    } else {
        "invalid_value"
    }
}
