//! The lines of a batch: prompts, JSON strings or JSON objects.

use serde_json::{Map, Value};

/// One line to submit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// The request.
    pub(crate) request: Value,
    /// Idempotency key of its submission.
    pub(crate) key: String,
}

/// Which run a line belongs to: the same line of the same run is the same job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    /// Absolute path of the file; empty for standard input.
    pub(crate) source: &'a str,
    /// Name that the user gave the run.
    pub(crate) name: &'a str,
}

/// Reads all lines. Fields of a line win over `defaults`.
///
/// # Errors
/// Every line that cannot be read, by number.
pub(crate) fn read(text: &str, defaults: &Map<String, Value>, run: Run<'_>) -> Result<Vec<Line>, Vec<String>> {
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = at + 1;
        match request(line.trim(), defaults) {
            Ok(request) => lines.push(Line { number, key: key(run, number, &request), request }),
            Err(reason) => wrong.push(format!("line {number}: {reason}")),
        }
    }
    if wrong.is_empty() { Ok(lines) } else { Err(wrong) }
}

fn request(line: &str, defaults: &Map<String, Value>) -> Result<Value, String> {
    let mut fields = defaults.clone();
    // A line that begins like JSON must be JSON: a typing mistake must not be rendered as a prompt.
    if line.starts_with('{') {
        let own: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| format!("is not a JSON object: {error}"))?;
        if !own.get("prompt").is_some_and(Value::is_string) {
            return Err("has no \"prompt\"".to_owned());
        }
        fields.extend(own);
    } else if line.starts_with('"') {
        let prompt: String = serde_json::from_str(line).map_err(|error| format!("is not a JSON string: {error}"))?;
        fields.insert("prompt".to_owned(), prompt.into());
    } else {
        fields.insert("prompt".to_owned(), line.into());
    }
    Ok(Value::Object(fields))
}

/// The key of a line. It contains the request, so that a line that was edited becomes a new job instead of an error.
fn key(run: Run<'_>, number: usize, request: &Value) -> String {
    let mut hasher = blake3::Hasher::new();
    // A length before each part keeps two different lists of parts from looking the same.
    for part in [run.source, run.name, &number.to_string(), &request.to_string()] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    format!("batch-{}", &hasher.finalize().to_hex()[..40])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RUN: Run<'_> = Run { source: "/prompts.txt", name: "" };

    fn defaults() -> Map<String, Value> {
        json!({ "quality_tier": "preview" }).as_object().cloned().unwrap()
    }

    #[test]
    fn prompts_strings_and_objects_can_be_mixed() {
        let text = "\u{feff}a cat walks\r\n\n\"a \\\"dog\\\"\"\n{\"prompt\": \"a bird\", \"seed\": 3, \"quality_tier\": \"premium\"}\n";
        let lines = read(text, &defaults(), RUN).unwrap();
        let requests: Vec<_> = lines.iter().map(|line| (line.number, line.request.clone())).collect();
        let expected = [
            (1, json!({ "prompt": "a cat walks", "quality_tier": "preview" })),
            (3, json!({ "prompt": "a \"dog\"", "quality_tier": "preview" })),
            (4, json!({ "prompt": "a bird", "seed": 3, "quality_tier": "premium" })),
        ];
        assert_eq!(requests, expected);
    }

    #[test]
    fn every_wrong_line_is_named() {
        let wrong = read("{\"seed\": 1}\na cat\n{broken\n\"open", &Map::new(), RUN).unwrap_err();
        let numbers: Vec<_> = wrong.iter().map(|text| text.split(':').next().unwrap_or_default()).collect();
        assert_eq!(numbers, ["line 1", "line 3", "line 4"]);
    }

    #[test]
    fn keys_differ_by_line_request_and_run_and_by_nothing_else() {
        let keys = |text: &str, run: Run<'_>| -> Vec<String> {
            read(text, &Map::new(), run).unwrap().into_iter().map(|line| line.key).collect()
        };
        let first = keys("a cat\na cat", RUN);
        assert_ne!(first[0], first[1], "the same prompt twice is two videos");
        assert_eq!(first, keys("a cat\na cat", RUN));
        assert_ne!(first[0], keys("a dog", RUN)[0]);
        assert_ne!(first[0], keys("a cat", Run { name: "second", ..RUN })[0]);
        assert_ne!(first[0], keys("a cat", Run { source: "/other.txt", ..RUN })[0]);
    }
}
