//! A small picture of a run between two steps, without the decoder.
//!
//! The rule: the clean latents that the model expects are `x0 = latents - sigma * velocity`, with the noise level after the
//! step, and a linear map of their channels gives a colour for each latent cell. The map belongs to the VAE: a model folder
//! may hold its own in [`FILE`], and the released VAEs have published ones. A preview costs one small matrix product.
//!
//! Published factors: `latent_rgb_factors` and `latent_rgb_factors_bias` of the class `HunyuanVideo` in
//! <https://github.com/comfyanonymous/ComfyUI/blob/040a3243468ecefd1f2802592d90458f1ce4d65f/comfy/latent_formats.py>, and of the class
//! `HunyuanVideo15` in
//! <https://github.com/Comfy-Org/ComfyUI/blob/9a9a69fd745de98e89b0f1a629cd3bc43d513a42/comfy/latent_formats.py>.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::runtime::error::{Error, Result};
use crate::runtime::json::read_json;
use crate::runtime::run::Latents;

/// Name of the file in a model folder that holds the factors of its VAE.
pub const FILE: &str = "latent_rgb.json";

/// From latent channels to red, green and blue in -1..1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentRgb {
    /// One row for each channel.
    pub weights: Vec<[f64; 3]>,
    /// Added to the sum.
    pub bias: [f64; 3],
}

/// A preview: one frame for each latent frame, as rows of RGB bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewFrames {
    /// `[frames, height, width, 3]`.
    pub rgb: Vec<u8>,
    /// Latent cells.
    pub width: u32,
    /// Latent cells.
    pub height: u32,
    /// Latent frames.
    pub frames: u32,
}

#[derive(Deserialize)]
struct VaeConfig {
    scaling_factor: Option<f64>,
}

impl LatentRgb {
    /// The factors of a model folder's VAE: its own file, or the published ones where `vae/config.json` is that of a released
    /// VAE (by its scaling factor and channels). None for another VAE without a file; `worker fit-preview` makes one.
    ///
    /// # Errors
    /// A file that cannot be read, or whose number of channels is not the model's.
    pub fn of_folder(model_dir: &Path, channels: i64) -> Result<Option<Self>> {
        let path = model_dir.join(FILE);
        if !path.exists() {
            let config = read_json::<VaeConfig>(&model_dir.join("vae/config.json"))?;
            let is_it = |known: &&Published| {
                let is_scale = |scale: f64| (scale - known.scaling_factor).abs() < 1e-9;
                known.weights.len() as i64 == channels && config.scaling_factor.is_some_and(is_scale)
            };
            return Ok(PUBLISHED.iter().find(is_it).map(Published::factors));
        }
        let factors = read_json::<Self>(&path)?;
        if factors.weights.len() as i64 == channels {
            return Ok(Some(factors));
        }
        let reason = format!(
            "{} has factors for {} channels, but the VAE has {channels}; run `worker fit-preview` again",
            path.display(),
            factors.weights.len()
        );
        Err(Error::input(FILE, reason))
    }

    /// The colours of clean latents, `[1, channels, frames, height, width]`.
    ///
    /// # Errors
    /// libtorch; latents with another number of channels.
    pub fn frames(&self, latents: &Tensor) -> Result<PreviewFrames> {
        let (_, _, frames, height, width) = latents.size5()?;
        let mut rgb = self.colours(latents)?.f_add_scalar(1.0)?.f_mul_scalar(127.5)?.f_clamp_(0.0, 255.0)?;
        let rgb = rgb.f_round_()?.f_to_kind(Kind::Uint8)?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; rgb.numel()];
        rgb.f_copy_data_u8(&mut bytes, rgb.numel())?;
        let side = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(PreviewFrames { rgb: bytes, width: side(width), height: side(height), frames: side(frames) })
    }

    /// `[frames, height, width, 3]` in about -1..1.
    fn colours(&self, latents: &Tensor) -> Result<Tensor> {
        let flat: Vec<f32> = self.weights.iter().flatten().map(|value| *value as f32).collect();
        let device = latents.device();
        let weights = Tensor::f_from_slice(&flat)?.f_view([-1, 3])?.f_to_device(device)?;
        let bias = Tensor::f_from_slice(&self.bias.map(|value| value as f32))?.f_to_device(device)?;
        let cells = latents.f_squeeze_dim(0)?.f_permute([1, 2, 3, 0])?.f_to_kind(Kind::Float)?;
        Ok(cells.f_matmul(&weights)?.f_add_(&bias)?)
    }

    /// Least squares from the latents of finished videos to the mean colour of each cell's pixels (`spatial` pixels each
    /// way, `temporal` frames; the first latent frame is the first frame alone).
    ///
    /// # Errors
    /// libtorch, also when the videos do not determine the factors.
    pub fn fit(videos: &[(Latents, Tensor)], spatial: i64, temporal: i64) -> Result<Self> {
        let (mut cells, mut colours) = (Vec::new(), Vec::new());
        for (latents, frames) in videos {
            let channels = latents.tensor.size()[1];
            cells.push(latents.tensor.f_squeeze_dim(0)?.f_permute([1, 2, 3, 0])?.f_reshape([-1, channels])?);
            colours.push(cell_colours(frames, spatial, temporal)?.f_reshape([-1, 3])?);
        }
        let double = |parts: &[Tensor]| -> Result<Tensor> {
            Ok(Tensor::f_cat(parts, 0)?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?)
        };
        let (cells, colours) = (double(&cells)?, double(&colours)?);
        let ones = Tensor::f_ones([cells.size()[0], 1], (Kind::Double, Device::Cpu))?;
        let cells = Tensor::f_cat(&[&cells, &ones], 1)?;
        let transposed = cells.f_transpose(0, 1)?;
        let (normal, wanted) = (transposed.f_matmul(&cells)?, transposed.f_matmul(&colours)?);
        let solved = Tensor::f_linalg_solve(&normal, &wanted, true)?;
        let rows: Vec<f64> = Vec::try_from(&solved.f_reshape([-1])?)?;
        let mut rows: Vec<[f64; 3]> = rows.chunks_exact(3).map(|row| [row[0], row[1], row[2]]).collect();
        let bias = rows.pop().unwrap_or_default();
        Ok(Self { weights: rows, bias })
    }

    /// How well the preview of a finished video matches the mean colours of its cells, PSNR in dB for colours in 0..1.
    ///
    /// # Errors
    /// libtorch.
    pub fn psnr_db(&self, latents: &Latents, frames: &Tensor, spatial: i64, temporal: i64) -> Result<f64> {
        let wanted = cell_colours(frames, spatial, temporal)?;
        // Colours in 0..1 are half of those in -1..1.
        let error = self.colours(&latents.tensor)?.f_sub_(&wanted)?.f_mul_scalar_(0.5)?;
        let mean = error.f_square()?.f_mean(Kind::Double)?.f_double_value(&[])?;
        Ok(-10.0 * mean.max(1e-12).log10())
    }
}

