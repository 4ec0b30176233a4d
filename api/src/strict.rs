//! Reads JSON bodies and query strings strictly: unknown, missing, doubled and mistyped fields are refused, all of them at once.
//!
//! serde stops at the first error. To find the others, the field in error is taken out of a copy (or, when it is missing, put
//! in empty) and the copy is read again. A request without errors is read once and pays nothing for this.

use std::borrow::Cow;

use domain::FieldError;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::problem::{Problem, ProblemKind};

mod wording;

/// Most errors that are looked for; a body that has more is no attempt at a request.
const ERRORS_MAX: usize = 20;

/// Most bytes of a body outside of its texts. Large bodies are so because of the text of a picture or of many prompts; a parsed number
/// or bracket takes 16 times the memory of its two bytes.
const STRUCTURE_MAX: usize = 1 << 20;

/// Reads a JSON object.
///
/// # Errors
/// Names every field in error, or says that the body is not a JSON object. Never panics, whatever the bytes.
pub fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    check_encoding(bytes)?;
    check_structure(bytes)?;
    // serde would read an array as a struct's fields in order, which no client means.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::new(ProblemKind::Malformed, "the body must be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, inner) = (error.path().clone(), error.into_inner());
        let is_json = || serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
        if inner.is_data() {
            all_json_errors::<T>(bytes, Located::new(&path, &inner.to_string()))
        } else if is_json() {
            // serde_json calls null in place of a word a syntax error, which it is not.
            all_json_errors::<T>(bytes, Located::new(&path, "has a value of the wrong type"))
        } else {
            Problem::new(ProblemKind::Malformed, format!("the body is not valid JSON: {inner}"))
        }
    })?;
    reader
        .end()
        .map_err(|_| Problem::new(ProblemKind::Malformed, "the body has something after the end of its JSON value"))?;
    Ok(value)
}

/// Refuses a body with very many values, which would need far more memory than it has bytes.
fn check_structure(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.len() <= STRUCTURE_MAX {
        return Ok(());
    }
    let (mut outside, mut at) = (0, 0);
    while let Some(begin) = bytes[at..].iter().position(|byte| *byte == b'"') {
        outside += begin + 2;
        at += begin + 1;
        // To the end of the text: the next quote that no backslash escapes.
        while let Some(next) = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            let escape = bytes[at + next] == b'\\';
            at = (at + next + 1 + usize::from(escape)).min(bytes.len());
            if !escape {
                break;
            }
        }
        if outside > STRUCTURE_MAX {
            break;
        }
    }
    outside += bytes.len() - at;
    if outside > STRUCTURE_MAX {
        let detail = format!("the body has more than {STRUCTURE_MAX} bytes outside of its texts; send less at once");
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    Ok(())
}

/// Says so when the bytes are text in another encoding, which a JSON error would not.
fn check_encoding(bytes: &[u8]) -> Result<(), Problem> {
    let wrong = |detail: &str| Err(Problem::new(ProblemKind::Malformed, detail));
    match bytes {
        [0xEF, 0xBB, 0xBF, ..] => wrong("the body begins with a byte order mark (BOM); send it as UTF-8 without one"),
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => wrong("the body is UTF-16; send it as UTF-8 without a byte order mark"),
        [0x1F, 0x8B, ..] => wrong("the body is compressed with gzip; send it uncompressed"),
        _ => match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) => wrong(&format!("the body is not UTF-8 at byte {}; send it as UTF-8", error.valid_up_to())),
        },
    }
}

fn all_json_errors<T: DeserializeOwned>(bytes: &[u8], first: Located) -> Problem {
    let mut found = Found::default();
    found.add(first.error);
    let mut document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    while let Err(error) = serde_path_to_error::deserialize::<_, T>(&document) {
        let path = error.path().clone();
        let located = Located::new(&path, &error.into_inner().to_string());
        let Some(object) = located.parent(&path, &mut document) else { break };
        let changed = match located.is_missing {
            true => object.insert(located.name.clone(), Value::String(String::new())).is_none(),
            false => object.remove(&located.name).is_some(),
        };
        found.add(located.error);
        if !changed || found.is_enough() {
            break;
        }
    }
    Problem::fields(found.errors)
}

/// Reads a query string.
///
/// # Errors
/// Names every parameter in error. Never panics, whatever the text.
pub(crate) fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let mut found = Found::default();
    loop {
        let error = match read_pairs::<T>(&pairs) {
            Ok(value) if found.errors.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(located) => located,
        };
        let before = pairs.len();
        if error.is_missing {
            pairs.push((error.name.into(), Cow::Borrowed("")));
        } else {
            pairs.retain(|(name, _)| *name != error.name);
        }
        found.add(error.error);
        if pairs.len() == before || found.is_enough() {
            break;
        }
    }
    Err(Problem::fields(found.errors))
}

fn read_pairs<T: DeserializeOwned>(pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<T, Located> {
    let mut text = form_urlencoded::Serializer::new(String::new());
    let text = text.extend_pairs(pairs).finish();
    let reader = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().clone();
        Located::new(&path, &error.into_inner().to_string())
    })
}

/// Errors so far, at most one per field.
#[derive(Default)]
struct Found {
    errors: Vec<FieldError>,
    tries: usize,
}

impl Found {
    fn add(&mut self, error: FieldError) {
        self.tries += 1;
        if !self.errors.iter().any(|earlier| earlier.field == error.field) {
            self.errors.push(error);
        }
    }

