//! What a transformer in another layout becomes in the checkpoint's own: names, row ranges and number formats. Nothing is read but
//! the header, so a file that does not fit is refused before any large read.
//!
//! Rows lie behind each other in a file, so a layer that joins several is cut by byte ranges and copied. FP8 is expanded to bf16,
//! which holds every value of it exactly; a scale per layer is multiplied in. Tencent's FP8 checkpoint has its scales in a second file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::error::{Refused, listed};
use crate::header::{Header, Stored, element_bytes};
use crate::layout::{Alias, aliases};
use crate::vae;

/// How the bytes of a tensor are turned into those of the new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copying {
    /// As they are.
    Plain,
    /// From FP8 to bf16.
    Expand {
        /// `F8_E4M3` or `F8_E5M2`.
        format: String,
        /// A number to multiply with.
        scale: Option<Scale>,
    },
}

/// A number in a file, with which the values of a layer are multiplied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Its element type.
    pub dtype: String,
    /// Its place.
    pub bytes: Range<u64>,
    /// Whether it is in the second file. Tencent's program rounds such a scale to bf16 before it multiplies.
    pub beside: bool,
}

/// A tensor of the new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The checkpoint's name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Sizes of its axes.
    pub shape: Vec<u64>,
    /// The bytes of the old file, in this order.
    pub from: Vec<Range<u64>>,
    /// What happens to them.
    pub copying: Copying,
}

/// What is before the names in files of ComfyUI and of trainers.
const PREFIXES: [&str; 6] =
    ["vae.", "model.model.", "model.diffusion_model.", "diffusion_model.", "module.", "transformer."];

/// Endings of scales for a weight in FP8, and of what goes with them and is not needed.
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];
const UNNEEDED: [&str; 5] = [".scale_input", ".input_scale", ".comfy_quant", "._amax", "scaled_fp8"];

/// The floats that a checkpoint may hold.
const FLOATS: [&str; 4] = ["F64", "F32", "F16", "BF16"];

/// How a transformer or a video decoder of HunyuanVideo 1.0 becomes a checkpoint. `beside` is a second file that holds the scales of
/// FP8 weights under the names of their layers.
///
/// # Errors
/// A file of another model, or with tensors that are not understood; two files that do not belong together; at most ten names.
pub fn plan(header: &Header, beside: Option<&Header>) -> Result<Vec<Output>, Refused> {
    let source = Source::new(header, beside)?;
    if source.tensors.contains_key("decoder.conv_in.conv.weight") {
        return source.decoder();
    }
    if source.tensors.keys().any(|name| name.starts_with("transformer_blocks.")) {
        let outputs = source.tensors.keys().map(|name| source.whole(name, name)).collect::<Result<_, _>>()?;
        return Ok(outputs);
    }
    let counts = Counts::of(&source);
    if counts.double + counts.single == 0 {
        let names: Vec<&&str> = source.tensors.keys().collect();
        let names: Vec<&str> = names.into_iter().copied().collect();
        return Err(Refused::new(format!("is not a transformer of HunyuanVideo: it has {}", listed(&names))));
    }
    let (mut outputs, mut used) = (Vec::new(), BTreeSet::new());
    for alias in aliases(|layer| counts.has(layer)) {
        for leaf in ["weight", "bias"] {
            if let Some(name) = source.find(&alias, leaf) {
                used.insert(name);
                source.split(&alias, name, leaf, &counts, &mut outputs)?;
            }
        }
    }
    let unknown: Vec<&str> = source.tensors.keys().filter(|name| !used.contains(*name)).copied().collect();
    if unknown.is_empty() {
        return Ok(outputs);
    }
    let count = unknown.len();
    Err(Refused::new(format!("has {count} tensors that are not of HunyuanVideo 1.0: {}", listed(&unknown))))
}

/// The tensors of a file without prefixes, and its scales apart.
struct Source<'a> {
    tensors: BTreeMap<&'a str, &'a Stored>,
    /// By the layer's name, and whether they are in the second file.
    scales: BTreeMap<&'a str, (&'a Stored, bool)>,
}

