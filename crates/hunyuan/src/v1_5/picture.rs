//! The stage before denoising of image-to-video: a picture to what the transformer is given of it.
//!
//! The picture is cropped to the video's size once, and both encoders see that crop: the image encoder its reduction to a small square, the
//! VAE its pixels.
//!
//! Upstream: `HunyuanVideo15ImageToVideoPipeline.encode_image` and `_get_image_latents` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video1_5/pipeline_hunyuan_video1_5_image2video.py>.

use tch::{Device, Kind, Tensor};

use super::config::{ImageConfig, ModelConfig};
use super::siglip::{self, SiglipEncoder};
use super::vae::encoder::Encoder;
use crate::networks::PictureSize;
use crate::runtime::control::Control;
use crate::runtime::error::{CheckpointMismatch, InOp, Result};
use crate::runtime::finite;
use crate::runtime::first_frame::FirstFrame;
use crate::runtime::picture::{Picture, Resampling};
use crate::runtime::weights::{self, Loader, WeightSource, Weights};

/// Their folders.
const IMAGE_ENCODER: &str = "image_encoder";
const VAE: &str = "vae";

/// Both networks that read a picture.
#[derive(Debug)]
pub(crate) struct PictureEncoders {
    image_encoder: SiglipEncoder,
    vae_encoder: Encoder,
    device: Device,
    /// Formats of the image encoder and of the VAE.
    kinds: [Kind; 2],
    side: usize,
    mean: Tensor,
    std: Tensor,
}

/// Where both come from and where they go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PictureFiles<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) image: &'a ImageConfig,
    pub(crate) source: WeightSource,
    /// Formats of the image encoder and of the VAE.
    pub(crate) kinds: [Kind; 2],
}

impl PictureFiles<'_> {
    /// Loads both.
    ///
    /// # Errors
    /// Files that cannot be read, weights that do not fit their configuration, memory.
    pub(crate) fn load(&self, device: Device) -> Result<PictureEncoders> {
        let (source, extractor) = (self.source, &self.image.extractor);
        let files = source.open(&self.config.component_dir(IMAGE_ENCODER))?;
        let image_encoder = weights::load(&files, device, self.kinds[0], |loader| self.siglip(&files, loader))?;
        let files = source.open(&self.config.component_dir(VAE))?;
        let vae_encoder = weights::load(&files, device, self.kinds[1], |loader| self.vae(loader))?;
        let channel = |values: [f64; 3]| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(&values.map(|value| value as f32))?.f_view([1, 3, 1, 1])?)
        };
        Ok(PictureEncoders {
            image_encoder,
            vae_encoder,
            device,
            kinds: self.kinds,
            side: usize::try_from(self.image.encoder.image_size).unwrap_or(usize::MAX),
            mean: channel(extractor.image_mean)?,
            std: channel(extractor.image_std)?,
        })
    }

    /// Bytes of weights that stay in memory once both are loaded; nothing is loaded for it.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let files = self.source.open(&self.config.component_dir(IMAGE_ENCODER))?;
        let image = weights::key_table(|loader| self.siglip(&files, loader))?.parameters();
        let vae = Encoder::parameters(&weights::key_table(|loader| self.vae(loader))?);
        let bytes = [image, vae]
            .into_iter()
            .zip(self.kinds)
            .map(|(parameters, kind)| u64::try_from(parameters).unwrap_or_default() * kind.elt_size_in_bytes() as u64);
        Ok(bytes.sum())
    }

    /// What differs between the files of both and their configurations; nothing is loaded for it.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn mismatches(&self) -> Result<[CheckpointMismatch; 2]> {
        let image = Weights::open(&self.config.component_dir(IMAGE_ENCODER))?;
        let vae = Weights::open(&self.config.component_dir(VAE))?;
        Ok([
            image.compare(&weights::key_table(|loader| self.siglip(&image, loader))?),
            vae.compare(&weights::key_table(|loader| self.vae(loader))?),
        ])
    }

    fn siglip(&self, files: &Weights, loader: &Loader) -> Result<SiglipEncoder> {
        SiglipEncoder::load(loader, siglip::prefix(files), &self.image.encoder)
    }

    fn vae(&self, loader: &Loader) -> Result<Encoder> {
        Encoder::load(loader, &self.config.vae)
    }
}

impl PictureEncoders {
    /// Crops a picture to the video's size and encodes it.
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`] between layers, values that are not finite, libtorch.
    pub(crate) fn encode(&self, picture: &Picture, size: &PictureSize, control: &Control) -> Result<FirstFrame> {
        let cropped = picture.covering(size.width, size.height);
        let states = self.states(&cropped, control).in_op("image encoder")?;
        finite::check(&states, "image encoders", None)?;
        let pixels = scaled(&cropped)?.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?; // [1, 3, h, w] in -1..1
        let pixels = pixels.f_unsqueeze(2)?.f_to_device(self.device)?.f_to_kind(self.kinds[1])?;
        let latents = self.vae_encoder.encode(&pixels, size.tiles, size.spatial, control)?;
        Ok(FirstFrame { states, latents, sha256: picture.sha256() })
    }

    /// What the image encoder makes of a cropped picture, `[1, tokens, width]`.
    fn states(&self, cropped: &Picture, control: &Control) -> Result<Tensor> {
        let square = scaled(&cropped.resized(self.side, self.side, Resampling::Bicubic))?;
        let normed = square.f_sub(&self.mean)?.f_div(&self.std)?; // [1, 3, side, side]
        self.image_encoder.forward(&normed.f_to_device(self.device)?.f_to_kind(self.kinds[0])?, control)
    }
}

/// `[1, 3, height, width]` fp32 in 0..1 on the host.
fn scaled(picture: &Picture) -> Result<Tensor> {
    let size = [1, picture.height() as i64, picture.width() as i64, 3];
    let bytes = Tensor::f_from_slice(picture.rgb())?.f_view(size)?;
    Ok(bytes.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_permute([0, 3, 1, 2])?.f_contiguous()?)
}
