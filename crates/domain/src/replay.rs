//! Comparing a video with its replay: everything that the bytes depend on, field by field, and the bytes' hash.

use serde::Serialize;
use serde_json::Value;

use crate::job::Job;

/// A field in which a replay differs from the original.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Difference {
    /// Its name; dots lead into objects.
    pub field: String,
    /// Its value for the original; null if it has none.
    pub original: Value,
    /// Its value for the replay; null if it has none.
    pub replay: Value,
}

/// Whether both videos exist and have the same bytes; `None` if a hash is missing.
#[must_use]
pub fn is_identical(original: &Job, replay: &Job) -> Option<bool> {
    let hash = |job: &Job| Some(job.record.as_ref()?.reproduction.as_ref()?.video_sha256.clone());
    Some(hash(original)? == hash(replay)?)
}

/// The fields that the bytes depend on and that differ, and the hashes if they do.
#[must_use]
pub fn differences(original: &Job, replay: &Job) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", &inputs(original), &inputs(replay), &mut found);
    found
}

/// Everything that a video's bytes depend on, and what came of it.
fn inputs(job: &Job) -> Value {
    let record = job.record.as_ref();
    serde_json::json!({
        "request": document(&job.request),
        "shape": { "width": job.shape.width, "height": job.shape.height, "frames": job.shape.frames, "fps": job.shape.fps },
        "plan": plan(job),
        "adapters": record.map(|record| record.adapters.clone()),
        "reproduction": record.and_then(|record| record.reproduction.as_ref()).map(document),
    })
}

/// The part of the plan that the bytes depend on. Its estimates are not part of it.
fn plan(job: &Job) -> Value {
    let Some(plan) = &job.plan else { return Value::Null };
    serde_json::json!({
        "steps": plan.steps,
        "step_cache": plan.step_cache,
        // Without its estimate.
        "progressive": plan.progressive.map(|early| (early.width, early.height, early.steps, early.shift)),
        "flow_shift": plan.flow_shift,
        "guidance": plan.guidance,
        "continues": plan.continues,
    })
}

fn compare(path: &str, original: &Value, replay: &Value, found: &mut Vec<Difference>) {
    if original == replay {
        return;
    }
    if let (Value::Object(left), Value::Object(right)) = (original, replay) {
        let names: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let of = |side: &serde_json::Map<String, Value>| side.get(name).cloned().unwrap_or(Value::Null);
            compare(&path, &of(left), &of(right), found);
        }
        return;
    }
    found.push(Difference { field: path.to_owned(), original: original.clone(), replay: replay.clone() });
}

/// A value as JSON; what cannot be written as JSON compares as null.
fn document<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_path() {
        let mut found = Vec::new();
        let original = json!({"same": 1, "worker": {"build": "a", "threads": 2}, "only": true});
        let replay = json!({"same": 1, "worker": {"build": "b", "threads": 2}});
        compare("", &original, &replay, &mut found);
        let named: Vec<_> = found.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(named, ["only", "worker.build"]);
        assert_eq!((&found[0].original, &found[0].replay), (&json!(true), &Value::Null));
        assert_eq!((&found[1].original, &found[1].replay), (&json!("a"), &json!("b")));
    }
}
