//! The family's networks as one value behind [`Networks`].

use std::cell::OnceCell;

use tch::{Device, Kind};

use super::{
    config::ModelConfig,
    denoise::Denoiser,
    encode::TextEncoders,
    picture::{PictureEncoders, PictureFiles},
    text::Text,
    transformer::{Transformer, Variant, glyph_inner},
    vae::Decoder,
};
use crate::networks::{AttentionShape, Batch, LoadPlan, Loaded, Networks, PictureSize, Residency, TAKES_NO_PICTURE};
use crate::runtime::{
    control::Control,
    dtype::Dtype,
    embeddings::Embeddings,
    error::{Error, Result},
    first_frame::FirstFrame,
    frames::Frames,
    picture::Picture,
    request::DenoiseRequest,
    sampler::{Loop, Rounds},
    team::{Leader, Order, Split, Team},
    tiling::Progress,
    weights::{self, Loader, Placements, WeightSource, Weights},
};
use crate::v1::{decode, transformer::Shared};

/// See the module.
#[derive(Debug)]
struct V15 {
    config: ModelConfig,
    device: Device,
    source: WeightSource,
    kind: Kind,
    encoder_kind: Kind,
    decoder_kind: Kind,
    transformer: Transformer,
    placements: Placements,
    decoder: Decoder,
    text_encoders: Residency,
    /// Set once they are to stay. One thread owns the model, so nothing sets it meanwhile.
    encoders: OnceCell<TextEncoders>,
    /// Likewise; never set in a model that takes no picture.
    picture_encoders: OnceCell<PictureEncoders>,
    /// Of the processes that compute with this one.
    leader: Option<Leader>,
}

/// Loads a model folder of this family.
pub(crate) fn load(plan: &LoadPlan) -> Result<Loaded> {
    let config = ModelConfig::read(plan.model_dir, plan.takes_picture)?;
    let (source, device) = (plan.source, plan.device);
    let [kind, encoder_kind, decoder_kind] = [plan.dtype, plan.encoder_dtype, plan.decoder_dtype].map(Dtype::kind);
    if source == WeightSource::Files {
        check_weights(&config)?;
    }
    let files = source.open(&config.component_dir("transformer"))?;
    let variant = variant(&files, &config);
    let build = |loader: &Loader| Transformer::load(loader, &config.transformer, variant);
    let table = weights::key_table(build)?;
    let parameters = table.parameters();
    let (transformer, placements) = weights::load_placed(&files, device, (kind, plan.storage), build)?;
    let files = source.open(&config.component_dir("vae"))?;
    let build = |loader: &Loader| Decoder::load(loader, &config.vae);
    let decoder_parameters = weights::key_table(build)?.parameters();
    let decoder = weights::load(&files, device, decoder_kind, build)?;
    let pictures = picture_files(&config, source, [encoder_kind, decoder_kind]);
    let (encoders, picture_encoders) = (OnceCell::new(), OnceCell::new());
    if plan.text_encoders == Residency::Resident {
        let _ = encoders.set(TextEncoders::load(&config, source, device, encoder_kind)?);
        if let Some(files) = &pictures {
            let _ = picture_encoders.set(files.load(device)?);
        }
    }
    let encoder_bytes = match plan.text_encoders {
        Residency::OnDemand => 0,
        Residency::Resident | Residency::FirstUse => {
            let of_pictures = pictures.as_ref().map(PictureFiles::bytes).transpose()?.unwrap_or_default();
            TextEncoders::bytes(&config, source, encoder_kind)? + of_pictures
        }
    };
    let bytes = |parameters: i64, kind: Kind| {
        u64::try_from(parameters).unwrap_or(0).saturating_mul(kind.elt_size_in_bytes() as u64)
    };
    let own = table.bytes(kind, plan.storage) + bytes(decoder_parameters, decoder_kind);
    let hidden = config.transformer.hidden_size();
    Ok(Loaded {
        parameters,
        resident_bytes: own + encoder_bytes,
        geometry: config.geometry(),
        flow_shift: config.scheduler.shift,
        true_cfg_scale: config.guider.scale(),
        train_timesteps: config.scheduler.num_train_timesteps,
        attention: AttentionShape {
            heads: [config.transformer.num_attention_heads, config.transformer.attention_head_dim],
            row_widths: vec![3 * hidden],
        },
        networks: Box::new(V15 {
            config,
            device,
            source,
            kind,
            encoder_kind,
            decoder_kind,
            transformer,
            placements,
            decoder,
            text_encoders: plan.text_encoders,
            encoders,
            picture_encoders,
            leader: None,
        }),
    })
}

