//! Fields of a client to a request of this fleet.
//!
//! Fields of OpenAI's API and of other servers' extensions are translated; fields of [`VideoRequest`] pass as they are, also ones
//! that are added later. Whatever would change the video and cannot be done is refused, with the name that the client used.
//! Only fields that cannot change it are ignored.

use axum::body::Bytes;
use domain::{FieldError, ModelManifest, Origin, RenderMode, VideoRequest};
use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::fields::{Fields, flag, number, whole};
use super::known::{IGNORED, ONLY_OFF, OWN, PICTURE, REFUSED, RENAMED};
use super::names::Names;
use super::{length, size};
use crate::extract::read_json;
use crate::form::typed;
use crate::images::FIELD;
use crate::problem::{Problem, ProblemKind};
use crate::state::App;

/// A translated request.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) request: VideoRequest,
    pub(super) origin: Origin,
    pub(super) names: Names,
    /// The picture, if a form brought it as a file.
    pub(super) picture: Option<Bytes>,
}

/// A translation under way.
struct Translation<'a> {
    manifest: &'a ModelManifest,
    fields: Fields,
    /// Members of the request, as JSON.
    own: Map<String, Value>,
    origin: Origin,
    names: Names,
    picture: Option<Bytes>,
    wrong: Vec<FieldError>,
}

/// Translates the fields of `POST /v1/videos`.
///
/// # Errors
/// Every field that is wrong, or the model that does not exist.
pub(super) fn translate(app: &App, mut fields: Fields) -> Result<Wish, Refusal> {
    let model = model(app, &mut fields)?;
    let manifest = app.models.for_new_job(model.as_deref()).map_err(|error| {
        Refusal::new(ProblemKind::NotFound, format!("model: {}", error.reason), "model_not_found", Some("model"))
    })?;
    let mut own = Map::new();
    own.extend(model.map(|id| ("model".to_owned(), Value::String(id))));
    let (origin, names, wrong) = (Origin::default(), Names::default(), Vec::new());
    let mut translation = Translation { manifest: &manifest, fields, own, origin, names, picture: None, wrong };
    translation.refuse_and_ignore();
    translation.rename();
    translation.picture();
    translation.length();
    translation.size();
    translation.rest();
    translation.finish().map_err(Refusal::from)
}

/// Translates the fields of a remix: another prompt for an earlier request, whose seed makes the two alike. It is rendered to the
/// end even if the earlier one was a draft, and nobody is notified of it who asked for the earlier one's events.
///
/// # Errors
/// There is no prompt, or another field.
pub(super) fn remix(mut fields: Fields, source: VideoRequest) -> Result<VideoRequest, Problem> {
    let prompt = match fields.take("prompt") {
        Some(Value::String(prompt)) => prompt,
        Some(_) => return Err(Problem::field("prompt", "must be a text in quotes")),
        None => return Err(Problem::field("prompt", "is missing; it is required")),
    };
    let others = fields.names();
    if !others.is_empty() {
        let unknown = |name: String| FieldError::new(&name, "is not known here; a remix takes only a prompt");
        return Err(Problem::fields(others.into_iter().map(unknown).collect()));
    }
    Ok(VideoRequest { prompt, mode: RenderMode::Full, candidates: 1, webhook: None, webhook_events: None, ..source })
}

/// The model's id; `None` for the default and its aliases.
fn model(app: &App, fields: &mut Fields) -> Result<Option<String>, Problem> {
    match fields.take("model") {
        None => Ok(None),
        Some(Value::String(name)) => Ok((!app.settings.models.aliases.contains(&name)).then_some(name)),
        Some(_) => Err(Problem::field("model", "must be a text in quotes")),
    }
}