/// Mean colours of the latent cells of decoded `frames` (`[frames, height, width, 3]` in 0..1), in -1..1.
fn cell_colours(frames: &Tensor, spatial: i64, temporal: i64) -> Result<Tensor> {
    let size = frames.size();
    let (height, width) = (size[1] / spatial, size[2] / spatial);
    let cells = frames.f_reshape([size[0], height, spatial, width, spatial, 3])?;
    let means = cells.f_mean_dim([2_i64, 4].as_slice(), false, Kind::Float)?;
    let first = means.f_narrow(0, 0, 1)?;
    let rest = means.f_narrow(0, 1, size[0] - 1)?;
    let rest = rest.f_reshape([(size[0] - 1) / temporal, temporal, height, width, 3])?;
    let rest = rest.f_mean_dim([1_i64].as_slice(), false, Kind::Float)?;
    Ok(Tensor::f_cat(&[first, rest], 0)?.f_mul_scalar_(2.0)?.f_sub_scalar_(1.0)?)
}

/// Factors of a released VAE.
struct Published {
    /// Of its configuration; no two released VAEs have the same.
    scaling_factor: f64,
    weights: &'static [[f64; 3]],
    bias: [f64; 3],
}

impl Published {
    fn factors(&self) -> LatentRgb {
        LatentRgb { weights: self.weights.to_vec(), bias: self.bias }
    }
}

