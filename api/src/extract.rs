//! Extractors: JSON bodies, query strings, path ids and the idempotency key, each with errors that name the field.
//!
//! axum's own extractors answer in plain text and do not name the field; these answer with a [`Problem`]. Unknown fields are
//! refused by the types themselves (`deny_unknown_fields`).

use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use domain::JobId;
use serde::de::DeserializeOwned;

use crate::problem::{Problem, ProblemKind};
pub use crate::strict::read_json;
pub(crate) use crate::strict::read_query;

/// A JSON body of type `T`.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T, S> FromRequest<S> for JsonBody<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // Requiring the type also keeps other sites' forms out: a browser sends JSON across origins only after a
        // preflight, which this API never grants.
        if !is_json(request.headers()) {
            let detail = "send the body as JSON with the header 'Content-Type: application/json'";
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        check_encodings(request.headers())?;
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(ProblemKind::TooLarge, "the body is larger than this server accepts")
            } else {
                Problem::new(ProblemKind::Malformed, "the body could not be read to its end")
            }
        })?;
        read_json(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    essence.is_some_and(|essence| essence == "application/json" || essence.ends_with("+json"))
}

/// Refuses compressed bodies and charsets other than UTF-8, which would otherwise be reported as broken JSON.
fn check_encodings(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let wrong = |detail: String| Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    let coding = text(header::CONTENT_ENCODING);
    if !matches!(coding.trim(), "" | "identity") {
        return wrong(format!("the body is sent with 'Content-Encoding: {coding}'; send it uncompressed"));
    }
    let content_type = text(header::CONTENT_TYPE);
    let charset = content_type.split(';').find_map(|part| part.trim().strip_prefix("charset="));
    match charset.map(|charset| charset.trim_matches('"')) {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(other) => wrong(format!("the body is sent with the charset '{other}'; send it as UTF-8")),
    }
}

/// A query string of type `T`.
#[derive(Debug)]
pub struct QueryString<T>(pub T);

impl<T, S> FromRequestParts<S> for QueryString<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// The `{id}` of a job in the path. An invalid id returns 404, exactly as another tenant's id does.
#[derive(Debug, Clone, Copy)]
pub struct JobPath(pub JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::no_job())?;
        JobId::from_str(&text).map(Self).map_err(|_| Problem::no_job())
    }
}

/// The `Idempotency-Key` header, quoted (as the standard's structured string) or bare (as most clients send it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

/// Longest idempotency key, characters. It is stored and indexed with the job.
pub(crate) const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let wrong = |reason: String| Err(Problem::field("Idempotency-Key", reason));
        if values.next().is_some() {
            return wrong("was sent more than once; send it once".to_owned());
        }
        let Ok(text) = value.to_str() else {
            return wrong("must be printable ASCII".to_owned());
        };
        read_idempotency_key(text).map(|key| Self(Some(key))).or_else(wrong)
    }
}

/// Reads an idempotency key, quoted or bare.
///
/// # Errors
/// What is wrong with it. Never panics, whatever the text.
pub(crate) fn read_idempotency_key(text: &str) -> Result<String, String> {
    let key = unquote(text.trim())?;
    match key.len() {
        0 => Err("is empty; send a fresh UUID for each new request".to_owned()),
        1..=IDEMPOTENCY_KEY_CHARS_MAX => Ok(key),
        longer => Err(format!("has {longer} characters; at most {IDEMPOTENCY_KEY_CHARS_MAX} are allowed")),
    }
}

