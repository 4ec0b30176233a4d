//! What the engine and a model family agree on: the components of a model folder, how networks are loaded, and what they do.

use std::path::Path;

use tch::Device;

use crate::runtime::{
    control::Control,
    dtype::Dtype,
    embeddings::Embeddings,
    error::{Error, Result},
    first_frame::FirstFrame,
    frames::Frames,
    picture::Picture,
    request::{DenoiseRequest, Geometry},
    run::Latents,
    sampler::Rounds,
    team::{Leader, Order, Team},
    tiling::{Progress, TileSizes},
    weights::{Placements, Storage, WeightSource},
};

/// Whether the encoders of text, and of pictures, stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Residency {
    /// Loaded with the engine.
    #[default]
    Resident,
    /// Loaded for each call of [`crate::Engine::encode`] and dropped after it.
    OnDemand,
    /// Loaded for the first call of [`crate::Engine::encode`], and kept from then on.
    FirstUse,
}

/// Which fingerprint a component's files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fingerprint {
    /// Decides the video when the embeddings are given.
    Weights,
    /// Decides the embeddings.
    Encoders,
}

/// The files of a component that decide what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentFiles {
    /// All safetensors files and `config.json`.
    Network,
    /// Those of these that exist.
    Named(&'static [&'static str]),
}

/// One component: a folder of the model folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// The folder's name.
    pub folder: &'static str,
    /// What in it counts.
    pub files: ComponentFiles,
    /// The fingerprint that covers it; none for a component whose values a request can replace.
    pub fingerprint: Option<Fingerprint>,
}

/// Why a text-to-video model refuses a picture.
pub(crate) const TAKES_NO_PICTURE: &str = "this model makes videos from text alone; leave the picture out";

/// How to load the networks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadPlan<'a> {
    pub(crate) model_dir: &'a Path,
    pub(crate) source: WeightSource,
    pub(crate) device: Device,
    /// Of the transformer.
    pub(crate) dtype: Dtype,
    /// Of the matrices in the transformer's blocks.
    pub(crate) storage: Storage,
    pub(crate) encoder_dtype: Dtype,
    pub(crate) decoder_dtype: Dtype,
    pub(crate) text_encoders: Residency,
    /// Whether the folder is one of image-to-video.
    pub(crate) takes_picture: bool,
}

/// Networks, and what their configurations say of them.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) networks: Box<dyn Networks>,
    /// Parameters of the transformer.
    pub(crate) parameters: i64,
    /// Bytes of weights that stay in memory.
    pub(crate) resident_bytes: u64,
    pub(crate) geometry: Geometry,
    /// The checkpoint's own shift of the schedule.
    pub(crate) flow_shift: f64,
    /// The checkpoint's own scale of classifier-free guidance; 1 is none.
    pub(crate) true_cfg_scale: f64,
    /// Time of the noisiest level, as the transformer counts it.
    pub(crate) train_timesteps: i64,
    pub(crate) attention: AttentionShape,
}

/// The attention of a transformer's blocks, as its kernels see it.
#[derive(Debug)]
pub(crate) struct AttentionShape {
    /// Number and width of the heads.
    pub(crate) heads: [i64; 2],
    /// Elements from one token to the next in the buffers that hold queries, keys and values: one per kind of block.
    pub(crate) row_widths: Vec<i64>,
}

/// Videos of one size that are decoded together.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) videos: &'a [&'a Latents],
    pub(crate) tiles: &'a TileSizes,
    /// Whether tiles in height and width are allowed.
    pub(crate) spatial: bool,
}

/// The video that a picture is encoded for.
#[derive(Debug)]
pub(crate) struct PictureSize<'a> {
    /// Pixels.
    pub(crate) width: usize,
    /// Pixels.
    pub(crate) height: usize,
    pub(crate) tiles: &'a TileSizes,
    /// Whether tiles in height and width are allowed.
    pub(crate) spatial: bool,
}

/// The loaded networks of a family: its stages, each written out in the family's folder.
pub(crate) trait Networks: std::fmt::Debug + Send {
    /// Refuses a request whose embeddings are not this family's; returns its number of text tokens.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field.
    fn text_tokens(&self, request: &DenoiseRequest) -> Result<i64>;

    /// Embeds prompts, each trimmed to its true length.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between layers; those of loading when the encoders are not resident; libtorch.
    fn encode(&self, prompts: &[&str], control: &Control) -> Result<Vec<Embeddings>>;

    /// Crops a picture to the video's size and encodes it.
    ///
    /// # Errors
    /// [`Error::Input`] from a family or a model that takes none; [`Error::Cancelled`] between layers; libtorch.
    fn encode_picture(&self, _picture: &Picture, _size: &PictureSize, _control: &Control) -> Result<FirstFrame> {
        Err(Error::input("image", TAKES_NO_PICTURE))
    }

    /// A denoising loop without runs; those that join have videos of one size.
    fn rounds<'n, 'r>(&'n self) -> Box<dyn Rounds<'r> + 'n>
    where
        'r: 'n;

    /// Decodes a batch; frames in the order of the videos.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks of a tile, [`Error::OutOfMemory`], libtorch.
    fn decode(&self, batch: &Batch, control: &Control, progress: Progress) -> Result<Vec<Frames>>;

    /// Computes with a team from now on, or alone again.
    ///
    /// # Errors
    /// [`Error::Input`] for a team whose size does not divide the transformer's heads.
    fn lead(&mut self, leader: Option<Leader>) -> Result<()>;

    /// The team that this process leads.
    fn leader(&self) -> Option<&Leader>;

    /// Takes this process's part in an order of the team's leader; [`Order::Adapters`] is the engine's.
    ///
    /// # Errors
    /// [`Error::Team`], memory, libtorch.
    fn follow(&self, order: &Order, team: &Team) -> Result<()>;

    /// Bytes of activations that a forward pass over this many videos and tokens needs.
    fn denoise_bytes(&self, videos: i64, tokens: i64) -> u64;

    /// Bytes of activations that decoding this many frames, rows and columns at once needs.
    fn decode_bytes(&self, frames: i64, height: i64, width: i64) -> u64;

    /// Whether a long video is decoded in pieces of frames.
    fn cuts_time(&self) -> bool;

    /// Checks of [`Control`] in one forward pass of the transformer and in one tile of the decoder.
    fn checks(&self) -> (u64, u64);

    /// Where the transformer's weights came from and are now.
    fn placements(&self) -> &Placements;
}
