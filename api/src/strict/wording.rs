//! What serde says of a field, in words that need no knowledge of Rust.

/// Fields of other text-to-video systems, and what stands for them here.
const ELSEWHERE: [(&[&str], &str); 10] = [
    (&["num_frames", "frames", "n_frames", "frame_count"], "use video_length, the number of frames at 24 per second"),
    (&["seconds", "duration"], "use video_length, in frames: 24 per second plus 1, for example 121 for 5 s"),
    (&["guidance_scale", "cfg", "embedded_guidance_scale"], "use cfg_scale; for real guidance, use true_cfg_scale"),
    (&["num_inference_steps", "steps", "sample_steps"], "use infer_steps, or leave it out to let the fleet choose"),
    (&["flow_shift", "shift"], "it is fixed for each model; leave it out"),
    (&["size", "resolution"], "use video_size, for example '540p' or '960x544'"),
    (&["width", "height"], "use video_size, for example '960x544'"),
    (&["n", "num_videos", "num_videos_per_prompt"], "one request is one video; POST /api/generate/batch takes several"),
    (&["fps", "frame_rate"], "videos have 24 frames per second; set their length with video_length"),
    (&["generator", "noise_seed"], "use seed"),
];

/// An error of serde as a sentence about the field. What is not recognised stays as it is.
pub(super) fn plain(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        return unknown_field(rest);
    }
    if message.starts_with("missing field") {
        return "is missing; it is required".to_owned();
    }
    if message.starts_with("duplicate field") {
        return "is given more than once; give it once".to_owned();
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let (found, expected) = rest.split_once("`, expected ").unwrap_or((rest, ""));
        return format!("must be one of {}, not '{found}'", names(expected).join(", "));
    }
    for start in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) = message.strip_prefix(start).and_then(|rest| rest.rsplit_once(", expected ")) {
            return format!("must be {}, not {}", kind(expected), value(found));
        }
    }
    // Numbers and booleans of a query string.
    match message {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "must be a whole number".to_owned()
        }
        "number too large to fit in target type" => "is a number that is too large".to_owned(),
        "number too small to fit in target type" => "is a number that is too small".to_owned(),
        "invalid float literal" | "cannot parse float from empty string" => "must be a number".to_owned(),
        "provided string was not `true` or `false`" => "must be true or false".to_owned(),
        other => other.to_owned(),
    }
}

/// `name`, expected one of `a`, `b`.
fn unknown_field(rest: &str) -> String {
    let (name, expected) = rest.split_once('`').unwrap_or((rest, ""));
    let known = names(expected);
    // Other requests have fields of their own, for which these hints would be wrong.
    let is_video_request = known.contains(&"video_length");
    let hint = ELSEWHERE.iter().find(|(names, _)| is_video_request && names.contains(&name)).map(|(_, hint)| *hint);
    match (hint, known.is_empty()) {
        (Some(hint), _) => format!("is not known here: {hint}"),
        (None, true) => "is not known here; leave it out".to_owned(),
        (None, false) => format!("is not known here; the fields are {}", known.join(", ")),
    }
}

/// The names in backquotes.
fn names(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn kind(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") || other.starts_with("string or map") => "one of the documented words",
        other => other,
    }
}

