//! A renderer that takes no time: its output is a hash over seed, prompt, picture and every step.
//!
//! It keeps the model's contract with the worker: checks between pieces, a checkpoint every second step, the same bytes
//! after a resume, a stop that returns the last step's state.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use cache::{Element, StoredEmbeddings, StoredTensor};
use domain::{Failure, FailureAction, ModelManifest};
use serde::{Deserialize, Serialize};
use worker::engine::{
    Control, Paused, PreviewFrames, RenderError, RenderEvent, RenderOrder, RenderedFrames, Renderer, RendererInfo,
};

use crate::gates::Gates;

/// A step takes this long.
const STEP: Duration = Duration::from_millis(4);
/// Steps between two checkpoints.
const CHECKPOINT_EVERY: u32 = 2;
/// Width of the embeddings, which are the 32 bytes of a hash as 16-bit values.
const COLS: usize = 16;

pub(crate) struct Quick {
    manifest: ModelManifest,
    memory_bytes: u64,
    gates: Gates,
}

/// The state between two steps, as its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    identity: String,
    step: u32,
    hash: String,
}

impl State {
    fn begin(order: &RenderOrder) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&order.seed.to_le_bytes()).update(&order.steps.to_le_bytes());
        hasher.update(&order.embeddings.to_bytes());
        if let Some(frame) = &order.first_frame {
            hasher.update(&frame.width.to_le_bytes()).update(&frame.height.to_le_bytes()).update(&frame.rgb);
        }
        for lora in &order.loras {
            // A cached file is named by its content.
            hasher.update(lora.path.file_name().unwrap_or_default().as_encoded_bytes());
            hasher.update(&lora.scale.to_le_bytes());
        }
        if let Some(early) = &order.progressive {
            hasher.update(&early.steps.to_le_bytes()).update(&early.shift.to_le_bytes());
        }
        let identity = hasher.finalize().to_hex().to_string();
        Self { hash: identity.clone(), identity, step: 0 }
    }

    fn next(&self) -> Self {
        let step = self.step + 1;
        let hash = blake3::hash(format!("{} {step}", self.hash).as_bytes()).to_hex().to_string();
        Self { identity: self.identity.clone(), step, hash }
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Quick {
    pub(crate) fn new(model_dir: &Path, memory_bytes: u64, gates: Gates) -> anyhow::Result<Self> {
        let manifest = settings::read_manifest(model_dir).context("read the manifest")?;
        Ok(Self { manifest, memory_bytes, gates })
    }
}

impl Quick {
    /// Refuses an order that the manifest rules out, as the real renderer does.
    fn check_picture(&self, order: &RenderOrder) -> Result<(), RenderError> {
        if order.first_frame.is_none() == self.manifest.image.is_none() {
            return Ok(());
        }
        let reason = format!("image = \"{}\" does not fit the order", self.manifest.image);
        let failure = Failure { code: "invalid_request".to_owned(), reason };
        Err(RenderError::Failed { failure, action: FailureAction::Fail })
    }

    /// Fails as the real renderer does when its device breaks or its result is not finite.
    fn gates_faults(&self, point: &str) -> Result<(), RenderError> {
        if self.gates.wants("break", point) {
            let reason = "the GPU failed in denoise: CUDA error: uncorrectable ECC error encountered".to_owned();
            return Err(RenderError::DeviceBroken { reason });
        }
        if self.gates.wants("nan", point) {
            return Err(RenderError::from(hunyuan::Error::NotFinite { stage: "denoising", step: Some(3) }));
        }
        Ok(())
    }

    /// The end of a draft, with a picture of two frames that differ by the seed.
    fn paused(&self, state: &State, order: &RenderOrder, control: &Control) -> RenderError {
        if !self.gates.pass(&format!("pause-{}", order.seed), control) {
            return stopped(state);
        }
        let salt = state.hash.as_bytes();
        let rgb = (0..96).map(|at: u8| at.wrapping_mul(7).wrapping_add(salt[usize::from(at) % 32])).collect();
        let preview = order.flow_reverse.then_some(PreviewFrames { rgb, width: 4, height: 4, frames: 2 });
        RenderError::Paused(Box::new(Paused { step: state.step, checkpoint: state.to_bytes(), preview }))
    }
}

impl Renderer for Quick {
    fn info(&self) -> RendererInfo {
        RendererInfo {
            family: self.manifest.family,
            image: self.manifest.image,
            geometry: self.manifest.geometry,
            flow_shift: self.manifest.sampling.flow_shift,
            true_cfg_scale: self.manifest.sampling.guidance.true_cfg_scale,
            model_fingerprint: self.manifest.fingerprint.weights.clone(),
            encoder_fingerprint: self.manifest.fingerprint.encoders.clone(),
            device: "cpu".to_owned(),
            devices: 1,
            device_class: "test".to_owned(),
            build: "quick".to_owned(),
            threads: 1,
            memory_bytes: self.memory_bytes,
            attention_flops: 0.0,
            attention: None,
            formats: "f32/f32/f32".to_owned(),
        }
    }

    fn encode(&mut self, text: &str, control: &Control) -> Result<StoredEmbeddings, RenderError> {
        if !self.gates.pass("encode", control) {
            return Err(RenderError::Stopped { checkpoint: None });
        }
        let hash = blake3::hash(text.as_bytes());
        let tensor = StoredTensor { element: Element::F16, shape: vec![1, COLS], bytes: hash.as_bytes().to_vec() };
        let fingerprint = self.manifest.fingerprint.encoders.clone();
        Ok(StoredEmbeddings { tensors: [("prompt".to_owned(), tensor)].into(), fingerprint })
    }

    fn render(
        &mut self,
        order: &RenderOrder,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<RenderedFrames, RenderError> {
        let begun = Instant::now();
        self.check_picture(order)?;
        let mut state = State::begin(order);
        let mut restarted_because = None;
        if let Some(bytes) = &order.resume {
            match serde_json::from_slice::<State>(bytes) {
                Ok(saved) if saved.identity == state.identity => state = saved,
                Ok(_) => restarted_because = Some("of another run".to_owned()),
                Err(error) => restarted_because = Some(error.to_string()),
            }
        }
        tell(RenderEvent::Started { resumed_from: state.step, restarted_because });
        if order.pause_after.is_some_and(|until| state.step >= until) {
            return Err(self.paused(&state, order, control));
        }
        while state.step < order.steps {
            let raises = order.progressive.is_some_and(|early| early.steps == state.step);
            let raised = !raises || self.gates.pass(&format!("raise-{}", order.seed), control);
            let point = format!("step-{}", state.step + 1);
            if !raised || !self.gates.pass(&point, control) {
                return Err(stopped(&state));
            }
            self.gates_faults(&point)?;
            std::thread::sleep(STEP);
            state = state.next();
            tell(RenderEvent::Step { step: state.step, skipped: 0, remaining_s: None, members: 1 });
            if order.pause_after.is_some_and(|until| state.step >= until) {
                return Err(self.paused(&state, order, control));
            }
            let due = order.checkpoint_every_s > 0.0 && state.step.is_multiple_of(CHECKPOINT_EVERY);
            if due || state.step == order.steps {
                tell(RenderEvent::Checkpoint { step: state.step, bytes: state.to_bytes() });
            }
        }
        tell(RenderEvent::Decoding);
        if !self.gates.pass("decode", control) {
            return Err(stopped(&state));
        }
        Ok(RenderedFrames {
            rgb: draw(&state, order)?,
            width: order.width,
            height: order.height,
            steps_computed: order.steps,
            steps_skipped: 0,
            convergence: Vec::new(),
            batch: None,
            adapters_s: 0.0,
            denoise_s: begun.elapsed().as_secs_f64(),
            decode_s: 0.0,
            interpolation: None,
            lower: [order.progressive.map_or(0, |early| early.steps), 0],
        })
    }
}

fn stopped(state: &State) -> RenderError {
    RenderError::Stopped { checkpoint: (state.step > 0).then(|| (state.step, state.to_bytes())) }
}

/// A colour for each frame.
fn draw(state: &State, order: &RenderOrder) -> Result<Vec<u8>, RenderError> {
    let failed = |reason: String| RenderError::Failed {
        failure: Failure { code: "test".to_owned(), reason },
        action: FailureAction::Fail,
    };
    let frames = usize::try_from(order.frames).map_err(|error| failed(error.to_string()))?;
    let pixels = usize::try_from(order.width * order.height).map_err(|error| failed(error.to_string()))?;
    let mut colours = vec![0; frames * 3];
    blake3::Hasher::new().update(state.hash.as_bytes()).finalize_xof().fill(&mut colours);
    Ok(colours.chunks(3).flat_map(|colour| colour.repeat(pixels)).collect())
}