/// HunyuanVideo and HunyuanVideo 1.5.
const PUBLISHED: [Published; 2] = [
    Published {
        scaling_factor: 0.476_986,
        bias: [0.0259, -0.0192, -0.0761],
        weights: &[
            [-0.0395, -0.0331, 0.0445],
            [0.0696, 0.0795, 0.0518],
            [0.0135, -0.0945, -0.0282],
            [0.0108, -0.0250, -0.0765],
            [-0.0209, 0.0032, 0.0224],
            [-0.0804, -0.0254, -0.0639],
            [-0.0991, 0.0271, -0.0669],
            [-0.0646, -0.0422, -0.0400],
            [-0.0696, -0.0595, -0.0894],
            [-0.0799, -0.0208, -0.0375],
            [0.1166, 0.1627, 0.0962],
            [0.1165, 0.0432, 0.0407],
            [-0.2315, -0.1920, -0.1355],
            [-0.0270, 0.0401, -0.0821],
            [-0.0616, -0.0997, -0.0727],
            [0.0249, -0.0469, -0.1703],
        ],
    },
    Published {
        scaling_factor: 1.036_82,
        bias: [0.0456, -0.0202, -0.0644],
        weights: &[
            [0.0568, -0.0521, -0.0131],
            [0.0014, 0.0735, 0.0326],
            [0.0186, 0.0531, -0.0138],
            [-0.0031, 0.0051, 0.0288],
            [0.0110, 0.0556, 0.0432],
            [-0.0041, -0.0023, -0.0485],
            [0.0530, 0.0413, 0.0253],
            [0.0283, 0.0251, 0.0339],
            [0.0277, -0.0372, -0.0093],
            [0.0393, 0.0944, 0.1131],
            [0.0020, 0.0251, 0.0037],
            [-0.0017, 0.0012, 0.0234],
            [0.0468, 0.0436, 0.0203],
            [0.0354, 0.0439, -0.0233],
            [0.0090, 0.0123, 0.0346],
            [0.0382, 0.0029, 0.0217],
            [0.0261, -0.0300, 0.0030],
            [-0.0088, -0.0220, -0.0283],
            [-0.0272, -0.0121, -0.0363],
            [-0.0664, -0.0622, 0.0144],
            [0.0414, 0.0479, 0.0529],
            [0.0355, 0.0612, -0.0247],
            [0.0147, 0.0264, 0.0174],
            [0.0438, 0.0038, 0.0542],
            [0.0431, -0.0573, -0.0033],
            [-0.0162, -0.0211, -0.0406],
            [-0.0487, -0.0295, -0.0393],
            [0.0005, -0.0109, 0.0253],
            [0.0296, 0.0591, 0.0353],
            [0.0119, 0.0181, -0.0306],
            [-0.0085, -0.0362, 0.0229],
            [0.0005, -0.0106, 0.0242],
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn latents(seed: i64) -> Latents {
        tch::manual_seed(seed);
        let tensor = Tensor::randn([1, 4, 3, 2, 2], (Kind::Float, Device::Cpu));
        Latents { tensor, width: 8, height: 8, frames: 9 }
    }

    /// Frames whose cells have exactly the colours of a map.
    fn frames_of(factors: &LatentRgb, latents: &Latents) -> Tensor {
        let cells = factors.colours(&latents.tensor).unwrap().f_add_scalar(1.0).unwrap().f_mul_scalar(0.5).unwrap();
        let wide = cells.repeat_interleave_self_int(4, 1, None).repeat_interleave_self_int(4, 2, None);
        let times: Vec<i64> = [0].into_iter().chain((1..3).flat_map(|cell| [cell; 4])).collect();
        wide.index_select(0, &Tensor::from_slice(&times))
    }

    #[test]
    fn a_fit_finds_the_map_that_made_the_colours() {
        let wanted = LatentRgb {
            weights: vec![[0.1, 0.2, -0.1], [0.0, -0.3, 0.05], [0.2, 0.0, 0.1], [-0.1, 0.1, 0.3]],
            bias: [0.05, -0.1, 0.0],
        };
        let videos: Vec<_> = (0..4)
            .map(|seed| {
                let latents = latents(seed);
                let frames = frames_of(&wanted, &latents);
                (latents, frames)
            })
            .collect();
        let found = LatentRgb::fit(&videos, 4, 4).unwrap();
        for (found, wanted) in
            found.weights.iter().chain([&found.bias]).zip(wanted.weights.iter().chain([&wanted.bias]))
        {
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-4, "{found} is not {wanted}");
            }
        }
        assert!(found.psnr_db(&videos[0].0, &videos[0].1, 4, 4).unwrap() > 60.0);
    }

    #[test]
    fn a_preview_has_one_frame_for_each_latent_frame_and_clamps_colours() {
        let bright = LatentRgb { weights: vec![[0.0; 3]; 4], bias: [9.0, 0.0, -9.0] };
        let preview = bright.frames(&latents(1).tensor).unwrap();
        assert_eq!((preview.width, preview.height, preview.frames), (2, 2, 3));
        assert_eq!(&preview.rgb[..3], [255, 128, 0]);
        assert_eq!(preview.rgb.len(), 2 * 2 * 3 * 3);
    }

    #[test]
    fn factors_come_from_the_folder_or_by_the_vaes_scaling_factor() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("vae")).unwrap();
        let config = |text: &str| std::fs::write(folder.path().join("vae/config.json"), text).unwrap();
        config(r#"{"scaling_factor": 0.476986, "latent_channels": 16}"#);
        assert_eq!(LatentRgb::of_folder(folder.path(), 16).unwrap().unwrap().weights.len(), 16);
        assert_eq!(LatentRgb::of_folder(folder.path(), 4).unwrap(), None, "a small copy of its configuration");
        config(r#"{"scaling_factor": 1.03682}"#);
        assert_eq!(LatentRgb::of_folder(folder.path(), 32).unwrap().unwrap().weights.len(), 32);
        config(r#"{"scaling_factor": 1.0}"#);
        assert_eq!(LatentRgb::of_folder(folder.path(), 8).unwrap(), None);
        let own = LatentRgb { weights: vec![[0.5, 0.25, -0.125]; 8], bias: [0.0; 3] };
        std::fs::write(folder.path().join(FILE), serde_json::to_string(&own).unwrap()).unwrap();
        assert_eq!(LatentRgb::of_folder(folder.path(), 8).unwrap(), Some(own));
        let error = LatentRgb::of_folder(folder.path(), 16).unwrap_err().to_string();
        assert!(error.contains("8 channels") && error.contains("fit-preview"), "{error}");
    }
}
