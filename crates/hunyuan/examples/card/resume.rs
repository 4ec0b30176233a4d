//! Is a run that was cut the run that was not, bit for bit, also in another process?

use std::{ops::ControlFlow, path::Path};

use hunyuan::{Checkpoint, Control, DenoiseRequest, DeviceChoice, Engine, Error, Result};
use serde_json::json;
use tch::{Device, Tensor};

const STEPS: usize = 6;
/// Steps after which a run is resumed; the second one in another process too.
const CUTS: [usize; 2] = [2, 4];

fn request(engine: &Engine, [width, height, frames]: [i64; 3]) -> Result<DenoiseRequest> {
    let mut encoded = engine.encode(&["a paper boat on a lake"], &Control::new())?;
    let prompt = encoded.pop().ok_or_else(|| Error::input("prompt", "was not encoded"))?;
    Ok(DenoiseRequest { width, height, frames, steps: STEPS, ..DenoiseRequest::new(engine.defaults(), prompt, 5) })
}

fn host(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_to_device(Device::Cpu)?)
}

/// `resume`: the whole run, then its rests in this process; leaves a checkpoint and the latents for `resumed` in `folder`.
pub(crate) fn whole(model: &str, device: DeviceChoice, size: [i64; 3], folder: &str) -> Result<()> {
    let engine = crate::random_engine(model, device, size)?;
    let request = request(&engine, size)?;
    let mut saved = Vec::new();
    let mut keep = Ok(());
    let done = engine.denoise(&request, None, &Control::new(), &mut |end| {
        if CUTS.contains(&end.step) {
            match end.checkpoint().to_bytes() {
                Ok(bytes) => saved.push(bytes),
                Err(error) => keep = Err(error),
            }
        }
        ControlFlow::Continue(())
    })?;
    keep?;
    for (cut, bytes) in CUTS.iter().zip(&saved) {
        let from = Checkpoint::from_bytes(bytes)?;
        let rest = engine.denoise(&request, Some(&from), &Control::new(), &mut |_| ControlFlow::Continue(()))?;
        let equal = rest.latents.tensor.f_equal(&done.latents.tensor)?;
        crate::tell(&json!({ "item": format!("after step {cut}"), "ok": equal }))?;
    }
    let folder = Path::new(folder);
    let write = |source| Error::Read { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(write)?;
    std::fs::write(folder.join("checkpoint"), &saved[1]).map_err(write)?;
    Ok(Tensor::write_safetensors(&[("latents", &host(&done.latents.tensor)?)], folder.join("latents.safetensors"))?)
}

/// `resumed`: the rest of the run in `folder`, in this other process.
pub(crate) fn rest(model: &str, device: DeviceChoice, size: [i64; 3], folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let bytes = std::fs::read(folder.join("checkpoint"))
        .map_err(|source| Error::Read { path: folder.join("checkpoint"), source })?;
    let wanted = Tensor::read_safetensors(folder.join("latents.safetensors"))?;
    let engine = crate::random_engine(model, device, size)?;
    let (saved, request) = (Checkpoint::from_bytes(&bytes)?, request(&engine, size)?);
    let rest = engine.denoise(&request, Some(&saved), &Control::new(), &mut |_| ControlFlow::Continue(()))?;
    let equal = host(&rest.latents.tensor)?.f_equal(&wanted[0].1)?;
    crate::tell(&json!({ "item": "in another process", "ok": equal }))
}
