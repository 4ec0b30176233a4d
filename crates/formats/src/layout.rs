//! The names that three programs give to the layers of HunyuanVideo's transformer, and which rows of one are which of another.
//!
//! The checkpoint's own names are diffusers'. Tencent's program joins several of those layers into one, row by row, and
//! ComfyUI renames Tencent's. The table below is the only place that knows this; adapters and conversions follow it.
//!
//! Upstream: `convert_hunyuan_video_transformer_to_diffusers` in
//! <https://github.com/huggingface/diffusers/blob/v0.36.0/src/diffusers/loaders/single_file_utils.py>, and `HunyuanVideo` in
//! <https://github.com/comfyanonymous/ComfyUI/blob/v0.3.60/comfy/supported_models.py>.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A layer under other names: what to call it, and the checkpoint's layers whose rows it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Its name in Tencent's program, then in ComfyUI if that differs.
    pub names: Vec<String>,
    /// The checkpoint's layers, in the order of the rows.
    pub parts: Vec<String>,
    /// Whether the two halves of the rows are exchanged (shift and scale of the last norm).
    pub halves_swapped: bool,
    /// Whether this is a norm, whose weight ComfyUI calls `scale`.
    pub norm: bool,
}

/// One line of the table; `N` stands for the block's number.
struct Line {
    original: &'static str,
    comfy: &'static str,
    parts: &'static [&'static str],
}

const fn line(original: &'static str, comfy: &'static str, parts: &'static [&'static str]) -> Line {
    Line { original, comfy, parts }
}

/// The last norm's modulation, the only layer whose rows are reordered.
const SWAPPED: &str = "final_layer.adaLN_modulation.1";

/// Blocks with two streams, below `double_blocks.N` and `transformer_blocks.N`.
const DOUBLE: &[Line] = &[
    line("img_mod.linear", "img_mod.lin", &["norm1.linear"]),
    line("txt_mod.linear", "txt_mod.lin", &["norm1_context.linear"]),
    line("img_attn_qkv", "img_attn.qkv", &["attn.to_q", "attn.to_k", "attn.to_v"]),
    line("txt_attn_qkv", "txt_attn.qkv", &["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"]),
    line("img_attn_proj", "img_attn.proj", &["attn.to_out.0"]),
    line("txt_attn_proj", "txt_attn.proj", &["attn.to_add_out"]),
    line("img_attn_q_norm", "img_attn.norm.query_norm", &["attn.norm_q"]),
    line("img_attn_k_norm", "img_attn.norm.key_norm", &["attn.norm_k"]),
    line("txt_attn_q_norm", "txt_attn.norm.query_norm", &["attn.norm_added_q"]),
    line("txt_attn_k_norm", "txt_attn.norm.key_norm", &["attn.norm_added_k"]),
    line("img_mlp.fc1", "img_mlp.0", &["ff.net.0.proj"]),
    line("img_mlp.fc2", "img_mlp.2", &["ff.net.2"]),
    line("txt_mlp.fc1", "txt_mlp.0", &["ff_context.net.0.proj"]),
    line("txt_mlp.fc2", "txt_mlp.2", &["ff_context.net.2"]),
];