impl Translation<'_> {
    fn blame(&mut self, field: &str, reason: impl Into<String>) {
        self.wrong.push(FieldError::new(field, reason));
    }

    fn set(&mut self, own: &'static str, client: &'static str, value: Value) {
        if self.own.insert(own.to_owned(), value).is_some() {
            self.blame(client, format!("says the same as {own}; send one of them"));
        }
        self.names.note(own, client);
    }

    fn refuse_and_ignore(&mut self) {
        for (name, reason) in REFUSED {
            let sent = self.fields.take(name).is_some();
            if self.fields.take_file(name).is_some() || sent {
                self.blame(name, reason);
            }
        }
        for name in ONLY_OFF {
            if self.fields.take(name).is_some_and(|value| flag(&value) != Some(false)) {
                self.blame(name, "is not supported; leave it out or send false");
            }
        }
        for name in IGNORED {
            self.fields.take(name);
        }
        for name in ["n", "num_outputs_per_prompt"] {
            if self.fields.take(name).is_some_and(|value| whole(&value) != Some(1)) {
                self.blame(name, "must be 1: one request is one video; POST /api/generate/batch takes several");
            }
        }
        if self.fields.take("fps").is_some_and(|value| number(&value) != Some(domain::model::Length::FPS)) {
            self.blame("fps", "must be 24: it is fixed for these models; set the length with seconds or num_frames");
        }
        let shift = self.manifest.sampling.flow_shift;
        if self.fields.take("flow_shift").is_some_and(|value| number(&value) != Some(shift)) {
            self.blame("flow_shift", format!("must be {shift}: it is fixed for this model; leave it out"));
        }
    }

    fn rename(&mut self) {
        for (client, own) in RENAMED {
            if let Some(value) = self.fields.take(client) {
                self.set(own, client, value);
            }
        }
        if let Some(value) = self.fields.take("enable_teacache") {
            match flag(&value) {
                Some(on) => self.set("step_cache", "enable_teacache", json!(if on { "balanced" } else { "off" })),
                None => self.blame("enable_teacache", "must be true or false"),
            }
        }
        match self.fields.take("seed") {
            None => {}
            Some(Value::Array(seeds)) if seeds.len() != 1 => {
                self.blame("seed", "must be one number: one request is one video");
            }
            Some(Value::Array(mut seeds)) => self.seed(&seeds.remove(0)),
            Some(seed) => self.seed(&seed),
        }
    }

    /// The picture: a file of the form, the id of an uploaded one, or a data URL, perhaps inside an object as OpenAI has it.
    fn picture(&mut self) {
        for client in [PICTURE[0], PICTURE[1], FIELD] {
            let file = self.fields.take_file(client);
            let value = if client == FIELD { None } else { self.fields.take(client) };
            let text = match value {
                None => None,
                Some(Value::Object(mut object)) => object.remove("image_url").or_else(|| object.remove("file_id")),
                text => text,
            };
            match (file, text) {
                (None, None) => {}
                (Some(_), None) if self.picture.is_some() => self.blame(client, "is a second picture; send one"),
                (Some(file), None) => {
                    self.picture = Some(file);
                    self.names.note(FIELD, client);
                }
                (None, Some(Value::String(text))) => self.set(FIELD, client, Value::String(text)),
                _ => self.blame(client, "must be a file, the id of an uploaded picture, or a data URL"),
            }
        }
    }

    /// Any negative seed asks for a random one.
    fn seed(&mut self, seed: &Value) {
        match super::fields::seed(seed) {
            Some(None) => {}
            Some(Some(seed)) => drop(self.own.insert("seed".to_owned(), json!(seed))),
            None => self.blame("seed", "must be a whole number up to 18446744073709551615"),
        }
    }

    /// The number of frames has precedence over seconds, as on other servers.
    fn length(&mut self) {
        let (seconds, frames) = (self.fields.take("seconds"), self.fields.take("num_frames"));
        let own = self.fields.take("video_length");
        if own.is_some() && frames.is_some() {
            return self.blame("num_frames", "says the same as video_length; send one of them");
        }
        let (client, found) = match (&frames, &own, &seconds) {
            (Some(frames), ..) => ("num_frames", whole(frames).map(|frames| length::of_frames(self.manifest, frames))),
            (_, Some(frames), _) => {
                ("video_length", whole(frames).map(|frames| length::of_frames(self.manifest, frames)))
            }
            (.., Some(seconds)) => {
                self.origin.asked_seconds = whole(seconds).and_then(|seconds| u32::try_from(seconds).ok());
                ("seconds", whole(seconds).map(|seconds| length::of_seconds(self.manifest, seconds)))
            }
            (None, None, None) => ("seconds", Some(length::of_seconds(self.manifest, length::SECONDS_DEFAULT.into()))),
        };
        match found {
            Some(Ok(frames)) => {
                self.own.insert("video_length".to_owned(), json!(frames));
                self.names.note("video_length", client);
            }
            Some(Err(reason)) => self.blame(client, reason),
            None => self.blame(client, "must be a whole number"),
        }
    }

    fn size(&mut self) {
        let (width, height) = (self.fields.take("width"), self.fields.take("height"));
        let sides = match (&width, &height) {
            (None, None) => None,
            (Some(width), Some(height)) => match (whole(width), whole(height)) {
                (Some(width), Some(height)) => Some(format!("{width}x{height}")),
                _ => return self.blame("width", "must be a whole number, and so must height"),
            },
            (Some(_), None) => return self.blame("height", "is missing; send width and height, or size"),
            (None, Some(_)) => return self.blame("width", "is missing; send width and height, or size"),
        };
        let asked = match self.fields.take("size") {
            None => sides.map(|text| ("width", text)),
            Some(Value::String(text)) if sides.as_ref().is_none_or(|sides| *sides == text) => Some(("size", text)),
            Some(Value::String(_)) => return self.blame("size", "differs from width and height; send one of them"),
            Some(_) => return self.blame("size", "must be a text such as \"1280x720\""),
        };
        let Some((client, text)) = asked else { return };
        self.origin.asked_size = Some(text.clone());
        // A name such as 540p is checked with the request.
        let Some((width, height)) = size::parse(&text) else {
            return self.set("video_size", client, Value::String(text));
        };
        match size::find(self.manifest, width, height) {
            Err(reason) => self.blame(client, reason),
            Ok(found) => {
                self.set("video_size", client, Value::String(found.video_size));
                let Some(aspect) = found.aspect_ratio else { return };
                // The aspect of these very pixels may be named as well.
                let named = self.fields.take("aspect_ratio");
                if named.is_some_and(|named| named != *aspect.as_str()) {
                    self.blame("aspect_ratio", format!("differs from {client}, which has {aspect}; send one of them"));
                }
                self.own.insert("aspect_ratio".to_owned(), Value::String(aspect));
            }
        }
    }

    /// The request's own fields, and what nobody knows.
    fn rest(&mut self) {
        for name in self.fields.names() {
            if !OWN.contains(&name) {
                self.fields.take(&name);
                self.wrong.push(FieldError::new(&name, "is not known here; docs/integrate.md lists the fields"));
                continue;
            }
            let Some(value) = self.fields.take(&name) else { continue };
            let value = typed(&name, value);
            if self.own.insert(name.clone(), value).is_some() {
                self.wrong.push(FieldError::new(&name, "is given twice under different names; send one of them"));
            }
        }
    }

    fn finish(mut self) -> Result<Wish, Problem> {
        let renamed: Vec<&str> = RENAMED.iter().map(|(_, own)| *own).collect();
        let own: Map<String, Value> = std::mem::take(&mut self.own)
            .into_iter()
            .map(
                |(name, value)| {
                    if renamed.contains(&name.as_str()) { (name.clone(), typed(&name, value)) } else { (name, value) }
                },
            )
            .collect();
        let bytes = serde_json::to_vec(&own).expect("a map of JSON values is JSON; this is a bug");
        match read_json(&bytes) {
            Ok(request) => {
                self.wrong.extend(draft_errors(&request));
                let Self { origin, names, picture, wrong, .. } = self;
                if wrong.is_empty() {
                    Ok(Wish { request, origin, names, picture })
                } else {
                    Err(Problem::fields(wrong))
                }
            }
            Err(problem) => {
                self.wrong.extend(self.names.translate(problem.body().errors));
                Err(Problem::fields(self.wrong))
            }
        }
    }
}

/// What only `/api` can do: clients of this API wait until a video is completed, and have no call that continues a draft.
fn draft_errors(request: &VideoRequest) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    if request.mode == RenderMode::Draft {
        wrong.push(FieldError::new("mode", "must be full here; POST /api/generate takes drafts"));
    }
    if request.candidates > 1 {
        wrong.push(FieldError::new("candidates", "must be 1 here; POST /api/generate takes several"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(object: &Value) -> Fields {
        Fields::of_object(object.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_remix_takes_what_makes_the_video_and_nothing_else() {
        let source = VideoRequest {
            seed: Some(5),
            riflex: Some(true),
            mode: RenderMode::Draft,
            candidates: 1,
            webhook: Some("https://example.com/hook".to_owned()),
            webhook_events: Some("completed".to_owned()),
            ..VideoRequest::new("a red ball")
        };
        let request = remix(fields(&json!({"prompt": "a blue ball"})), source).unwrap();
        let expected = VideoRequest { seed: Some(5), riflex: Some(true), ..VideoRequest::new("a blue ball") };
        assert_eq!(request, expected);
    }
}