    /// Also when the same fields come up again and again.
    fn is_enough(&self) -> bool {
        self.errors.len() >= ERRORS_MAX || self.tries >= 2 * ERRORS_MAX
    }
}

/// An error of serde with the place that it is about.
struct Located {
    error: FieldError,
    /// The field's name in its object.
    name: String,
    is_missing: bool,
    /// Whether the path leads to the object that holds the field, not to the field itself.
    is_in_parent: bool,
}

impl Located {
    /// For a field that is unknown, missing or doubled, serde names it in the message, and the path is its parent's.
    fn new(path: &Path, message: &str) -> Self {
        // serde_json adds " at line 1 column 20", which says nothing to a client that sent one line.
        let message = message.split(" at line ").next().unwrap_or(message);
        let text = path.to_string();
        let parent = if text == "." || text == "?" { "" } else { &text };
        let named = ["unknown field `", "missing field `", "duplicate field `"]
            .iter()
            .find_map(|start| message.strip_prefix(start)?.split('`').next());
        let last = match path.iter().next_back() {
            Some(Segment::Map { key }) => key.as_str(),
            _ => "",
        };
        let is_in_parent = named.is_some_and(|name| name != last);
        let field = match named {
            Some(name) if is_in_parent && !parent.is_empty() => format!("{parent}.{name}"),
            Some(name) if is_in_parent => name.to_owned(),
            _ if parent.is_empty() => "body".to_owned(),
            _ => parent.to_owned(),
        };
        Self {
            error: FieldError { field, reason: wording::plain(message) },
            name: named.unwrap_or(last).to_owned(),
            is_missing: message.starts_with("missing field"),
            is_in_parent,
        }
    }

    /// The object that holds the field; `None` when the error is not about a field of an object.
    fn parent<'a>(&self, path: &Path, document: &'a mut Value) -> Option<&'a mut serde_json::Map<String, Value>> {
        let segments: Vec<&Segment> = path.iter().collect();
        let depth = if self.is_in_parent { segments.len() } else { segments.len().checked_sub(1)? };
        let mut value = document;
        for segment in &segments[..depth] {
            value = match segment {
                Segment::Seq { index } => value.get_mut(*index)?,
                Segment::Map { key } => value.get_mut(key)?,
                Segment::Enum { .. } | Segment::Unknown => return None,
            };
        }
        value.as_object_mut().filter(|_| !self.name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use domain::VideoRequest;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Many {
        #[expect(dead_code, reason = "only its type matters here")]
        requests: Vec<VideoRequest>,
    }

    fn fields<T: std::fmt::Debug>(result: Result<T, Problem>) -> Vec<String> {
        result.unwrap_err().body().errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn very_many_values_are_refused_before_they_take_memory() {
        let too_large = |body: String| {
            let problem = read_json::<Many>(body.as_bytes()).unwrap_err();
            assert!(matches!(problem.kind(), ProblemKind::TooLarge), "{problem:?}");
        };
        too_large(format!(r#"{{"requests": [{}0]}}"#, "0,".repeat(STRUCTURE_MAX / 2)));
        too_large(format!(r#"{{"requests": [{}""]}}"#, r#""","#.repeat(STRUCTURE_MAX / 3)));
        // A long text counts as nothing, whatever it contains.
        let text = r#"\"[0, \\"#.repeat(STRUCTURE_MAX / 4);
        assert!(read_json::<VideoRequest>(format!(r#"{{"prompt": "{text}"}}"#).as_bytes()).is_ok());
    }

    #[test]
    fn every_wrong_field_of_a_body_is_named() {
        let body =
            r#"{"sead": 1, "infer_steps": -1, "quality_tier": "best", "negative_prompt": 3, "video_size": "540p"}"#;
        let expected = ["sead", "infer_steps", "quality_tier", "negative_prompt", "prompt"];
        let mut found = fields(read_json::<VideoRequest>(body.as_bytes()));
        found.sort_by_key(|field| expected.iter().position(|one| one == field));
        assert_eq!(found, expected);
        assert_eq!(fields(read_json::<VideoRequest>(br#"{"prompt": 7, "a": 1, "b": 2}"#)), ["prompt", "a", "b"]);
        let batch = br#"{"requests": [{"prompt": "a", "x": 1}, {"seed": "one"}], "more": 1}"#;
        let mut found = fields(read_json::<Many>(batch));
        found.sort();
        assert_eq!(found, ["more", "requests[0].x", "requests[1].prompt", "requests[1].seed"]);
    }

    #[test]
    fn every_wrong_parameter_of_a_query_is_named() {
        let found = fields(read_query::<VideoRequest>("seed=x&infer_steps=-1&size=1&seed=2"));
        assert_eq!(found, ["seed", "infer_steps", "size", "prompt"]);
        let read: VideoRequest =
            read_query("prompt=a+cat&seed=7&flow_reverse=false&cfg_scale=5.5&step_cache=fast").unwrap();
        let body = br#"{"prompt": "a cat", "seed": 7, "flow_reverse": false, "cfg_scale": 5.5, "step_cache": "fast"}"#;
        assert_eq!(read, read_json(body).unwrap());
    }

    #[test]
    fn a_body_full_of_errors_is_not_read_for_ever() {
        let body: serde_json::Map<_, _> = (0..1000).map(|n| (format!("x{n}"), Value::Null)).collect();
        let found = fields(read_json::<VideoRequest>(&serde_json::to_vec(&body).unwrap()));
        assert_eq!(found.len(), ERRORS_MAX);
    }
}