/// Compares the headers of all components' files with the configurations, before any weight is read.
fn check_weights(config: &ModelConfig) -> Result<()> {
    let files = Weights::open(&config.component_dir("transformer"))?;
    let variant = variant(&files, config);
    let table = weights::key_table(|loader| Transformer::load(loader, &config.transformer, variant))?;
    let transformer = files.compare(&table);
    let files = Weights::open(&config.component_dir("vae"))?;
    let vae = files.compare(&weights::key_table(|loader| Decoder::load(loader, &config.vae))?);
    let encoders = TextEncoders::mismatches(config)?;
    let pictures = picture_files(config, WeightSource::Files, [Kind::Float; 2]);
    let pictures = pictures.as_ref().map(PictureFiles::mismatches).transpose()?;
    let all = [transformer, vae].into_iter().chain(encoders).chain(pictures.into_iter().flatten());
    let all: Vec<_> = all.filter(|found| !found.is_empty()).collect();
    if all.is_empty() { Ok(()) } else { Err(Error::Checkpoint(all)) }
}

/// Which of the networks these files hold.
fn variant(files: &Weights, config: &ModelConfig) -> Variant {
    Variant { glyph_inner: glyph_inner(files), takes_image: config.image.is_some() }
}

/// Where the encoders of pictures come from, in a folder that has them.
fn picture_files(config: &ModelConfig, source: WeightSource, kinds: [Kind; 2]) -> Option<PictureFiles<'_>> {
    config.image.as_ref().map(|image| PictureFiles { config, image, source, kinds })
}

impl Networks for V15 {
    fn text_tokens(&self, request: &DenoiseRequest) -> Result<i64> {
        if request.riflex {
            return Err(Error::input("riflex", "this model has not been tried with it; leave it off"));
        }
        if let Some((negative, _)) = &request.negative {
            Text::of("negative", negative)?;
        }
        Ok(Text::of("embeddings", &request.embeddings)?.tokens())
    }

    fn encode(&self, prompts: &[&str], control: &Control) -> Result<Vec<Embeddings>> {
        if let Some(encoders) = self.encoders.get() {
            return encoders.encode(prompts, control);
        }
        let loaded = TextEncoders::load(&self.config, self.source, self.device, self.encoder_kind)?;
        if self.text_encoders == Residency::OnDemand {
            return loaded.encode(prompts, control);
        }
        self.encoders.get_or_init(|| loaded).encode(prompts, control)
    }

    fn encode_picture(&self, picture: &Picture, size: &PictureSize, control: &Control) -> Result<FirstFrame> {
        if let Some(encoders) = self.picture_encoders.get() {
            return encoders.encode(picture, size, control);
        }
        let files = picture_files(&self.config, self.source, [self.encoder_kind, self.decoder_kind]);
        let loaded = files.ok_or_else(|| Error::input("image", TAKES_NO_PICTURE))?.load(self.device)?;
        if self.text_encoders == Residency::OnDemand {
            return loaded.encode(picture, size, control);
        }
        self.picture_encoders.get_or_init(|| loaded).encode(picture, size, control)
    }

    fn rounds<'n, 'r>(&'n self) -> Box<dyn Rounds<'r> + 'n>
    where
        'r: 'n,
    {
        let leader = self.leader.as_ref();
        let denoiser = Denoiser { transformer: &self.transformer, device: self.device, kind: self.kind, leader };
        Box::new(Loop::new(denoiser))
    }

    fn decode(&self, batch: &Batch, control: &Control, progress: Progress) -> Result<Vec<Frames>> {
        decode::decode(batch, (self.decoder_kind, self.device), self.leader.as_ref(), &mut |latents, split| {
            self.decoder.decode(latents, split, control, &mut *progress)
        })
    }

    fn lead(&mut self, leader: Option<Leader>) -> Result<()> {
        if let Some(leader) = &leader {
            leader.team().check_heads(self.config.transformer.num_attention_heads)?;
        }
        self.leader = leader;
        Ok(())
    }

    fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    fn follow(&self, order: &Order, team: &Team) -> Result<()> {
        let received = |shape: &[i64], kind| team.received(shape, (kind, self.device));
        match order {
            Order::Forward { latents, text, spread, stretch } => {
                let (batch, hidden) = (latents[0], self.config.transformer.hidden_size());
                let input = received(latents, self.kind)?;
                let text = received(&[batch, *text, hidden], self.kind)?;
                let modulation = received(&[batch, hidden], self.kind)?;
                let shared = Shared {
                    latents: &input,
                    text: &text,
                    modulation: &modulation,
                    spread: *spread,
                    stretch: *stretch,
                };
                self.transformer.follow(&shared, team)
            }
            Order::Decode { latents, tiles, spatial } => {
                let split = Split { sizes: tiles, spatial: *spatial, team: Some(team) };
                self.decoder.follow(&received(latents, self.decoder_kind)?, &split)
            }
            Order::Adapters { .. } => Err(Error::team("adapters are merged by the engine")),
        }
    }

    fn denoise_bytes(&self, videos: i64, tokens: i64) -> u64 {
        self.transformer.activation_bytes(videos, tokens, self.kind)
    }

    fn decode_bytes(&self, frames: i64, height: i64, width: i64) -> u64 {
        self.decoder.activation_bytes(frames, height, width, self.decoder_kind)
    }

    fn cuts_time(&self) -> bool {
        false
    }

    fn checks(&self) -> (u64, u64) {
        (self.transformer.checks_per_forward(), self.decoder.checks_per_tile())
    }

    fn placements(&self) -> &Placements {
        &self.placements
    }
}
