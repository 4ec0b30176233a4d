//! A model as JSON: what a client needs to offer its sizes, lengths and examples.

use domain::{ImageInput, ModelManifest};
use serde::Serialize;
use utoipa::ToSchema;

/// A model of the fleet.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelView {
    /// Id for the request's `model`.
    pub id: String,
    /// Name to show to people.
    pub name: String,
    /// What the model can and cannot render.
    pub description: String,
    /// Example prompts.
    pub examples: Vec<String>,
    /// Whether requests without a `model` use this one.
    pub default: bool,
    /// `required`: its videos begin from a picture. `none`: it takes no picture.
    pub image: ImageInput,
    /// Number of live workers that have it loaded.
    pub workers: usize,
    /// Named sizes.
    pub sizes: Vec<SizeView>,
    /// Rules for sizes given as `WIDTHxHEIGHT`.
    pub custom_size: CustomSizeView,
    /// Longest `video_length`, in frames at 24 per second.
    pub video_length_max: u32,
    /// Longest `video_length` that the model does well; longer ones are rendered too.
    pub video_length_good_max: u32,
    /// Shortest `video_length`, in frames.
    pub video_length_min: u32,
    /// A valid `video_length` is the shortest one plus a multiple of this.
    pub video_length_step: u32,
    /// Largest `infer_steps`.
    pub infer_steps_max: u32,
    /// Number of steps of the baseline that savings are compared with.
    pub baseline_steps: u32,
    /// Whether requests can ask for `progressive`.
    pub progressive: bool,
    /// Fingerprint of the model's weights.
    pub weights_fingerprint: String,
}

/// A named size.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SizeView {
    /// Name for the request's `video_size`, such as `540p`.
    pub name: String,
    /// Its aspect ratios; the first is the default.
    pub aspects: Vec<AspectView>,
}

/// One aspect ratio of a named size.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AspectView {
    /// Value for the request's `aspect_ratio`, such as `16:9`.
    pub aspect: String,
    /// Rendered width in pixels.
    pub width: u32,
    /// Rendered height in pixels.
    pub height: u32,
}

/// Limits of sizes given as `WIDTHxHEIGHT`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CustomSizeView {
    /// Each side must be a multiple of this, in pixels.
    pub multiple_of: u32,
    /// Shortest allowed side, in pixels.
    pub side_min: u32,
    /// Largest allowed number of pixels per frame.
    pub pixels_max: u32,
}

impl ModelView {
    /// Creates the view.
    #[must_use]
    pub fn new(manifest: &ModelManifest, default: bool, workers: usize) -> Self {
        let sizes = manifest.sizes.iter().map(|size| SizeView {
            name: size.name.clone(),
            aspects: size
                .aspects
                .iter()
                .map(|a| AspectView { aspect: a.aspect.clone(), width: a.width, height: a.height })
                .collect(),
        });
        Self {
            id: manifest.id.clone(),
            name: manifest.name.clone(),
            description: manifest.description.clone(),
            examples: manifest.examples.clone(),
            default,
            image: manifest.image,
            workers,
            sizes: sizes.collect(),
            custom_size: CustomSizeView {
                multiple_of: manifest.custom_size.multiple_of,
                side_min: manifest.custom_size.side_min,
                pixels_max: manifest.custom_size.pixels_max,
            },
            video_length_max: manifest.length.max,
            video_length_good_max: manifest.length.good_max.unwrap_or(manifest.length.max),
            video_length_min: manifest.geometry.frames_min(),
            video_length_step: manifest.geometry.frame_step(),
            infer_steps_max: manifest.sampling.steps_max,
            baseline_steps: manifest.baseline_steps(),
            progressive: manifest.progressive.is_some(),
            weights_fingerprint: manifest.fingerprint.weights.clone(),
        }
    }
}