/// Blocks with one stream, below `single_blocks.N` and `single_transformer_blocks.N`.
const SINGLE: &[Line] = &[
    line("modulation.linear", "modulation.lin", &["norm.linear"]),
    line("linear1", "linear1", &["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]),
    line("linear2", "linear2", &["proj_out"]),
    line("q_norm", "norm.query_norm", &["attn.norm_q"]),
    line("k_norm", "norm.key_norm", &["attn.norm_k"]),
];

/// Blocks of the token refiner.
const REFINER: &[Line] = &[
    line("self_attn_qkv", "self_attn.qkv", &["attn.to_q", "attn.to_k", "attn.to_v"]),
    line("self_attn_proj", "self_attn.proj", &["attn.to_out.0"]),
    line("mlp.fc1", "mlp.0", &["ff.net.0.proj"]),
    line("mlp.fc2", "mlp.2", &["ff.net.2"]),
    line("adaLN_modulation.1", "adaLN_modulation.1", &["norm_out.linear"]),
    line("norm1", "norm1", &["norm1"]),
    line("norm2", "norm2", &["norm2"]),
];

/// Everything outside the blocks.
const REST: &[Line] = &[
    line("img_in.proj", "img_in.proj", &["x_embedder.proj"]),
    line("time_in.mlp.0", "time_in.in_layer", &["time_text_embed.timestep_embedder.linear_1"]),
    line("time_in.mlp.2", "time_in.out_layer", &["time_text_embed.timestep_embedder.linear_2"]),
    line("guidance_in.mlp.0", "guidance_in.in_layer", &["time_text_embed.guidance_embedder.linear_1"]),
    line("guidance_in.mlp.2", "guidance_in.out_layer", &["time_text_embed.guidance_embedder.linear_2"]),
    line("vector_in.in_layer", "vector_in.in_layer", &["time_text_embed.text_embedder.linear_1"]),
    line("vector_in.out_layer", "vector_in.out_layer", &["time_text_embed.text_embedder.linear_2"]),
    line("txt_in.input_embedder", "txt_in.input_embedder", &["context_embedder.proj_in"]),
    line(
        "txt_in.t_embedder.mlp.0",
        "txt_in.t_embedder.in_layer",
        &["context_embedder.time_text_embed.timestep_embedder.linear_1"],
    ),
    line(
        "txt_in.t_embedder.mlp.2",
        "txt_in.t_embedder.out_layer",
        &["context_embedder.time_text_embed.timestep_embedder.linear_2"],
    ),
    line(
        "txt_in.c_embedder.linear_1",
        "txt_in.c_embedder.in_layer",
        &["context_embedder.time_text_embed.text_embedder.linear_1"],
    ),
    line(
        "txt_in.c_embedder.linear_2",
        "txt_in.c_embedder.out_layer",
        &["context_embedder.time_text_embed.text_embedder.linear_2"],
    ),
    line("final_layer.linear", "final_layer.linear", &["proj_out"]),
    line(SWAPPED, SWAPPED, &["norm_out.linear"]),
];

/// Where the blocks of a kind are: Tencent's and ComfyUI's prefix, diffusers' prefix, and their lines.
const BLOCKS: [(&str, &str, &[Line]); 3] = [
    ("double_blocks.", "transformer_blocks.", DOUBLE),
    ("single_blocks.", "single_transformer_blocks.", SINGLE),
    ("txt_in.individual_token_refiner.blocks.", "context_embedder.token_refiner.refiner_blocks.", REFINER),
];

/// Every layer of a checkpoint of HunyuanVideo 1.0 under its other names. `has` says which layers the checkpoint has; blocks
/// are counted by it.
pub fn aliases(has: impl Fn(&str) -> bool) -> Vec<Alias> {
    let mut all = Vec::new();
    for (theirs, ours, lines) in BLOCKS {
        for number in 0_u32.. {
            let (theirs, ours) = (format!("{theirs}{number}."), format!("{ours}{number}."));
            let found: Vec<Alias> =
                lines.iter().map(|line| alias(line, &theirs, &ours)).filter(|alias| alias.exists(&has)).collect();
            if found.is_empty() {
                break;
            }
            all.extend(found);
        }
    }
    all.extend(REST.iter().map(|line| alias(line, "", "")).filter(|alias| alias.exists(&has)));
    all
}

fn alias(line: &Line, theirs: &str, ours: &str) -> Alias {
    let mut names = vec![format!("{theirs}{}", line.original)];
    if line.comfy != line.original {
        names.push(format!("{theirs}{}", line.comfy));
    }
    Alias {
        names,
        parts: line.parts.iter().map(|part| format!("{ours}{part}")).collect(),
        halves_swapped: line.original == SWAPPED,
        norm: line.original.ends_with("_norm"),
    }
}

impl Alias {
    fn exists(&self, has: &impl Fn(&str) -> bool) -> bool {
        self.parts.iter().all(|part| has(part))
    }
}

/// The sizes of a transformer of HunyuanVideo 1.0: the table `[transformer]` of a model's manifest. With it the API can check
/// an adapter without the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerSizes {
    /// Width of a token.
    pub hidden: u64,
    /// Width inside the blocks' MLP.
    pub mlp: u64,
    /// Blocks with two streams.
    pub double_blocks: u64,
    /// Blocks with one stream.
    pub single_blocks: u64,
    /// Blocks of the token refiner.
    pub refiner_blocks: u64,
    /// Width of the language model's states.
    pub text: u64,
    /// Width of the pooled prompt.
    pub pooled: u64,
    /// Values of a patch of latents: channels times its latents.
    pub patch: u64,
    /// Whether the guidance scale is an input.
    pub guidance: bool,
}

/// Features of a number before its embedding, in this architecture.
const FEATURES: u64 = 256;
/// Width of the refiner's MLP over the width of a token, in this architecture.
const REFINER_MLP_RATIO: u64 = 4;

impl TransformerSizes {
    /// Every dense layer with the number of its outputs and inputs, by the checkpoint's name.
    #[must_use]
    pub fn layers(&self) -> BTreeMap<String, [u64; 2]> {
        let Self { hidden, mlp, .. } = *self;
        let mut layers = BTreeMap::new();
        let mut add = |name: String, outputs: u64, inputs: u64| {
            layers.insert(name, [outputs, inputs]);
        };
        for number in 0..self.double_blocks {
            let block = format!("transformer_blocks.{number}.");
            for name in ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"] {
                add(format!("{block}attn.{name}"), hidden, hidden);
            }
            for (norm, net) in [("norm1", "ff"), ("norm1_context", "ff_context")] {
                add(format!("{block}{norm}.linear"), 6 * hidden, hidden);
                add(format!("{block}{net}.net.0.proj"), mlp, hidden);
                add(format!("{block}{net}.net.2"), hidden, mlp);
            }
        }
        for number in 0..self.single_blocks {
            let block = format!("single_transformer_blocks.{number}.");
            for name in ["attn.to_q", "attn.to_k", "attn.to_v"] {
                add(format!("{block}{name}"), hidden, hidden);
            }
            add(format!("{block}norm.linear"), 3 * hidden, hidden);
            add(format!("{block}proj_mlp"), mlp, hidden);
            add(format!("{block}proj_out"), hidden, hidden + mlp);
        }
        for number in 0..self.refiner_blocks {
            let block = format!("context_embedder.token_refiner.refiner_blocks.{number}.");
            for name in ["attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"] {
                add(format!("{block}{name}"), hidden, hidden);
            }
            add(format!("{block}ff.net.0.proj"), REFINER_MLP_RATIO * hidden, hidden);
            add(format!("{block}ff.net.2"), hidden, REFINER_MLP_RATIO * hidden);
            add(format!("{block}norm_out.linear"), 2 * hidden, hidden);
        }
        let mut embed = |name: &str, inputs: u64| {
            add(format!("{name}.linear_1"), hidden, inputs);
            add(format!("{name}.linear_2"), hidden, hidden);
        };
        embed("time_text_embed.timestep_embedder", FEATURES);
        embed("time_text_embed.text_embedder", self.pooled);
        if self.guidance {
            embed("time_text_embed.guidance_embedder", FEATURES);
        }
        embed("context_embedder.time_text_embed.timestep_embedder", FEATURES);
        embed("context_embedder.time_text_embed.text_embedder", self.text);
        add("context_embedder.proj_in".to_owned(), hidden, self.text);
        add("x_embedder.proj".to_owned(), hidden, self.patch);
        add("norm_out.linear".to_owned(), 2 * hidden, hidden);
        add("proj_out".to_owned(), self.patch, hidden);
        layers
    }
}
