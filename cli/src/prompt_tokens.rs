//! What the model's text encoders do not read of a prompt, as the API counts it.

use serde_json::Value;

use crate::text::{cut, plain};

/// Columns that are shown of an unread text.
const SHOWN: usize = 60;

/// Lines of an analysis, one for each encoder. A server that does not count sends nothing, and one that cannot count sends null.
pub(crate) fn lines(found: &Value) -> Vec<String> {
    match found.get("prompt_tokens") {
        None => Vec::new(),
        Some(Value::Null) => vec!["not counted: the server does not have this model's tokenizers yet".to_owned()],
        Some(readings) => readings.as_array().into_iter().flatten().map(line).collect(),
    }
}

fn line(reading: &Value) -> String {
    let word = |name: &str| plain(reading[name].as_str().unwrap_or_default()).replace('_', " ");
    let counted = format!("{} of the {} for {}", reading["tokens"], word("field"), word("encoder"));
    let unread =
        unread(reading).map(|text| format!(", which reads only the first {} and not {text}", reading["tokens_max"]));
    format!("{counted}{}", unread.unwrap_or_default())
}

/// What the model will not see of a submitted request, one sentence for each text. What CLIP misses still reaches the model, because
/// it only summarises the prompt.
pub(crate) fn warnings(job: &Value) -> Vec<String> {
    let readings = job["prompt_tokens"].as_array().into_iter().flatten();
    let warning = |reading: &Value| {
        let field = plain(reading["field"].as_str().unwrap_or_default()).replace('_', " ");
        let (tokens, most) = (&reading["tokens"], &reading["tokens_max"]);
        Some(format!("the model reads only {most} of the {field}'s {tokens} tokens, and not {}", unread(reading)?))
    };
    readings.filter(|reading| reading["encoder"] != "clip").filter_map(warning).collect()
}

fn unread(reading: &Value) -> Option<String> {
    Some(format!("\"{}\"", cut(&plain(reading["unread"].as_str()?), SHOWN)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found() -> Value {
        json!({"prompt_tokens": [
            {"field": "prompt", "encoder": "llama", "tokens": 300, "tokens_max": 256, "unread": "at\nnight"},
            {"field": "prompt", "encoder": "clip", "tokens": 310, "tokens_max": 75, "unread": "on the snow, at night"},
            {"field": "negative_prompt", "encoder": "llama", "tokens": 2, "tokens_max": 256, "unread": null},
        ]})
    }

    #[test]
    fn every_encoder_has_its_line() {
        let lines = lines(&found());
        assert_eq!(lines[0], "300 of the prompt for llama, which reads only the first 256 and not \"at night\"");
        assert_eq!(lines[2], "2 of the negative prompt for llama");
    }

    #[test]
    fn a_server_that_cannot_count_is_distinguished_from_one_that_does_not() {
        assert!(lines(&json!({"prompt_tokens": null}))[0].starts_with("not counted"));
        assert!(lines(&json!({})).is_empty());
    }

    #[test]
    fn a_submission_warns_of_what_the_model_does_not_see() {
        let warnings = warnings(&found());
        assert_eq!(warnings, ["the model reads only 256 of the prompt's 300 tokens, and not \"at night\""]);
        assert!(super::warnings(&json!({"prompt_tokens": null})).is_empty());
    }
}
