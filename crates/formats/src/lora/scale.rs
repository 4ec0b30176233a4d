//! What a pair of factors is multiplied by, beside the strength that a user gives.
//!
//! - A tensor `alpha`: alpha over rank, per module. musubi-tuner and kohya write it. Where it exists, nothing else
//!   counts.
//! - PEFT's configuration, in `adapter_config.json` or in the metadata that diffusers writes: alpha over rank, or over the root of
//!   the rank; patterns override both per module.
//! - Neither: 1. diffusion-pipe trains with alpha equal to the rank only, and diffusers reads files without metadata so.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::keys::bare;
use crate::error::Refused;
use crate::header::Header;

/// A scale.
#[derive(Debug, Clone, PartialEq)]
pub enum ScaleOf {
    /// A number.
    Fixed(f64),
    /// The number in a tensor of the file, over the rank.
    Alpha {
        /// The tensor's key.
        key: String,
        /// The rank.
        rank: u64,
    },
}

/// The metadata key under which diffusers writes PEFT's configuration.
const METADATA: &str = "lora_adapter_metadata";
/// Before the keys of the transformer in that metadata.
const NETWORK: &str = "transformer.";

/// How a file's factors are scaled where it has no `alpha`.
#[derive(Debug, Default)]
pub(super) struct Scales {
    config: Option<Config>,
    /// The file is PEFT's, which keeps the scale in a second file.
    needs_config: bool,
}

#[derive(Debug)]
struct Config {
    alpha: f64,
    root: bool,
    alphas: BTreeMap<String, f64>,
}

impl Scales {
    pub(super) fn read(header: &Header, beside: Option<&Value>) -> Result<Self, Refused> {
        let own = match header.metadata.get(METADATA) {
            None => None,
            Some(text) => {
                let value: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
                    Refused::new(format!("has metadata `{METADATA}` that is no JSON object ({error})"))
                })?;
                let of_network =
                    value.into_iter().filter_map(|(name, value)| Some((name.strip_prefix(NETWORK)?.to_owned(), value)));
                Some(of_network.collect::<Map<_, _>>()).filter(|map| !map.is_empty())
            }
        };
        let beside = beside.and_then(Value::as_object).cloned();
        let needs_config = header.tensors.keys().any(|key| key.starts_with("base_model.model."));
        Ok(Self { config: own.or(beside).map(|fields| Config::read(&fields)).transpose()?, needs_config })
    }

    /// The scale of the module whose factor has this key.
    pub(super) fn of(&self, key: &str, rank: u64) -> Result<ScaleOf, Refused> {
        let Some(config) = &self.config else {
            if self.needs_config {
                return Err(Refused::new(
                    "is a PEFT file without its adapter_config.json, which holds the scale; keep both in one folder, or \
                     save it with diffusers' save_lora_weights",
                ));
            }
            return Ok(ScaleOf::Fixed(1.0));
        };
        let module = key.split(".lora_").next().unwrap_or(key);
        let alpha = config.alpha_of(bare(module));
        #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
        let rank = rank as f64;
        Ok(ScaleOf::Fixed(alpha / if config.root { rank.sqrt() } else { rank }))
    }
}

impl Config {
    fn read(fields: &Map<String, Value>) -> Result<Self, Refused> {
        let refuse =
            |what: &str| Err(Refused::new(format!("was trained with PEFT's `{what}`, which is not supported")));
        if fields.get("use_dora").and_then(Value::as_bool) == Some(true) {
            return refuse("use_dora");
        }
        if fields.get("peft_type").and_then(Value::as_str).is_some_and(|kind| kind != "LORA") {
            return refuse("peft_type");
        }
        let Some(alpha) = fields.get("lora_alpha").and_then(Value::as_f64) else {
            return Err(Refused::new("has a PEFT configuration without `lora_alpha`"));
        };
        let mut alphas = BTreeMap::new();
        for (pattern, value) in fields.get("alpha_pattern").and_then(Value::as_object).into_iter().flatten() {
            let plain = pattern.trim_start_matches('^').trim_end_matches('$').replace("\\.", ".");
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
            let Some(alpha) = value.as_f64().filter(|_| plain.chars().all(is_name)) else {
                return Err(Refused::new(format!("has an `alpha_pattern` that is no module's name: `{pattern}`")));
            };
            alphas.insert(plain, alpha);
        }
        Ok(Self { alpha, root: fields.get("use_rslora").and_then(Value::as_bool) == Some(true), alphas })
    }

    /// PEFT matches a pattern with the whole name or with its end after a dot.
    fn alpha_of(&self, module: &str) -> f64 {
        let fits = |pattern: &str| {
            module.strip_suffix(bare(pattern)).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        self.alphas.iter().find(|(pattern, _)| fits(pattern)).map_or(self.alpha, |(_, alpha)| *alpha)
    }
}
