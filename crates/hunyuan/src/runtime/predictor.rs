//! What the denoising loop needs of a family's transformer.

use tch::{Device, Kind, Tensor};

use crate::runtime::{control::Control, embeddings::Embeddings, error::Result, run::Run};

/// Lengths of the parts of a prompt's text, in tokens.
pub(crate) type Lengths = [i64; 2];

/// The times of a step, one a sample, as the network counts them (1000 to 0).
#[derive(Debug)]
pub struct Times {
    /// At its start.
    pub now: Vec<f32>,
    /// At its end.
    pub next: Vec<f32>,
}

/// A family's transformer and the formats it works in.
pub(crate) trait Predictor {
    /// What it is given about a run that no step changes.
    type Condition;

    /// Where it computes.
    fn device(&self) -> Device;

    /// Its number format.
    fn kind(&self) -> Kind;

    /// Lengths of a prompt's text; runs with equal ones can share passes. `field` names the embeddings in an error.
    fn lengths(&self, field: &'static str, embeddings: &Embeddings) -> Result<Lengths>;

    /// The condition of a run with these embeddings.
    fn condition(&self, run: &Run, embeddings: &Embeddings) -> Result<Self::Condition>;

    /// One condition of several runs with equal lengths and sizes, in their order.
    fn join(&self, conditions: &[&Self::Condition]) -> Result<Self::Condition>;

    /// Velocity of `latents` at `times`, in [`Predictor::kind`].
    fn predict(
        &self,
        latents: &Tensor,
        times: &Times,
        condition: &Self::Condition,
        control: &Control,
    ) -> Result<Tensor>;
}
