//! The real renderer as the model's thread uses it: alone, on several devices, or for several orders together.

use cache::StoredEmbeddings;
use domain::{ImageInput, ModelFamily};
use hunyuan::Family;

use super::hunyuan::{HunyuanRenderer, encode};
use super::{
    Control, Desk, RenderError, RenderEvent, RenderOrder, RenderedFrames, Renderer, RendererInfo, Ticket, together,
};
use crate::ranks::Plan;

impl Renderer for HunyuanRenderer {
    fn info(&self) -> RendererInfo {
        let info = self.engine().info();
        RendererInfo {
            family: match info.family {
                Family::V1 => ModelFamily::V1,
                Family::V1_5 | Family::V1_5Image => ModelFamily::V1_5,
            },
            image: if info.family.takes_picture() { ImageInput::Required } else { ImageInput::None },
            geometry: self.geometry,
            flow_shift: info.flow_shift,
            true_cfg_scale: info.true_cfg_scale,
            model_fingerprint: info.model_fingerprint.clone(),
            encoder_fingerprint: info.encoder_fingerprint.clone(),
            device: self.plan.as_ref().map_or_else(|| info.device.clone(), Plan::names),
            devices: u32::try_from(info.devices).unwrap_or(u32::MAX),
            device_class: info.device_class.clone(),
            build: info.build.clone(),
            threads: u32::try_from(info.threads).unwrap_or(u32::MAX),
            memory_bytes: self.memory_bytes,
            attention_flops: info.attention.as_ref().map_or(0.0, |chosen| chosen.tflops * 1e12),
            attention: info.attention.as_ref().map(|chosen| chosen.backend.to_string()),
            formats: format!("{}/{}/{}", info.dtype, info.encoder_dtype, info.decoder_dtype),
        }
    }

    fn encode(&mut self, text: &str, control: &Control) -> Result<StoredEmbeddings, RenderError> {
        encode(self.engine(), text, control)
    }

    fn render(
        &mut self,
        order: &RenderOrder,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<RenderedFrames, RenderError> {
        self.check_interpolator(order)?;
        self.gather(control)?;
        let rendered = self.rendered(order, control, tell);
        self.end_broken(rendered)
    }

    fn render_together(&mut self, first: Ticket, desk: &mut dyn Desk) {
        together::render(self, first, desk);
    }
}