/// What was sent: serde names its kind and puts its value into backquotes.
fn value(found: &str) -> String {
    match found {
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        "unit value" => "null".to_owned(),
        other => {
            let text = other.strip_prefix("string ").map(|text| format!("the text {text}"));
            text.unwrap_or_else(|| names(other).first().map_or(other, |value| *value).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::VideoRequest;

    use crate::strict::{read_json, read_query};

    fn reason(json: &str) -> String {
        let errors = read_json::<VideoRequest>(json.as_bytes()).unwrap_err().body().errors;
        assert_eq!(errors.len(), 1, "{json}: {errors:?}");
        errors[0].reason.clone()
    }

    fn with(field: &str, value: &str) -> String {
        reason(&format!(r#"{{"prompt": "a", "{field}": {value}}}"#))
    }

    #[test]
    fn fields_of_other_systems_get_a_hint_at_a_field_of_this_one() {
        let request = serde_json::to_value(VideoRequest::new("a")).unwrap();
        for (names, hint) in super::ELSEWHERE {
            for name in names {
                assert!(request.get(name).is_none(), "{name} is a field");
                assert_eq!(with(name, "1"), format!("is not known here: {hint}"));
            }
        }
        for word in ["video_length", "cfg_scale", "true_cfg_scale", "infer_steps", "video_size", "seed"] {
            assert!(request.get(word).is_some(), "{word} is hinted at");
        }
        assert!(with("sead", "1").starts_with("is not known here; the fields are prompt, video_size,"));
    }

    #[test]
    fn reasons_are_words_of_the_user() {
        insta::assert_snapshot!(with("video_length", "\"long\""), @r#"must be a whole number of 0 or more, not the text "long""#);
        insta::assert_snapshot!(with("video_length", "-1"), @"must be a whole number of 0 or more, not -1");
        insta::assert_snapshot!(with("infer_steps", "2.5"), @"must be a whole number of 0 or more, not 2.5");
        insta::assert_snapshot!(with("cfg_scale", "\"6\""), @r#"must be a number, not the text "6""#);
        insta::assert_snapshot!(with("flow_reverse", "1"), @"must be true or false, not 1");
        insta::assert_snapshot!(with("quality_tier", "\"best\""), @"must be one of auto, preview, standard, premium, not 'best'");
        insta::assert_snapshot!(with("quality_tier", "[1]"), @"has a value of the wrong type");
        insta::assert_snapshot!(with("negative_prompt", "{}"), @"must be a text in quotes, not an object");
        insta::assert_snapshot!(with("deadline_s", "true"), @"must be a whole number of 0 or more, not true");
        insta::assert_snapshot!(reason(r#"{"prompt": null}"#), @"must be a text in quotes, not null");
        insta::assert_snapshot!(reason(r#"{"prompt": "a", "prompt": "b"}"#), @"is given more than once; give it once");
        insta::assert_snapshot!(reason("{}"), @"is missing; it is required");
        let query = |text: &str| read_query::<VideoRequest>(text).unwrap_err().body().errors[0].reason.clone();
        for (text, expected) in [
            ("prompt=a&infer_steps=x", "must be a whole number"),
            ("prompt=a&infer_steps=99999999999", "is a number that is too large"),
            ("prompt=a&cfg_scale=x", "must be a number"),
            ("prompt=a&flow_reverse=x", "must be true or false"),
        ] {
            assert_eq!(query(text), expected, "{text}");
        }
    }

    #[test]
    fn null_and_whole_floats_are_taken_where_they_mean_something() {
        let request = serde_json::to_value(VideoRequest::new("a")).unwrap();
        for field in request.as_object().unwrap().keys().filter(|field| *field != "prompt") {
            let read = read_json::<VideoRequest>(format!(r#"{{"prompt": "a", "{field}": null}}"#).as_bytes());
            assert_eq!(read.unwrap(), VideoRequest::new("a"), "{field}");
        }
        let read: VideoRequest = read_json(
            br#"{"prompt": "a", "video_length": 65.0, "infer_steps": 12.0, "seed": 7.0, "deadline_s": 60.0}"#,
        )
        .unwrap();
        let expected = VideoRequest {
            video_length: 65,
            infer_steps: 12,
            seed: Some(7),
            deadline_s: Some(60),
            ..VideoRequest::new("a")
        };
        assert_eq!(read, expected);
        assert_eq!(read_json::<VideoRequest>(br#"{"prompt": "a", "seed": -1}"#).unwrap().seed, None, "-1 is random");
        assert_eq!(read_query::<VideoRequest>("prompt=a&seed=-1").unwrap().seed, None);
    }
}
