//! The model as one value: load it once, then encode, denoise and decode with it.
//!
//! The rule: one thread owns an engine. The state of a job lives in its session; nothing of one job remains for the next,
//! so an error or a cancel leaves the engine as it was. The networks behind it are those of a [`Family`].

mod prepare;

use std::path::Path;

use formats::lora::Modules;
use tch::Device;

use crate::family::Family;
use crate::interpolation::Interpolator;
use crate::networks::{AttentionShape, Batch, Fingerprint, LoadPlan, Loaded, Networks, PictureSize, Residency};
use crate::options::{EngineOptions, Tiling};
use crate::runtime::{
    adapters::{Adapter, AdapterPath, AdapterUse, Adapters},
    attention::{self, Attention, Trial},
    control::Control,
    device,
    dtype::Dtype,
    embeddings::Embeddings,
    error::{Error, InOp, Result},
    first_frame::FirstFrame,
    frames::Frames,
    picture::Picture,
    request::{Defaults, Geometry},
    run::Latents,
    team::{Leader, Order, Team},
    tiling::Progress,
    weights::{Hashes, Placements, Storage, WeightSource},
};

/// Which code computed a video: this crate's version and the libtorch it is bound to.
const BUILD: &str = concat!("hunyuan ", env!("CARGO_PKG_VERSION"), " libtorch 2.11");

/// Seed of [`WeightSource::Random`].
const RANDOM_SEED: i64 = 1;

/// Folder of the network that adapters change, in every family.
const TRANSFORMER: &str = "transformer";

/// What was loaded, and the parts of [`Identity`] that no request changes.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineInfo {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// See [`device::class`]; several devices are a class of their own.
    pub device_class: String,
    /// How many devices compute a video together.
    pub devices: usize,
    /// Number format of the transformer.
    pub dtype: Dtype,
    /// How the matrices of the transformer's blocks are kept in memory.
    pub storage: Storage,
    /// How adapters act on matrices that are not stored in FP8.
    pub adapter_path: AdapterPath,
    /// Number format of the text encoders.
    pub encoder_dtype: Dtype,
    /// Number format of the video decoder.
    pub decoder_dtype: Dtype,
    /// See [`device::threads`].
    pub threads: usize,
    /// Version of the code.
    pub build: String,
    /// Hash of everything that decides a video once the embeddings are given, hex.
    pub model_fingerprint: String,
    /// Hash of everything that decides the embeddings, hex; part of the key of cached embeddings.
    pub encoder_fingerprint: String,
    /// Parameters of the transformer.
    pub parameters: i64,
    /// Bytes of weights that stay in memory.
    pub resident_bytes: u64,
    /// The family of its networks.
    pub family: Family,
    /// How pixels become latents.
    pub geometry: Geometry,
    /// The checkpoint's own shift of the schedule.
    pub flow_shift: f64,
    /// The checkpoint's own scale of classifier-free guidance; 1 is none.
    pub true_cfg_scale: f64,
    /// The attention kernel and its speed, on a GPU.
    pub attention: Option<Attention>,
}

impl EngineInfo {
    /// The formats that a video's bits depend on: the transformer's, and the decoder's where it differs.
    fn formats(&self) -> String {
        let mut formats = vec![self.dtype.to_string()];
        if self.storage == Storage::Fp8 {
            formats.push("stored as fp8".to_owned());
        }
        if self.adapter_path == AdapterPath::Beside {
            formats.push("adapters beside".to_owned());
        }
        if self.decoder_dtype != self.dtype {
            formats.push(format!("decoder {}", self.decoder_dtype));
        }
        formats.join(", ")
    }
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    info: EngineInfo,
    device: Device,
    train_timesteps: i64,
    networks: Box<dyn Networks>,
    adapters: Adapters,
}

impl Engine {
    /// Loads a model folder of any known family.
    ///
    /// # Errors
    /// A folder that cannot be read or is of no known family, a checkpoint that does not fit its configuration (every
    /// difference at once), a device that is not there, or memory.
    pub fn load(options: &EngineOptions) -> Result<Self> {
        Self::load_with(options, choose_attention)
    }

