//! The body of a submission: JSON, or a form with one part for each field, of which `image` may be a file.

use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use domain::{FieldError, VideoRequest};
use serde_json::{Map, Value, json};

use crate::extract::{JsonBody, read_json};
use crate::images::FIELD;
use crate::problem::{Problem, ProblemKind};

/// A request, and the picture that came with it as a file.
#[derive(Debug)]
pub struct SubmissionBody {
    /// The request.
    pub request: VideoRequest,
    /// The file.
    pub file: Option<Bytes>,
}

impl<S: Send + Sync> FromRequest<S> for SubmissionBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_form(request.headers()) {
            let JsonBody(request) = JsonBody::from_request(request, state).await?;
            return Ok(Self { request, file: None });
        }
        let mut form = open(request, state).await?;
        let (mut fields, mut file) = (Map::new(), None);
        while let Some(part) = next(&mut form).await? {
            let name = name(&part)?;
            // Browsers send a part without a name for a file that nobody chose.
            let is_file = part.file_name().is_some_and(|name| !name.is_empty());
            let bytes = part.bytes().await.map_err(|error| unreadable(&error))?;
            if is_file && name != FIELD {
                return Err(Problem::field(&name, "cannot be a file; only image can"));
            }
            let twice = if is_file {
                file.replace(bytes).is_some()
            } else {
                let text = String::from_utf8(bytes.into()).map_err(|_| Problem::field(&name, "must be UTF-8 text"))?;
                // An empty control of a form is one that nobody filled in.
                if text.is_empty() && name != "prompt" && name != "negative_prompt" {
                    continue;
                }
                let value = typed(&name, Value::String(text));
                fields.insert(name.clone(), value).is_some()
            };
            if twice {
                return Err(Problem::fields(vec![FieldError::new(&name, "is given more than once; give it once")]));
            }
        }
        let document = serde_json::to_vec(&fields).expect("a map of JSON values is JSON; this is a bug");
        Ok(Self { request: read_json(&document)?, file })
    }
}

/// Whether the body is a form.
#[must_use]
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("multipart/form-data")
}

/// Opens the form of a request.
///
/// # Errors
/// It is none.
pub(crate) async fn open<S: Send + Sync>(request: Request, state: &S) -> Result<Multipart, Problem> {
    Multipart::from_request(request, state).await.map_err(|rejection| {
        Problem::new(ProblemKind::Malformed, format!("the form cannot be read: {}", rejection.body_text()))
    })
}

/// The next part of a form.
///
/// # Errors
/// It is damaged, or larger than the server accepts.
pub(crate) async fn next(form: &mut Multipart) -> Result<Option<Field<'_>>, Problem> {
    form.next_field().await.map_err(|error| unreadable(&error))
}

/// The name of a part.
///
/// # Errors
/// It has none.
pub(crate) fn name(part: &Field<'_>) -> Result<String, Problem> {
    let name = part.name().map(str::to_owned);
    name.ok_or_else(|| Problem::new(ProblemKind::Malformed, "a part of the form has no name"))
}

/// What is wrong with a form that cannot be read to its end.
pub(crate) fn unreadable(error: &MultipartError) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(ProblemKind::TooLarge, "the body is larger than this server accepts")
    } else {
        Problem::new(ProblemKind::Malformed, format!("the form cannot be read: {}", error.body_text()))
    }
}

/// The value of one of the request's fields. Text of a form stands for a number or an object where the field is none of text.
pub(crate) fn typed(name: &str, value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let fits = |value: &Value| serde_json::from_value::<VideoRequest>(json!({"prompt": "", name: value})).is_ok();
    // A prompt would be there twice, and is text anyway.
    if name == "prompt" || fits(&value) {
        return value;
    }
    match serde_json::from_str(text.trim()) {
        Ok(parsed) if !matches!(parsed, Value::String(_)) => parsed,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_what_the_field_takes() {
        assert_eq!(typed("infer_steps", json!("7")), json!(7));
        assert_eq!(typed("cfg_scale", json!("5.5")), json!(5.5));
        assert_eq!(typed("flow_reverse", json!("true")), json!(true));
        assert_eq!(typed("riflex", json!("false")), json!(false));
        assert_eq!(typed("candidates", json!("1")), json!(1));
        assert_eq!(typed("loras", json!("[{\"name\": \"ink\"}]")), json!([{"name": "ink"}]));
        assert_eq!(typed("webhook", json!("https://example.com/1")), json!("https://example.com/1"));
        assert_eq!(typed("negative_prompt", json!("7")), json!("7"), "a text stays one");
        assert_eq!(typed("prompt", json!("7")), json!("7"));
        assert_eq!(typed("infer_steps", json!("many")), json!("many"), "the error will name it");
        assert_eq!(typed("image", json!("data:image/png;base64,AA==")), json!("data:image/png;base64,AA=="));
    }
}
