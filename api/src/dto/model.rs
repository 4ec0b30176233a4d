//! A model as JSON: what the page needs to offer its sizes, lengths and examples.

use domain::ModelManifest;
use serde::Serialize;
use utoipa::ToSchema;

/// One model that the fleet knows.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelView {
    /// Id for the request's `model`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What it can draw and what not.
    pub description: String,
    /// Prompts that show it well.
    pub examples: Vec<String>,
    /// Whether requests without a `model` go here.
    pub default: bool,
    /// Workers that hold it and are alive.
    pub workers: usize,
    /// Named sizes; the first is what an unnamed size would mean.
    pub sizes: Vec<SizeView>,
    /// What a `WIDTHxHEIGHT` size must keep to.
    pub custom_size: CustomSizeView,
    /// Longest `video_length`, frames at 24 a second.
    pub video_length_max: u32,
    /// Shortest `video_length`.
    pub video_length_min: u32,
    /// Each `video_length` is the shortest one plus a multiple of this.
    pub video_length_step: u32,
    /// Most `infer_steps`.
    pub infer_steps_max: u32,
    /// Steps of the fixed baseline that savings are counted against.
    pub baseline_steps: u32,
    /// Which weights these are.
    pub weights_fingerprint: String,
}

/// A named size.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SizeView {
    /// `540p`.
    pub name: String,
    /// Its aspects; the first is the default.
    pub aspects: Vec<AspectView>,
}

/// One aspect of a named size.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AspectView {
    /// `16:9`.
    pub aspect: String,
    /// Rendered width, pixels.
    pub width: u32,
    /// Rendered height, pixels.
    pub height: u32,
}

/// Limits of sizes given in pixels.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CustomSizeView {
    /// Each side is a multiple of this.
    pub multiple_of: u32,
    /// Shortest side, pixels.
    pub side_min: u32,
    /// Most pixels of a frame.
    pub pixels_max: u32,
}

impl ModelView {
    /// Builds the view.
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
            workers,
            sizes: sizes.collect(),
            custom_size: CustomSizeView {
                multiple_of: manifest.custom_size.multiple_of,
                side_min: manifest.custom_size.side_min,
                pixels_max: manifest.custom_size.pixels_max,
            },
            video_length_max: manifest.length.max,
            video_length_min: manifest.geometry.frames_min(),
            video_length_step: manifest.geometry.frame_step(),
            infer_steps_max: manifest.sampling.steps_max,
            baseline_steps: manifest.cost_prior.baseline_steps,
            weights_fingerprint: manifest.fingerprint.weights.clone(),
        }
    }
}