    /// The same model in fp32 beside this one, without text encoders in memory: for a run whose values left the range of 16 bits. None
    /// when this one computes in fp32 already, or when `memory_bytes` have no room for both.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn in_full_precision(&self, memory_bytes: u64) -> Result<Option<Self>> {
        let info = &self.info;
        // The 16-bit weights, and twice their bytes for the fp32 copy.
        if [info.dtype, info.decoder_dtype] == [Dtype::F32; 2] || info.resident_bytes.saturating_mul(3) > memory_bytes {
            return Ok(None);
        }
        let options = EngineOptions {
            dtype: Some(Dtype::F32),
            encoder_dtype: Some(info.encoder_dtype),
            decoder_dtype: Some(Dtype::F32),
            text_encoders: Residency::OnDemand,
            ..self.options.clone()
        };
        // The choice of kernels applies to the whole process; libtorch skips kernels that do not support fp32.
        Self::load_with(&options, |_, _| Ok(info.attention.clone())).map(Some)
    }

    fn load_with(
        options: &EngineOptions,
        attention: impl Fn(&EngineOptions, &Tried) -> Result<Option<Attention>>,
    ) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let device = options.device.resolve()?;
        let deterministic = options.deterministic && device != Device::Cpu;
        if deterministic {
            torch_ext::device::make_deterministic()?;
        }
        if let Some(threads) = options.threads {
            let threads = i32::try_from(threads).ok().filter(|&threads| threads > 0);
            tch::set_num_threads(threads.ok_or_else(|| Error::input("threads", "give at least 1"))?);
        }
        let [dtype, encoder_dtype, decoder_dtype] = options.dtypes(device);
        let (model_dir, source) = (options.model_dir.as_path(), options.weights);
        let family = Family::of(model_dir)?;
        if source == WeightSource::Random {
            tch::manual_seed(RANDOM_SEED);
        }
        let text_encoders = options.text_encoders;
        let plan = LoadPlan {
            model_dir,
            source,
            device,
            dtype,
            storage: options.storage,
            encoder_dtype,
            decoder_dtype,
            text_encoders,
            takes_picture: family.takes_picture(),
        };
        let loaded = family.load(&plan)?;
        let attention =
            attention(options, &Tried { device, dtype, geometry: &loaded.geometry, shape: &loaded.attention })?;
        let Loaded {
            networks, parameters, resident_bytes, geometry, flow_shift, true_cfg_scale, train_timesteps, ..
        } = loaded;
        let mut hashes = options.hashes_dir.as_deref().map_or_else(Hashes::fresh, Hashes::remembered_in);
        let mut fingerprint = |which| family.fingerprint(model_dir, source, which, &mut hashes);
        let model_fingerprint = fingerprint(Fingerprint::Weights)?;
        let encoder_fingerprint = fingerprint(Fingerprint::Encoders)?;
        hashes.save();
        let info = EngineInfo {
            device: device::name(device),
            device_class: device_class(device, deterministic, 1),
            devices: 1,
            dtype,
            storage: options.storage,
            adapter_path: options.adapter_path,
            encoder_dtype,
            decoder_dtype,
            threads: device::threads(device),
            build: BUILD.to_owned(),
            model_fingerprint,
            encoder_fingerprint,
            parameters,
            resident_bytes,
            family,
            geometry,
            flow_shift,
            true_cfg_scale,
            attention,
        };
        let adapters = Adapters::new(match source {
            WeightSource::Files => Some(source.open(&model_dir.join(TRANSFORMER))?),
            WeightSource::Random => None,
        });
        let adapters = adapters.on(options.adapter_path);
        Ok(Self { options: options.clone(), info, device, train_timesteps, networks, adapters })
    }

    /// Computes each video with the devices of a team from now on, or on this device alone again. The team's other processes follow
    /// with [`Engine::follow`].
    ///
    /// # Errors
    /// [`Error::Input`] for a number of devices that does not divide the model's attention heads.
    pub fn lead(&mut self, leader: Option<Leader>) -> Result<()> {
        let devices = leader.as_ref().map_or(1, |leader| leader.team().size());
        self.networks.lead(leader)?;
        self.info.device_class = device_class(self.device, self.options.deterministic, devices);
        self.info.devices = devices;
        Ok(())
    }

    /// The team that this engine leads.
    #[must_use]
    pub fn leader(&self) -> Option<&Leader> {
        self.networks.leader()
    }

    /// Takes this process's part in an order of its team's leader.
    ///
    /// # Errors
    /// [`Error::Team`] when the others cannot be reached, memory, libtorch. After any error the team is broken.
    pub fn follow(&mut self, line: &str, team: &Team) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let order = Order::parse(line)?;
        let Order::Adapters { uses } = &order else {
            return match self.networks.follow(&order, team) {
                // The leader was stopped, and all with it.
                Err(Error::Cancelled) => Ok(()),
                done => done,
            };
        };
        let opened = uses.iter().map(|(path, strength)| Ok((self.open_adapter(path)?, *strength)));
        let opened: Result<Vec<_>> = opened.collect();
        let networks = &self.networks;
        let own = opened.and_then(|opened| {
            let uses: Vec<AdapterUse> =
                opened.iter().map(|(adapter, strength)| AdapterUse { adapter, strength: *strength }).collect();
            self.adapters.set(&uses, networks.placements(), &Control::new())
        });
        // The leader reports what is wrong with an adapter.
        all_or_none(team, own, &mut self.adapters, networks.placements()).map(drop)
    }

    /// The device, for [`Team::use_device`].
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// What was loaded.
    #[must_use]
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Defaults for the fields that a request leaves out.
    #[must_use]
    pub fn defaults(&self) -> &'static Defaults {
        self.info.family.defaults()
    }

    /// Where the transformer's weights came from and are now.
    #[must_use]
    pub fn placements(&self) -> &Placements {
        self.networks.placements()
    }

    /// Embeds prompts, each trimmed to its true length.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between layers; those of loading when the encoders are not resident; libtorch.
    pub fn encode(&self, prompts: &[&str], control: &Control) -> Result<Vec<Embeddings>> {
        let _no_grad = tch::no_grad_guard();
        self.networks.encode(prompts, control).in_op("encode")
    }

    /// Crops a picture to a video's width, height and frames, and encodes it.
    ///
    /// # Errors
    /// [`Error::Input`] for a model of text-to-video; [`Error::Cancelled`] between layers; those of loading when the encoders are not
    /// resident; libtorch.
    pub fn encode_picture(
        &self,
        picture: &Picture,
        [width, height, frames]: [i64; 3],
        control: &Control,
    ) -> Result<FirstFrame> {
        let _no_grad = tch::no_grad_guard();
        self.info.geometry.latent_shape(width, height, frames)?;
        let [wide, high] = [width, height].map(|side| usize::try_from(side).unwrap_or_default());
        let spatial = self.tiles_space(frames, height, width);
        let size = PictureSize { width: wide, height: high, tiles: &self.options.tiles, spatial };
        self.networks.encode_picture(picture, &size, control).in_op("encode picture")
    }

    /// Turns latents into frames. `progress` is called after each tile.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks of a tile, [`Error::OutOfMemory`], libtorch.
    pub fn decode(&self, latents: &Latents, control: &Control, progress: Progress) -> Result<Frames> {
        let mut frames = self.decode_batch(&[latents], control, progress)?;
        frames.pop().ok_or_else(|| Error::input("latents", "there are none"))
    }

    /// Turns latents of several videos of one size into frames together.
    ///
    /// # Errors
    /// As [`Engine::decode`].
    pub fn decode_batch(&self, videos: &[&Latents], control: &Control, progress: Progress) -> Result<Vec<Frames>> {
        let _no_grad = tch::no_grad_guard();
        let Some(first) = videos.first() else { return Ok(Vec::new()) };
        let spatial = self.reserve_decode(videos.len(), first)?;
        self.networks.decode(&Batch { videos, tiles: &self.options.tiles, spatial }, control, progress).in_op("decode")
    }

    /// Loads an interpolator beside this model, on the same device.
    ///
    /// # Errors
    /// As [`Interpolator::load`].
    pub fn interpolator(&self, folder: &Path) -> Result<Interpolator> {
        Interpolator::load(folder, self.device)
    }

    /// Opens an adapter for this model.
    ///
    /// # Errors
    /// [`Error::Config`] for a file that is none of the supported kinds or was made for another model; [`Error::Read`].
    pub fn open_adapter(&self, path: &Path) -> Result<Adapter> {
        let layers = self.networks.placements().layers();
        let aliases = self.info.family.aliases(&|layer: &str| layers.contains_key(layer));
        Adapter::open(path, &Modules::new(&layers, &aliases))
    }

    /// Makes exactly these adapters active for the sessions that begin from now on; none restores the checkpoint's weights, bit
    /// for bit. Does nothing where the same ones are active. Returns whether weights were changed.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between layers, memory, libtorch; then none is active.
    pub fn set_adapters(&mut self, uses: &[AdapterUse], control: &Control) -> Result<bool> {
        let _no_grad = tch::no_grad_guard();
        let (networks, adapters) = (&self.networks, &mut self.adapters);
        let Some(leader) = networks.leader() else { return adapters.set(uses, networks.placements(), control) };
        let files = uses.iter().map(|one| (one.adapter.path().to_owned(), one.strength)).collect();
        leader.share(&Order::Adapters { uses: files }, &[], |team| {
            let own = adapters.set(uses, networks.placements(), control);
            all_or_none(team, own, adapters, networks.placements())
        })?
    }

    /// Peak GPU memory since the start, bytes; none on a CPU.
    #[must_use]
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        device::peak_memory_bytes(self.device)
    }

    /// Number of [`Control`] checks in one forward pass of the transformer and in one tile of the decoder: how soon a cancel takes
    /// effect.
    #[must_use]
    pub fn checks(&self) -> (u64, u64) {
        self.networks.checks()
    }

    pub(crate) fn networks(&self) -> &dyn Networks {
        self.networks.as_ref()
    }

    /// Bytes of a decode without tiles, and with them.
    fn decode_bytes(&self, frames: i64, height: i64, width: i64) -> [u64; 2] {
        let tiles = &self.options.tiles;
        let piece = if self.networks.cuts_time() { frames.min(tiles.frames + 1) } else { frames };
        let bytes = |height, width| self.networks.decode_bytes(piece, height, width);
        [bytes(height, width), bytes(height.min(tiles.height), width.min(tiles.width))]
    }

    /// Whether a video of this size is decoded, and its picture encoded, in tiles.
    fn tiles_space(&self, frames: i64, height: i64, width: i64) -> bool {
        match self.options.tiling {
            Tiling::On => true,
            Tiling::Off => false,
            Tiling::Auto => self.decode_bytes(frames, height, width)[0] > self.options.auto_tiling_bytes,
        }
    }

    /// Whether to tile, after checking that there is enough memory.
    fn reserve_decode(&self, videos: usize, first: &Latents) -> Result<bool> {
        let [whole, tile] = self.decode_bytes(first.frames, first.height, first.width);
        let spatial = self.tiles_space(first.frames, first.height, first.width);
        let videos = u64::try_from(videos).unwrap_or(u64::MAX);
        device::reserve(self.device, "decode", if spatial { tile } else { whole }.saturating_mul(videos))?;
        Ok(spatial)
    }
}

