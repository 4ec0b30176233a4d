//! Environment variables: four short names that operators know, and `FLEET__SECTION__KEY` for every key.
//!
//! A variable's text is converted to the kind of value that the base file has for the key. A password that looks like a
//! number therefore stays text, and a port that is not a number is refused here, with the variable's name.

use std::collections::BTreeMap;

use toml::Value;

use crate::error::SettingsError;
use crate::renamed;
use crate::schema::Keys;
use crate::suggest::nearest;

const PREFIX: &str = "FLEET__";

/// Short names and the keys they stand for.
const SHORT: [(&str, &str); 4] = [
    ("REDIS_HOST", "redis.host"),
    ("REDIS_PORT", "redis.port"),
    ("ENABLE_CACHE", "cache.enabled"),
    ("ENABLE_ADAPTIVE_STEPS", "optimization.adaptive_steps"),
];

/// What the variables set, as key and value. The long names come last, because they override the short ones.
pub(crate) fn overrides(
    variables: &BTreeMap<String, String>,
    known: &Keys,
) -> Result<Vec<(String, Value)>, SettingsError> {
    let mut found = Vec::new();
    for (name, key) in SHORT {
        // `docker compose` passes an empty variable for one that is not set.
        let Some(text) = variables.get(name).filter(|text| !text.trim().is_empty()) else { continue };
        found.push((key.to_owned(), convert(name, text, &known[key])?));
    }
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let key = path.to_lowercase().replace("__", ".");
        if let Some(advice) = renamed::advice(&key, variable_of) {
            return Err(SettingsError::RemovedKey { key, origin: format!("the variable {name}"), advice });
        }
        let default = known.get(&key).ok_or_else(|| SettingsError::UnknownKey {
            key: key.clone(),
            origin: format!("the variable {name}"),
            suggestion: nearest(&key, known.keys().map(String::as_str)).map(variable_of),
        })?;
        found.push((key, convert(name, text, default)?));
    }
    Ok(found)
}

/// The variable that sets a key.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn convert(name: &str, text: &str, like: &Value) -> Result<Value, SettingsError> {
    let refuse = |expected: &'static str| SettingsError::Variable { name: name.to_owned(), expected };
    let trimmed = text.trim();
    match like {
        Value::Integer(_) => trimmed.parse().map(Value::Integer).map_err(|_| {
            // Kubernetes itself sets REDIS_PORT=tcp://... for a service named "redis".
            let from_kubernetes = trimmed.starts_with("tcp://");
            refuse(if from_kubernetes {
                "a whole number; Kubernetes set it for a service of that name, which enableServiceLinks: false prevents"
            } else {
                "a whole number"
            })
        }),
        Value::Float(_) => trimmed.parse().map(Value::Float).map_err(|_| refuse("a number")),
        Value::Boolean(_) => match trimmed.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Value::Boolean(true)),
            "false" | "0" | "no" | "off" => Ok(Value::Boolean(false)),
            _ => Err(refuse("true or false")),
        },
        Value::Array(_) => {
            let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        // Not trimmed: a password may begin or end with a space.
        _ => Ok(Value::String(text.to_owned())),
    }
}