/// Reads a structured-field string, or a bare value as it is.
fn unquote(text: &str) -> Result<String, &'static str> {
    let Some(inner) = text.strip_prefix('"') else {
        return if text.contains('"') {
            Err("has a quote in the middle; quote all of it or nothing")
        } else {
            Ok(text.to_owned())
        };
    };
    let mut key = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    loop {
        match chars.next() {
            None => return Err("opens a quote and never closes it"),
            Some('"') => break,
            Some('\\') => match chars.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err("has a backslash that escapes neither a quote nor a backslash"),
            },
            Some(plain) => key.push(plain),
        }
    }
    // Parameters (`"key";a=1`) are allowed by the grammar and mean nothing here.
    match chars.as_str().trim_start() {
        "" => Ok(key),
        rest if rest.starts_with(';') => Ok(key),
        _ => Err("has something after its closing quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::VideoRequest;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        #[expect(dead_code, reason = "only its type matters here")]
        limit: Option<u32>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Many {
        #[expect(dead_code, reason = "only its type matters here")]
        requests: Vec<VideoRequest>,
    }

    fn wrong_field<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
        read_json::<T>(json.as_bytes()).unwrap_err().body().errors[0].field.clone()
    }

    #[test]
    fn json_errors_name_the_field() {
        assert_eq!(wrong_field::<VideoRequest>(r#"{"prompt": 1}"#), "prompt");
        assert_eq!(wrong_field::<VideoRequest>(r#"{"prompt": "a", "sead": 1}"#), "sead");
        assert_eq!(wrong_field::<VideoRequest>(r#"{"video_length": 5}"#), "prompt");
        assert_eq!(wrong_field::<VideoRequest>(r#"{"prompt": "a", "infer_steps": -1}"#), "infer_steps");
        assert_eq!(wrong_field::<VideoRequest>(r#"{"prompt": "a", "quality_tier": "best"}"#), "quality_tier");
        assert_eq!(
            wrong_field::<Many>(r#"{"requests": [{"prompt": "a"}, {"prompt": "b", "sead": 1}]}"#),
            "requests[1].sead"
        );
        assert_eq!(wrong_field::<Many>(r#"{"requests": [{}]}"#), "requests[0].prompt");
    }

    #[test]
    fn broken_json_is_malformed() {
        for broken in ["", "{", "{\"prompt\": \"a\"} x", "[\"a prompt\"]"] {
            let problem = read_json::<VideoRequest>(broken.as_bytes()).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::Malformed, "{broken}");
        }
    }

    #[test]
    fn other_encodings_are_named() {
        for (bytes, word) in [
            (&b"\xEF\xBB\xBF{}"[..], "byte order mark"),
            (b"\xFF\xFE{\0}\0", "UTF-16"),
            (b"\x1F\x8B\x08\0", "gzip"),
            (b"{\"prompt\": \"caf\xE9\"}", "not UTF-8 at byte 15"),
        ] {
            let problem = read_json::<VideoRequest>(bytes).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::Malformed, "{word}");
            assert!(problem.body().detail.contains(word), "{}", problem.body().detail);
        }
        let check = |name: &'static str, value: &'static str| {
            check_encodings(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
        };
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-type", "application/json; charset=UTF-8"),
            ("content-type", "application/json;charset=\"utf-8\""),
            ("content-encoding", "identity"),
        ] {
            assert!(check(name, value).is_ok(), "{value}");
        }
        for (name, value) in [("content-encoding", "gzip"), ("content-type", "application/json; charset=iso-8859-1")] {
            let problem = check(name, value).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::UnsupportedMediaType, "{value}");
        }
    }

    #[test]
    fn query_errors_name_the_field() {
        let field = |query: &str| read_query::<Page>(query).unwrap_err().body().errors[0].field.clone();
        assert_eq!(field("limit=x"), "limit");
        assert_eq!(field("limti=3"), "limti");
        assert_eq!(field("limit=3&limit=4"), "limit");
        assert!(read_query::<Page>("limit=3").is_ok());
        assert!(read_query::<Page>("").is_ok());
    }

    #[test]
    fn an_idempotency_key_may_be_quoted_or_bare() {
        assert_eq!(unquote("abc"), Ok("abc".to_owned()));
        assert_eq!(unquote(r#""abc""#), Ok("abc".to_owned()));
        assert_eq!(unquote(r#""a\"b\\c""#), Ok(r#"a"b\c"#.to_owned()));
        assert_eq!(unquote(r#""abc";v=1"#), Ok("abc".to_owned()));
        for broken in [r#""abc"#, r#"ab"c"#, r#""a\bc""#, r#""abc"d"#] {
            assert!(unquote(broken).is_err(), "{broken}");
        }
    }

    /// JSON that is nearly a request: its fields with values of every kind, and some that it does not have.
    fn nearly_a_request() -> impl Strategy<Value = String> {
        let request = serde_json::to_value(VideoRequest::new("")).expect("a request is JSON");
        let mut fields: Vec<String> = request.as_object().expect("an object").keys().cloned().collect();
        fields.extend(["stepz".to_owned(), String::new()]);
        let value = prop_oneof![
            any::<Option<bool>>().prop_map(|value| serde_json::json!(value)),
            any::<i64>().prop_map(|value| serde_json::json!(value)),
            any::<u64>().prop_map(|value| serde_json::json!(value)),
            any::<f64>().prop_map(|value| serde_json::json!(value)),
            ".{0,20}".prop_map(|value| serde_json::json!(value)),
            proptest::sample::select(vec!["auto", "540p", "960x544", "off", "fast"]).prop_map(|v| serde_json::json!(v)),
            Just(serde_json::json!([1, {"a": []}])),
        ];
        let pair = (proptest::sample::select(fields), value);
        // Joined by hand, since a map would not hold a field twice.
        proptest::collection::vec(pair, 0..8).prop_map(|pairs| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", pairs.join(","))
        })
    }

    proptest! {
        #[test]
        fn nearly_right_json_is_read_or_refused_by_field(json in nearly_a_request()) {
            match read_json::<VideoRequest>(json.as_bytes()) {
                Ok(request) => {
                    let written = serde_json::to_vec(&request).expect("a request is JSON");
                    prop_assert_eq!(read_json::<VideoRequest>(&written).expect("our own JSON"), request);
                }
                Err(problem) => {
                    let wrong = problem.body().errors;
                    prop_assert!(!wrong.is_empty() && wrong.iter().all(|error| !error.reason.is_empty()), "{}", json);
                }
            }
            // In a batch the same errors are reported with the item's index.
            let batch = format!("{{\"requests\":[{json}]}}");
            if let Err(problem) = read_json::<Many>(batch.as_bytes()) {
                let wrong = problem.body().errors;
                prop_assert!(wrong.iter().all(|error| error.field.starts_with("requests[0]")), "{:?}", wrong);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read_json::<VideoRequest>(&bytes).is_err());
            let text = String::from_utf8_lossy(&bytes);
            drop(read_query::<Page>(&text));
            drop(read_idempotency_key(&text));
        }

        #[test]
        fn any_query_is_read_or_refused_by_field(query in "(limit|page|[a-z%&=0-9]{0,9})=?[^#]{0,12}") {
            if let Err(problem) = read_query::<Page>(&query) {
                prop_assert!(!problem.body().errors.is_empty());
            }
        }

        /// Whatever a client means, quoting it gives the same key as sending it bare.
        #[test]
        fn quoting_changes_nothing(key in "[a-zA-Z0-9_:./ -]{1,60}") {
            prop_assert_eq!(unquote(&format!("\"{key}\"")), Ok(key.clone()));
            prop_assert_eq!(unquote(&key), Ok(key));
        }
    }
}
