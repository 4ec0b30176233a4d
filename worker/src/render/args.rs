//! The flags of `worker render`.

use std::path::PathBuf;

use anyhow::bail;
use clap::{ArgAction, Args};
use domain::ProgressiveMode;
use domain::interpolation::FACTORS;
use hunyuan::{DeviceChoice, Dtype, EngineOptions, Residency, Storage, Tiling};

use crate::mp4::PosterFormat;
use crate::ranks::Devices;

/// Render one video.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Model folder: a HunyuanVideo checkpoint in the diffusers layout
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// What the video shows
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: String,
    /// The first frame, for a model of image-to-video: a PNG, JPEG or WebP file. Its middle is cropped to the video's proportions
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Width and height in pixels, both multiples of 16 [default: the one nearest to the picture's proportions, else the model's first size, else the family's: 1280x720 for HunyuanVideo 1.0]
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub(crate) size: Option<(i64, i64)>,
    /// Frames, one more than a multiple of 4 [default: the model's longest, else the family's: 129 for HunyuanVideo 1.0]
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<i64>,
    /// Denoising steps [default: the model family's, 50 for HunyuanVideo]
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,
    /// Embedded guidance [default: the model family's, 6 for HunyuanVideo]
    #[arg(long, value_name = "X")]
    pub(crate) guidance: Option<f64>,
    /// Shift of the flow-match schedule [default: the model's]
    #[arg(long, value_name = "X")]
    pub(crate) flow_shift: Option<f64>,
    /// Seed of the noise; the same as torch's CPU generator
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// false integrates the reference's inverted sigmas
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub(crate) flow_reverse: bool,
    /// What the video must not show; works with --true-cfg above 1
    #[arg(long, value_name = "TEXT")]
    pub(crate) negative_prompt: Option<String>,
    /// Scale of true classifier-free guidance; above 1 it doubles the work [default: the model's, 1 for HunyuanVideo 1.0]
    #[arg(long, value_name = "X")]
    pub(crate) true_cfg: Option<f64>,
    /// An adapter (LoRA): a safetensors file or a folder as PEFT saves it, with how strongly it acts; may be given up to four times
    #[arg(long = "lora", value_name = "FILE[=SCALE]", value_parser = parse_lora)]
    pub(crate) loras: Vec<(PathBuf, f64)>,
    /// Stretch positions in time (RIFLEx) for a video that is longer than the model's period: yes or no [default: the model's
    /// rule, else no]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub(crate) riflex: Option<bool>,
    /// Take early steps at half the width and height: off, balanced or fast, as the model's fleet.toml defines them
    #[arg(long, value_name = "MODE", default_value = "off", value_parser = parse_progressive)]
    pub(crate) progressive: ProgressiveMode,
    /// Make this many times as many frames per second by interpolation: 2, 4 or 8
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = parse_factor)]
    pub(crate) interpolate: u32,
    /// Folder of the interpolator's weights, as scripts/fetch-interpolator makes it
    #[arg(long, value_name = "DIR", default_value = "models/interpolator")]
    pub(crate) interpolator: PathBuf,
    /// Start from the tensor `initial_latents` of this file instead of the seed's noise
    #[arg(long, value_name = "F.safetensors")]
    pub(crate) latents: Option<PathBuf>,
    /// Render the video again with each of these thresholds of the step cache, and print how many steps they computed and how much of the
    /// video they kept; the MP4 is the video without a step cache
    #[arg(long, value_name = "X,X,...", value_delimiter = ',', value_parser = parse_threshold)]
    pub(crate) step_cache_thresholds: Vec<f64>,
    /// Number format of the weights: f32, bf16 or f16 [default: f32 on a CPU, bf16 on a GPU]
    #[arg(long, value_name = "DTYPE")]
    pub(crate) dtype: Option<Dtype>,
    /// How the weights of the transformer's blocks are kept in memory: model (as --dtype says) or fp8, which takes half the memory of
    /// bf16 and is slightly less exact
    #[arg(long, value_name = "STORAGE", default_value = "model")]
    pub(crate) storage: Storage,
    /// Number format of the text encoders [default: that of --dtype, else f32 on a CPU, f16 on a GPU]
    #[arg(long, value_name = "DTYPE")]
    pub(crate) encoder_dtype: Option<Dtype>,
    /// Number format of the video decoder [default: as for the text encoders]
    #[arg(long, value_name = "DTYPE")]
    pub(crate) decoder_dtype: Option<Dtype>,
    /// Attention kernel on a GPU: cudnn, flash, flash3, efficient or math [default: the fastest correct one]
    #[arg(long, value_name = "KERNEL")]
    pub(crate) attention: Option<String>,
    /// Your own build of FlashAttention 3 (_C.abi3.so), to be tried in addition to libtorch's kernels
    #[arg(long, value_name = "FILE")]
    pub(crate) attention_library: Option<PathBuf>,
    /// Decode in tiles: on, off or auto
    #[arg(long, value_name = "WHEN", value_parser = parse_tiling, default_value = "auto")]
    pub(crate) tiling: Tiling,
    /// Device: auto, cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: DeviceChoice,
    /// Compute with several devices together, such as cuda:0,cuda:1; their number divides the model's attention heads
    #[arg(long, value_name = "DEVICES", conflicts_with = "device")]
    pub(crate) devices: Option<Devices>,
    /// Threads on a CPU, of each device [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Load the text encoders only while they work
    #[arg(long)]
    pub(crate) encoders_on_demand: bool,
    /// The MP4 to write
    #[arg(long, value_name = "out.mp4", required_unless_present = "dump")]
    pub(crate) out: Option<PathBuf>,
    /// A picture of the middle frame, .jpg or .webp
    #[arg(long, value_name = "FILE", requires = "out")]
    pub(crate) poster: Option<PathBuf>,
    /// Frames per second of the MP4 [default: such that the model's lengths last as long as asked for, else 24]
    #[arg(long, value_name = "X")]
    pub(crate) fps: Option<f64>,
    /// Quality of the MP4 (x264's CRF): a smaller value means better quality and a larger file
    #[arg(long, value_name = "N", default_value_t = 18, value_parser = clap::value_parser!(u8).range(0..=51))]
    pub(crate) crf: u8,
    /// The program that writes MP4 and pictures
    #[arg(long, value_name = "PROGRAM", default_value = "ffmpeg")]
    pub(crate) ffmpeg: PathBuf,
    /// Write every intermediate result to this file
    #[arg(long, value_name = "F.safetensors")]
    pub(crate) dump: Option<PathBuf>,
}

