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
use crate::header::{Header, LENGTH_BYTES};

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

/// The start of a PEFT file, up to its first tensor, with the configuration from beside it in its metadata: where diffusers writes
/// it, and where [`super::Lora::read`] finds it without a second file. The tensors stay as they are behind it.
///
/// # Errors
/// A start that is no whole header, or a file that has such metadata already.
pub fn with_config(start: &[u8], config: &Map<String, Value>) -> Result<Vec<u8>, Refused> {
    let broken = |error: serde_json::Error| Refused::new(format!("has a damaged header ({error}); download it again"));
    let extent = Header::extent(start)?;
    let json = usize::try_from(extent).ok().and_then(|extent| start.get(LENGTH_BYTES..extent));
    let json = json.ok_or_else(|| Refused::new("ends within its header; download it again"))?;
    let mut header: Map<String, Value> = serde_json::from_slice(json).map_err(broken)?;
    let metadata = header.entry("__metadata__").or_insert_with(|| Value::Object(Map::new()));
    let metadata = metadata.as_object_mut().ok_or_else(|| Refused::new("has metadata that is not a JSON object"))?;
    if metadata.contains_key(METADATA) {
        return Err(Refused::new("already contains a PEFT configuration; send it without adapter_config.json"));
    }
    let fields: Map<String, Value> =
        config.iter().map(|(name, value)| (format!("{NETWORK}{name}"), value.clone())).collect();
    metadata.insert(METADATA.to_owned(), Value::String(Value::Object(fields).to_string()));
    let mut json = serde_json::to_vec(&header).map_err(broken)?;
    // Tensors begin at a multiple of 8 bytes.
    json.resize(json.len().next_multiple_of(LENGTH_BYTES), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    Ok(bytes)
}

/// Fields of the configuration that, when they are set, ask for more than a product of two factors.
const OTHER_METHODS: [&str; 6] = [
    "use_dora",
    "use_qalora",
    "fan_in_fan_out",
    "layer_replication",
    "alora_invocation_tokens",
    "trainable_token_indices",
];
/// Initialisations that change the base weights, too, so that the factors fit only those.
const CHANGES_BASE: [&str; 4] = ["pissa", "corda", "olora", "loftq"];

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
    pub(super) fn read(header: &Header, beside: Option<&Map<String, Value>>) -> Result<Self, Refused> {
        let own = match header.metadata.get(METADATA) {
            None => None,
            Some(text) => {
                let value: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
                    Refused::new(format!("has metadata `{METADATA}` that is not a JSON object ({error})"))
                })?;
                let of_network =
                    value.into_iter().filter_map(|(name, value)| Some((name.strip_prefix(NETWORK)?.to_owned(), value)));
                Some(of_network.collect::<Map<_, _>>()).filter(|map| !map.is_empty())
            }
        };
        let needs_config = header.tensors.keys().any(|key| key.starts_with("base_model.model."));
        Ok(Self { config: own.as_ref().or(beside).map(Config::read).transpose()?, needs_config })
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
        let is_set = |field: &&str| match fields.get(*field) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(items)) => !items.is_empty(),
            Some(_) => true,
        };
        if let Some(field) = OTHER_METHODS.iter().find(|field| is_set(field)) {
            return refuse(field);
        }
        let init = fields.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
        if CHANGES_BASE.iter().any(|method| init.starts_with(method)) {
            return refuse("init_lora_weights");
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
                return Err(Refused::new(format!("has an `alpha_pattern` that is not a module's name: `{pattern}`")));
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
