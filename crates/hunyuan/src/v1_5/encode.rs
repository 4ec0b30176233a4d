//! The first stage: prompts to embeddings, trimmed to their true length.
//!
//! Upstream: `HunyuanVideo15Pipeline.encode_prompt` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video1_5/pipeline_hunyuan_video1_5.py>.

use prompts::Files;
use prompts::v1_5::QwenTokenizer;
use prompts::v1_5::glyph::{ByteTokenizer, quoted};
use tch::{Device, Kind, Tensor};

use super::config::ModelConfig;
use super::t5::T5Encoder;
use super::text;
use crate::runtime::control::Control;
use crate::runtime::embeddings::Embeddings;
use crate::runtime::error::{CheckpointMismatch, Error, Result};
use crate::runtime::finite;
use crate::runtime::weights::{self, Loader, WeightSource, Weights};
use crate::v1::encode::padded;
use crate::v1::llama::Llama;

/// Where the language model's keys may begin: its own class, or a whole Qwen2.5-VL saved by either version of transformers.
const PREFIXES: [&str; 4] = ["", "model.", "language_model.", "model.language_model."];

/// Both text encoders and their tokenizers.
pub(crate) struct TextEncoders {
    tokenizer: QwenTokenizer,
    text_encoder: Llama,
    tokenizer_2: ByteTokenizer,
    text_encoder_2: T5Encoder,
    device: Device,
    kind: Kind,
}

impl std::fmt::Debug for TextEncoders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextEncoders").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl TextEncoders {
    /// Loads both from a model folder.
    ///
    /// # Errors
    /// Files that cannot be read, weights that do not fit their configuration, memory.
    pub(crate) fn load(config: &ModelConfig, source: WeightSource, device: Device, kind: Kind) -> Result<Self> {
        let files = source.open(&config.component_dir("text_encoder"))?;
        let text_encoder = weights::load(&files, device, kind, load_qwen(&files, config))?;
        let files = source.open(&config.component_dir("text_encoder_2"))?;
        let text_encoder_2 = weights::load(&files, device, glyph_kind(kind), load_t5(config))?;
        Ok(Self {
            tokenizer: QwenTokenizer::load(&Files::of_folder(&config.component_dir("tokenizer")))?,
            text_encoder,
            tokenizer_2: ByteTokenizer::load(&Files::of_folder(&config.component_dir("tokenizer_2")))?,
            text_encoder_2,
            device,
            kind,
        })
    }

    /// Bytes of weights that stay in memory once both are loaded; nothing is loaded for it.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn bytes(config: &ModelConfig, source: WeightSource, kind: Kind) -> Result<u64> {
        let qwen = source.open(&config.component_dir("text_encoder"))?;
        let tables = [weights::key_table(load_qwen(&qwen, config))?, weights::key_table(load_t5(config))?];
        let kinds = [kind, glyph_kind(kind)];
        let bytes = tables.iter().zip(kinds).map(|(table, kind)| {
            u64::try_from(table.parameters()).unwrap_or_default() * kind.elt_size_in_bytes() as u64
        });
        Ok(bytes.sum())
    }

    /// What differs between both encoders' files and their configurations; nothing is loaded for it.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn mismatches(config: &ModelConfig) -> Result<[CheckpointMismatch; 2]> {
        let qwen = Weights::open(&config.component_dir("text_encoder"))?;
        let glyph = Weights::open(&config.component_dir("text_encoder_2"))?;
        Ok([
            qwen.compare(&weights::key_table(load_qwen(&qwen, config))?),
            glyph.compare(&weights::key_table(load_t5(config))?),
        ])
    }

    /// Embeds prompts: the language model takes all in one pass, the small glyph encoder one after another.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between layers, a prompt that cannot be tokenised, libtorch.
    pub(crate) fn encode(&self, prompts: &[&str], control: &Control) -> Result<Vec<Embeddings>> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let ids = prompts.iter().map(|prompt| self.tokenizer.encode(prompt)).collect::<Result<Vec<_>, _>>()?;
        // Padding is on the right, where no real token sees it.
        let states = self.text_encoder.forward(&padded(&ids, self.device)?, control)?; // [b, t, hidden]
        let crop = i64::try_from(self.tokenizer.crop_start()).unwrap_or(i64::MAX);
        let mut encoded = Vec::with_capacity(prompts.len());
        for (row, (prompt, ids)) in prompts.iter().zip(&ids).enumerate() {
            let tokens = ids.len() as i64 - crop;
            if tokens <= 0 {
                return Err(Error::input("prompt", "its instruction alone fills the language model's room"));
            }
            let own = states.f_narrow(0, row as i64, 1)?.f_narrow(1, crop, tokens)?.f_contiguous()?;
            let mut tensors = vec![(text::PROMPT, own)];
            if let Some(quoted) = quoted(prompt) {
                tensors.push((text::GLYPH, self.glyph(&quoted, control)?));
            }
            for (_, tensor) in &tensors {
                finite::check(tensor, "text encoders", None)?;
            }
            encoded.push(Embeddings::new(tensors)?);
        }
        Ok(encoded)
    }

    /// States of the quoted text, `[1, bytes, width]`.
    fn glyph(&self, quoted: &str, control: &Control) -> Result<Tensor> {
        let ids = Tensor::f_from_slice(&self.tokenizer_2.encode(quoted))?.f_unsqueeze(0)?.f_to_device(self.device)?;
        let states = self.text_encoder_2.forward(&ids, control)?;
        Ok(states.f_to_kind(self.kind)?.f_contiguous()?)
    }
}

/// T5's activations leave the range of fp16, and the glyph encoder is small.
fn glyph_kind(kind: Kind) -> Kind {
    if kind == Kind::Half { Kind::Float } else { kind }
}

/// How the language model is built from its files, whose keys may have a prefix.
fn load_qwen(files: &Weights, config: &ModelConfig) -> impl Fn(&Loader) -> Result<Llama> + use<> {
    let prefix = files.prefix_of(&PREFIXES, "embed_tokens.weight");
    let llama = config.text_encoder.llama();
    move |loader| {
        // The vision tower of a whole Qwen2.5-VL: text-to-video never shows it anything.
        loader.at("").ignore("visual");
        loader.at("").ignore("model.visual");
        Llama::load(loader, prefix, &llama)
    }
}

/// How the glyph encoder is built from its files.
fn load_t5(config: &ModelConfig) -> impl Fn(&Loader) -> Result<T5Encoder> + use<'_> {
    |loader| T5Encoder::load(loader, &config.text_encoder_2)
}