impl RenderArgs {
    /// The engine that these flags ask for.
    ///
    /// # Errors
    /// A word that names no attention kernel.
    pub(crate) fn engine_options(&self) -> anyhow::Result<EngineOptions> {
        let attention = self.attention.as_deref().map(str::parse).transpose();
        Ok(EngineOptions {
            device: self.devices.as_ref().map_or(self.device, |devices| devices.0[0]),
            dtype: self.dtype,
            storage: self.storage,
            encoder_dtype: self.encoder_dtype,
            decoder_dtype: self.decoder_dtype,
            attention: attention.map_err(|reason: String| anyhow::anyhow!("--attention: {reason}"))?,
            attention_library: self.attention_library.clone(),
            tiling: self.tiling,
            text_encoders: if self.encoders_on_demand { Residency::OnDemand } else { Residency::Resident },
            threads: self.devices.as_ref().map_or(self.threads, |devices| devices.threads(self.threads)),
            ..EngineOptions::new(&self.model)
        })
    }

    /// By the poster's name.
    pub(crate) fn poster_format(&self) -> anyhow::Result<PosterFormat> {
        let extension = self.poster.as_deref().and_then(std::path::Path::extension).unwrap_or_default();
        match extension.to_string_lossy().to_lowercase().as_str() {
            "jpg" | "jpeg" => Ok(PosterFormat::Jpeg),
            "webp" => Ok(PosterFormat::Webp),
            other => bail!("--poster: `.{other}` is not a supported picture format; use .jpg or .webp"),
        }
    }
}

/// 1 for none, or a factor of interpolation.
fn parse_factor(text: &str) -> Result<u32, String> {
    let factor = text.parse().ok().filter(|factor| *factor == 1 || FACTORS.contains(factor));
    factor.ok_or_else(|| format!("`{text}` is not valid; use 2, 4 or 8, or 1 for none"))
}

fn parse_progressive(text: &str) -> Result<ProgressiveMode, String> {
    let mode = ProgressiveMode::ALL.iter().find(|mode| mode.as_str() == text).copied();
    mode.ok_or_else(|| format!("`{text}` is not valid; use off, balanced or fast"))
}

/// A threshold of the step cache: a number from 0 up.
fn parse_threshold(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("`{text}` is not valid; give numbers from 0 up, such as 0.0125,0.025,0.05"))
}

/// Reads `style.safetensors=0.8`.
fn parse_lora(text: &str) -> Result<(PathBuf, f64), String> {
    let (path, scale) = text.rsplit_once('=').unwrap_or((text, "1"));
    let scale =
        scale.parse().map_err(|_| format!("`{scale}` is not a number; write FILE=SCALE, such as a.safetensors=0.8"))?;
    Ok((PathBuf::from(path), scale))
}

fn parse_tiling(text: &str) -> Result<Tiling, String> {
    match text {
        "on" => Ok(Tiling::On),
        "off" => Ok(Tiling::Off),
        "auto" => Ok(Tiling::Auto),
        other => Err(format!("`{other}` is not valid; use on, off or auto")),
    }
}

/// Reads `960x544`.
fn parse_size(text: &str) -> Result<(i64, i64), String> {
    let parse = |part: &str| part.trim().parse::<i64>().ok();
    text.split_once(['x', 'X'])
        .and_then(|(width, height)| Some((parse(width)?, parse(height)?)))
        .ok_or_else(|| format!("`{text}` is not a valid size; write WIDTHxHEIGHT, such as 960x544"))
}