impl<'a> Source<'a> {
    fn new(header: &'a Header, beside: Option<&'a Header>) -> Result<Self, Refused> {
        let prefix = PREFIXES.into_iter().find(|prefix| header.tensors.keys().any(|name| name.starts_with(prefix)));
        let (mut tensors, mut scales) = (BTreeMap::new(), BTreeMap::new());
        for (name, stored) in &header.tensors {
            let bare = prefix.and_then(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
            if let Some(layer) = SCALES.iter().find_map(|ending| bare.strip_suffix(ending)) {
                scales.insert(layer, (one_scale(name, stored)?, false));
            } else if !UNNEEDED.iter().any(|ending| bare.ends_with(ending)) {
                tensors.insert(bare, stored);
            }
        }
        for (name, stored) in beside.into_iter().flat_map(|header| &header.tensors) {
            let layer = prefix.and_then(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
            scales.insert(layer.strip_suffix(".weight").unwrap_or(layer), (one_scale(name, stored)?, true));
        }
        let source = Self { tensors, scales };
        if beside.is_some() {
            source.check_beside()?;
        }
        Ok(source)
    }

    /// Every weight in FP8 has a scale in the second file, and every scale a weight.
    fn check_beside(&self) -> Result<(), Refused> {
        let small = |stored: &Stored| stored.dtype.starts_with("F8_");
        let layer = |name: &'a str| name.strip_suffix(".weight").unwrap_or(name);
        let weights: BTreeSet<&str> =
            self.tensors.iter().filter(|(_, stored)| small(stored)).map(|(name, _)| layer(name)).collect();
        let apart: Vec<&str> = weights
            .iter()
            .copied()
            .filter(|name| !self.scales.contains_key(name))
            .chain(self.scales.keys().copied().filter(|name| !weights.contains(name)))
            .collect();
        if apart.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "and the file of scales do not belong together: {} are in only one of them; use the two files of one release",
            listed(&apart)
        );
        Err(Refused::new(reason))
    }

    /// A video decoder, under the names of diffusers and Tencent's program, or ComfyUI's.
    fn decoder(&self) -> Result<Vec<Output>, Refused> {
        let levels = vae::levels(self.tensors.keys().copied());
        let outputs = self.tensors.keys().map(|name| {
            let target = vae::name(name, levels);
            let mut output = self.whole(name, &target)?;
            // ComfyUI's attention has kernels of size 1.
            if target.contains(".attentions.") && output.shape.len() == 5 && output.shape[2..] == [1, 1, 1] {
                output.shape.truncate(2);
            }
            Ok(output)
        });
        outputs.collect()
    }

    /// The file's name of an alias's weight or bias.
    fn find(&self, alias: &Alias, leaf: &str) -> Option<&'a str> {
        let candidates = alias.names.iter().flat_map(|name| {
            let scale = (alias.norm && leaf == "weight").then(|| format!("{name}.scale"));
            [Some(format!("{name}.{leaf}")), scale].into_iter().flatten()
        });
        candidates.into_iter().find_map(|name| self.tensors.get_key_value(name.as_str()).map(|(name, _)| *name))
    }

    fn whole(&self, name: &str, target: &str) -> Result<Output, Refused> {
        let stored = self.tensors[name];
        self.rows(name, target, std::slice::from_ref(&(0..stored.shape.first().copied().unwrap_or(1))))
    }

