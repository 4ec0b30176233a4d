//! The fields of a request body, whether a form or JSON holds them.
//!
//! OpenAI's clients send a form even when there is no file; others send JSON. A form holds only text, so `7`, `true` and nested
//! names (`video_params[width]`) are read from it; an empty text stands for a field that was left out.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use domain::FieldError;
use serde_json::{Map, Value};

use crate::extract::JsonBody;
use crate::form;
use crate::problem::{Problem, ProblemKind};

/// Objects whose members count as fields of the request itself, unless it has a field of that name. Other servers' clients send
/// their extensions in them.
const CONTAINERS: [&str; 4] = ["extra_body", "extra_json", "extra_params", "video_params"];
/// Fields that may be empty on purpose.
const MAY_BE_EMPTY: [&str; 2] = ["prompt", "negative_prompt"];

/// Fields by name. Taking one removes it, so that what remains at the end is unknown.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: BTreeMap<String, Value>,
    /// Parts that were files.
    files: BTreeMap<String, Bytes>,
}

impl Fields {
    /// Takes a field. `None` if it is absent, null, or an empty text that means the same.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let value = self.values.remove(name)?;
        let empty = value.is_null() || (value == "" && !MAY_BE_EMPTY.contains(&name));
        (!empty).then_some(value)
    }

    /// Takes a part that was a file.
    pub(super) fn take_file(&mut self, name: &str) -> Option<Bytes> {
        self.files.remove(name)
    }

    /// Names of the remaining fields and files.
    pub(super) fn names(&self) -> Vec<String> {
        self.values.keys().chain(self.files.keys()).cloned().collect()
    }

    pub(super) fn of_object(object: Map<String, Value>) -> Result<Self, Problem> {
        let mut fields = Self { values: object.into_iter().collect(), files: BTreeMap::new() };
        fields.open_containers()?;
        Ok(fields)
    }

    /// Moves the members of the containers to the top.
    fn open_containers(&mut self) -> Result<(), Problem> {
        for container in CONTAINERS {
            let members = match self.take(container) {
                None => continue,
                Some(Value::Object(members)) => members,
                Some(Value::String(text)) => serde_json::from_str(&text)
                    .map_err(|_| Problem::field(container, "must be a JSON object, or the text of one"))?,
                Some(_) => return Err(Problem::field(container, "must be a JSON object, or the text of one")),
            };
            for (name, value) in members {
                self.values.entry(name).or_insert(value);
            }
        }
        Ok(())
    }

    /// Adds a part of a form: `name`, `outer[inner]`, or one item of `name[]`.
    fn add_text(&mut self, name: &str, text: String) -> Result<(), FieldError> {
        let twice = || FieldError::new(name, "is given more than once; give it once");
        let Some((outer, inner)) =
            name.split_once('[').and_then(|(outer, rest)| Some((outer, rest.strip_suffix(']')?)))
        else {
            if self.values.contains_key(name) {
                return Err(twice());
            }
            self.values.insert(name.to_owned(), Value::String(text));
            return Ok(());
        };
        let empty = if inner.is_empty() { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        match self.values.entry(outer.to_owned()).or_insert(empty) {
            Value::Array(items) if inner.is_empty() => {
                items.push(Value::String(text));
                Ok(())
            }
            Value::Object(members) if !inner.is_empty() && !members.contains_key(inner) => {
                members.insert(inner.to_owned(), Value::String(text));
                Ok(())
            }
            _ => Err(twice()),
        }
    }

    async fn of_form(mut form: Multipart) -> Result<Self, Problem> {
        let mut fields = Self::default();
        while let Some(part) = form::next(&mut form).await? {
            let name = form::name(&part)?;
            let is_file = part.file_name().is_some();
            let bytes = part.bytes().await.map_err(|error| form::unreadable(&error))?;
            if is_file {
                if fields.files.insert(name.clone(), bytes).is_some() {
                    return Err(Problem::field(&name, "is given more than once; give it once"));
                }
                continue;
            }
            let text = String::from_utf8(bytes.into()).map_err(|_| Problem::field(&name, "must be UTF-8 text"))?;
            fields.add_text(&name, text).map_err(|error| Problem::fields(vec![error]))?;
        }
        fields.open_containers()?;
        Ok(fields)
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        if form::is_form(request.headers()) {
            return Self::of_form(form::open(request, state).await?).await;
        }
        if !kind.starts_with("application/json") {
            let detail =
                "send the fields as multipart/form-data, or as JSON with the header 'Content-Type: application/json'";
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        let JsonBody(object) = JsonBody::<Map<String, Value>>::from_request(request, state).await?;
        Self::of_object(object)
    }
}

/// A whole number, also as text or with a fraction of zero.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, where both types agree")]
        other => other.as_i64().or_else(|| {
            other.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15).map(|number| number as i64)
        }),
    }
}

/// A seed, also as text or with a fraction of zero; `Some(None)` for a negative one, which asks for a random seed.
pub(super) fn seed(value: &Value) -> Option<Option<u64>> {
    let digits = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    };
    match digits {
        Some(seed) => Some(Some(seed)),
        None => whole(value).map(|whole| u64::try_from(whole).ok()),
    }
}

/// A number, also as text.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        other => other.as_f64(),
    }
}

/// A truth value, also as text.
pub(super) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        other => other.as_bool(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_and_repeated_names_of_a_form_are_read() {
        let mut fields = Fields::default();
        for (name, text) in [("prompt", "a"), ("video_params[width]", "64"), ("seed[]", "1"), ("seed[]", "2")] {
            fields.add_text(name, text.to_owned()).unwrap();
        }
        assert!(fields.add_text("prompt", "b".to_owned()).is_err());
        assert!(fields.add_text("video_params[width]", "65".to_owned()).is_err());
        assert!(fields.add_text("prompt[a]", "65".to_owned()).is_err());
        fields.open_containers().unwrap();
        assert_eq!(fields.take("width"), Some(json!("64")));
        assert_eq!(fields.take("seed"), Some(json!(["1", "2"])));
    }

    #[test]
    fn the_requests_own_fields_win_over_those_of_containers() {
        let object = json!({"seed": 1, "extra_body": {"seed": 2, "fps": 24}, "extra_params": "{\"n\": 1}"});
        let mut fields = Fields::of_object(object.as_object().unwrap().clone()).unwrap();
        assert_eq!(
            (fields.take("seed"), fields.take("fps"), fields.take("n")),
            (Some(json!(1)), Some(json!(24)), Some(json!(1)))
        );
        assert!(Fields::of_object(json!({"extra_body": "no"}).as_object().unwrap().clone()).is_err());
    }

    #[test]
    fn numbers_may_be_text() {
        assert_eq!(
            (whole(&json!("4")), whole(&json!(4.0)), whole(&json!(4.5)), whole(&json!("x"))),
            (Some(4), Some(4), None, None)
        );
        assert_eq!((number(&json!("1.5")), number(&json!("inf"))), (Some(1.5), None));
        assert_eq!((flag(&json!("True")), flag(&json!(1))), (Some(true), None));
    }
}
