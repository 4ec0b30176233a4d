//! The first stage: prompts to embeddings, trimmed to their true length.
//!
//! Upstream: `HunyuanVideoPipeline.encode_prompt` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video/pipeline_hunyuan_video.py>.

use prompts::Files;
use prompts::clip::ClipTokenizer;
use prompts::v1::LlamaTokenizer;
use tch::{Device, Kind, Tensor};

use crate::runtime::control::Control;
use crate::runtime::embeddings::Embeddings;
use crate::runtime::error::{CheckpointMismatch, Error, Result};
use crate::runtime::finite;
use crate::runtime::weights::{self, Loader, WeightSource, Weights};
use crate::v1::clip::Clip;
use crate::v1::config::ModelConfig;
use crate::v1::llama::Llama;
use crate::v1::text;

/// Both text encoders and their tokenizers.
pub(crate) struct TextEncoders {
    tokenizer: LlamaTokenizer,
    text_encoder: Llama,
    tokenizer_2: ClipTokenizer,
    text_encoder_2: Clip,
    device: Device,
}

impl std::fmt::Debug for TextEncoders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextEncoders").field("device", &self.device).finish_non_exhaustive()
    }
}

impl TextEncoders {
    /// Loads both from a model folder.
    ///
    /// # Errors
    /// Files that cannot be read, weights that do not fit their configuration, memory.
    pub(crate) fn load(config: &ModelConfig, source: WeightSource, device: Device, kind: Kind) -> Result<Self> {
        let llama = source.open(&config.component_dir("text_encoder"))?;
        let build = load_llama(&llama, config);
        let text_encoder = weights::load(&llama, device, kind, build)?;

        let clip = source.open(&config.component_dir("text_encoder_2"))?;
        let build = load_clip(&clip, config);
        let text_encoder_2 = weights::load(&clip, device, kind, build)?;

        let length_max = config.text_encoder_2.max_position_embeddings;
        Ok(Self {
            tokenizer: LlamaTokenizer::load(&Files::of_folder(&config.component_dir("tokenizer")))?,
            text_encoder,
            tokenizer_2: ClipTokenizer::load(&Files::of_folder(&config.component_dir("tokenizer_2")), length_max)?,
            text_encoder_2,
            device,
        })
    }

    /// Bytes of both encoders' weights in memory; nothing is loaded for it.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn bytes(config: &ModelConfig, source: WeightSource, kind: Kind) -> Result<u64> {
        let llama = source.open(&config.component_dir("text_encoder"))?;
        let clip = source.open(&config.component_dir("text_encoder_2"))?;
        let tables = [weights::key_table(load_llama(&llama, config))?, weights::key_table(load_clip(&clip, config))?];
        let parameters: i64 = tables.iter().map(weights::KeyTable::parameters).sum();
        Ok(u64::try_from(parameters).unwrap_or_default() * kind.elt_size_in_bytes() as u64)
    }

    /// What differs between both encoders' files and their configurations; nothing is loaded for it.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn mismatches(config: &ModelConfig) -> Result<[CheckpointMismatch; 2]> {
        let llama = Weights::open(&config.component_dir("text_encoder"))?;
        let clip = Weights::open(&config.component_dir("text_encoder_2"))?;
        Ok([
            llama.compare(&weights::key_table(load_llama(&llama, config))?),
            clip.compare(&weights::key_table(load_clip(&clip, config))?),
        ])
    }

    /// Embeds prompts, all in one pass of each encoder.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between layers, a prompt that cannot be tokenised, libtorch.
    pub(crate) fn encode(&self, prompts: &[&str], control: &Control) -> Result<Vec<Embeddings>> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        // 1. Tokens of both encoders.
        let llama = prompts.iter().map(|prompt| self.tokenizer.encode(prompt)).collect::<Result<Vec<_>, _>>()?;
        let clip = prompts.iter().map(|prompt| self.tokenizer_2.encode(prompt)).collect::<Result<Vec<_>, _>>()?;
        // 2. States; padding is on the right, where no real token attends to it.
        let states = self.text_encoder.forward(&padded(&llama, self.device)?, control)?; // [b, t, hidden]
        let pooled = self.text_encoder_2.forward(&padded(&clip, self.device)?, control)?; // [b, hidden]
        // 3. Each prompt's own tokens, without those of the instruction.
        let crop = i64::try_from(self.tokenizer.crop_start()).unwrap_or(i64::MAX);
        let one = |(index, ids): (usize, &Vec<i64>)| {
            let (row, tokens) = (index as i64, ids.len() as i64 - crop);
            if tokens <= 0 {
                return Err(Error::input("prompt", "its instruction alone fills the language model's room"));
            }
            let prompt_embeds = states.f_narrow(0, row, 1)?.f_narrow(1, crop, tokens)?.f_contiguous()?;
            let pooled = pooled.f_narrow(0, row, 1)?.f_contiguous()?;
            for tensor in [&prompt_embeds, &pooled] {
                finite::check(tensor, "text encoders", None)?;
            }
            Embeddings::new([(text::PROMPT, prompt_embeds), (text::POOLED, pooled)])
        };
        llama.iter().enumerate().map(one).collect()
    }
}

/// What may be before the language model's keys: a causal model's prefix, none, and LLaVA's as transformers 4 and 5 save it.
const LLAMA_PREFIXES: [&str; 4] = ["model.", "", "language_model.model.", "model.language_model."];

/// How the language model is built from its files, whose keys may have a prefix.
fn load_llama<'a>(files: &Weights, config: &'a ModelConfig) -> impl Fn(&Loader) -> Result<Llama> + use<'a> {
    let prefix = files.prefix_of(&LLAMA_PREFIXES, "embed_tokens.weight");
    move |loader| Llama::load(loader, prefix, &config.text_encoder)
}

/// How CLIP's text model is built from its files.
fn load_clip<'a>(files: &Weights, config: &'a ModelConfig) -> impl Fn(&Loader) -> Result<Clip> + use<'a> {
    let prefix = files.prefix_of(&["text_model.", ""], "embeddings.token_embedding.weight");
    move |loader| Clip::load(loader, prefix, &config.text_encoder_2)
}

/// Ids as one tensor `[batch, longest]`, padded with the last id of each prompt, which is an end token.
pub(crate) fn padded(ids: &[Vec<i64>], device: Device) -> Result<Tensor> {
    let longest = ids.iter().map(Vec::len).max().unwrap_or_default();
    let mut flat = Vec::with_capacity(ids.len() * longest);
    for row in ids {
        flat.extend(row);
        flat.extend(std::iter::repeat_n(row.last().copied().unwrap_or_default(), longest - row.len()));
    }
    Ok(Tensor::f_from_slice(&flat)?.f_view([ids.len() as i64, longest as i64])?.f_to_device(device)?)
}