    /// Some rows of a tensor, in this order.
    fn rows(&self, name: &str, target: &str, rows: &[Range<u64>]) -> Result<Output, Refused> {
        let stored = self.tensors[name];
        let size = element_bytes(&stored.dtype).unwrap_or(1);
        let row = stored.shape.iter().skip(1).fold(size, |bytes, axis| bytes.saturating_mul(*axis));
        let at = |row_number: u64| stored.bytes.start + row_number.saturating_mul(row);
        let mut shape = stored.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.iter().map(|range| range.end - range.start).sum();
        }
        let from: Vec<Range<u64>> = rows.iter().map(|range| at(range.start)..at(range.end)).collect();
        if from.iter().any(|range| range.end > stored.bytes.end) {
            return Err(Refused::new(format!("has `{name}` with {:?} rows, which is too few", stored.shape.first())));
        }
        let (dtype, copying) = if stored.dtype.starts_with("F8_") {
            let layer = name.strip_suffix(".weight").unwrap_or(name);
            let scale = self.scales.get(layer).map(|(stored, beside)| Scale {
                dtype: stored.dtype.clone(),
                bytes: stored.bytes.clone(),
                beside: *beside,
            });
            ("BF16".to_owned(), Copying::Expand { format: stored.dtype.clone(), scale })
        } else if FLOATS.contains(&stored.dtype.as_str()) {
            (stored.dtype.clone(), Copying::Plain)
        } else {
            return Err(Refused::new(format!("stores `{name}` as {}, which is not a float", stored.dtype)));
        };
        Ok(Output { name: target.to_owned(), dtype, shape, from, copying })
    }

    /// The checkpoint's tensors that lie in one of the file's.
    fn split(
        &self,
        alias: &Alias,
        name: &str,
        leaf: &str,
        counts: &Counts,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Refused> {
        let rows = self.tensors[name].shape.first().copied().unwrap_or(1);
        if alias.halves_swapped {
            let half = rows / 2;
            outputs.push(self.rows(name, &format!("{}.{leaf}", alias.parts[0]), &[half..rows, 0..half])?);
            return Ok(());
        }
        let mut first = 0;
        for (index, part) in alias.parts.iter().enumerate() {
            // Queries, keys and values have the width of a token; what is left belongs to the MLP.
            let last = index + 1 == alias.parts.len();
            let end = if last { rows } else { first + counts.hidden };
            if end < first {
                return Err(Refused::new(format!("has `{name}` with {rows} rows, which is too few")));
            }
            outputs.push(self.rows(name, &format!("{part}.{leaf}"), std::slice::from_ref(&(first..end)))?);
            first = end;
        }
        Ok(())
    }
}

/// A scale of a whole layer.
fn one_scale<'s>(name: &str, stored: &'s Stored) -> Result<&'s Stored, Refused> {
    if stored.elements() == 1 {
        return Ok(stored);
    }
    let reason = format!("has a scale per block (`{name}`), which is not supported; get the release in bf16");
    Err(Refused::new(reason))
}

/// How large a transformer is, by the names and shapes in its file.
struct Counts {
    hidden: u64,
    double: u64,
    single: u64,
    refiner: u64,
    guidance: bool,
}

impl Counts {
    fn of(source: &Source) -> Self {
        let count = |prefix: &str| {
            let numbers =
                source.tensors.keys().filter_map(|name| name.strip_prefix(prefix)?.split('.').next()?.parse().ok());
            numbers.map(|number: u64| number + 1).max().unwrap_or(0)
        };
        Self {
            hidden: source
                .tensors
                .get("img_in.proj.weight")
                .and_then(|stored| stored.shape.first().copied())
                .unwrap_or(0),
            double: count("double_blocks."),
            single: count("single_blocks."),
            refiner: count("txt_in.individual_token_refiner.blocks."),
            guidance: source.tensors.keys().any(|name| name.starts_with("guidance_in.")),
        }
    }

    /// Whether a checkpoint of this size has a layer.
    fn has(&self, layer: &str) -> bool {
        let blocks = [
            ("single_transformer_blocks.", self.single),
            ("transformer_blocks.", self.double),
            ("context_embedder.token_refiner.refiner_blocks.", self.refiner),
        ];
        for (prefix, count) in blocks {
            if let Some(rest) = layer.strip_prefix(prefix) {
                return rest.split('.').next().and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n < count);
            }
        }
        self.guidance || !layer.contains("guidance_embedder")
    }
}