/// The class of a number of devices. Their videos differ from those of the same GPU with other kernels, and may differ in their last
/// bits with their number, because matrix products of other sizes may be computed by other kernels.
fn device_class(device: Device, deterministic: bool, devices: usize) -> String {
    let mut class = device::class(device);
    if device != Device::Cpu && deterministic {
        class += " deterministic";
    }
    if devices > 1 {
        class += &format!(" x{devices}");
    }
    class
}

/// Leaves the adapters of all processes as they were set, or none active in any of them. The outer error is one of the exchange.
fn all_or_none(
    team: &Team,
    own: Result<bool>,
    adapters: &mut Adapters,
    placements: &Placements,
) -> Result<Result<bool>> {
    if team.all_succeeded(own.is_ok())? {
        return Ok(own);
    }
    adapters.set(&[], placements, &Control::new())?;
    Ok(own.and_then(|_| Err(Error::team("another device could not change its weights"))))
}

/// The input of the trial of attention kernels.
struct Tried<'a> {
    device: Device,
    dtype: Dtype,
    geometry: &'a Geometry,
    shape: &'a AttentionShape,
}

/// Tries the attention kernels of a GPU in the layouts of the transformer's blocks, at the largest size.
fn choose_attention(options: &EngineOptions, tried: &Tried) -> Result<Option<Attention>> {
    let Tried { device, dtype, geometry, shape } = *tried;
    if device == Device::Cpu {
        return Ok(None);
    }
    let tokens = match options.largest {
        Some([width, height, frames]) => geometry.tokens(geometry.latent_shape(width, height, frames)?),
        None => attention::SMALL_TRIAL_TOKENS,
    };
    if let Some(extension) = &options.attention_library {
        attention::load_flash3(extension)?;
    }
    let trial = Trial { device, kind: dtype.kind(), heads: shape.heads, tokens, row_widths: &shape.row_widths };
    attention::choose(&trial, options.attention).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{checkpoint::Checkpoint, request::DenoiseRequest};

    #[test]
    fn an_engine_can_be_moved_to_the_thread_that_owns_it() {
        fn movable<T: Send>() {}
        movable::<Engine>();
        movable::<Checkpoint>();
        movable::<DenoiseRequest>();
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_with_its_path() {
        let error = Engine::load(&EngineOptions::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
