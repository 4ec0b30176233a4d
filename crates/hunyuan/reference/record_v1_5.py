"""Runs diffusers' HunyuanVideo15Pipeline on one case and records what the Rust code is compared with.

As `record.py` does for 1.0: states are stored at their true length, frames as float16.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import ClassifierFreeGuidance, HunyuanVideo15Pipeline

from record import DTYPES, decode, of_prompts, save
from tiny_v1_5 import narrow

PROMPT = 'A cat walks with a sign that says "Hello", realistic style'


@dataclass
class Case:
    """One video. `model` is relative to the case's folder."""

    name: str
    model: str
    prompt: str = PROMPT
    negative_prompt: str | None = None
    # none for the checkpoint's own
    guidance_scale: float | None = None
    width: int = 48
    height: int = 32
    frames: int = 5
    steps: int = 2
    seed: int = 42
    dtype: str = "f32"
    # arguments of enable_tiling and the overlap; {} takes diffusers' defaults
    tiling: dict | None = None
    blocks: bool = False


def load(model: Path, dtype: torch.dtype, pipeline_class: type = HunyuanVideo15Pipeline):
    """The pipeline, with the crop that this tokenizer needs."""
    narrow()
    pipeline = pipeline_class.from_pretrained(model, torch_dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    messages = [{"role": "system", "content": pipeline.system_message}, {"role": "user", "content": "\0"}]
    whole = pipeline.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    pipeline.prompt_template_encode_start_idx = len(pipeline.tokenizer(whole.split("\0")[0]).input_ids)
    return pipeline


@torch.no_grad()
def text(pipeline: HunyuanVideo15Pipeline, prompt: str) -> dict[str, torch.Tensor]:
    """Both encoders' states of one prompt; no glyph states where the prompt quotes nothing."""
    states, mask, glyph, glyph_mask = pipeline.encode_prompt(prompt, device=torch.device("cpu"))
    tensors = {"prompt_embeds": states[:, : int(mask.sum())].float().contiguous()}
    if glyph_mask.sum() > 0:
        tensors["glyph_embeds"] = glyph[:, : int(glyph_mask.sum())].float().contiguous()
    return tensors


def record_text(folder: Path, model: str, prompts: dict[str, str]) -> None:
    """Write `case.json` and `reference.safetensors` for a list of prompts without a video."""
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = load(folder / model, torch.float32)
    case = {"name": folder.name, "model": model, "prompts": prompts}
    save(folder, case, of_prompts(prompts, lambda prompt: text(pipeline, prompt)))


@torch.no_grad()
def denoise(pipeline, case, noise: torch.Tensor, **inputs):
    """diffusers' own pipeline up to the latents; a hook reads the first prediction of each condition. `inputs` are the call's own."""
    outputs = []
    handle = pipeline.transformer.register_forward_hook(lambda _m, _i, out: outputs.append(out[0]) if len(outputs) < 2 else None)
    latents = pipeline(
        prompt=case.prompt,
        negative_prompt=case.negative_prompt,
        num_frames=case.frames,
        num_inference_steps=case.steps,
        latents=noise,
        output_type="latent",
        **inputs,
    ).frames
    handle.remove()
    scale, first = pipeline.guider.guidance_scale, outputs[0]
    if scale != 1.0:
        first = outputs[1] + scale * (outputs[0] - outputs[1])
    return first, latents


def conditions(pipeline, case) -> dict[str, torch.Tensor]:
    """Sets the case's guidance; returns the states of its prompt, and of the negative one where that is used."""
    if case.guidance_scale is not None:
        pipeline.guider = ClassifierFreeGuidance(guidance_scale=case.guidance_scale)
    tensors = text(pipeline, case.prompt)
    if pipeline.guider.guidance_scale != 1.0:
        tensors |= {f"negative_{k}": v for k, v in text(pipeline, case.negative_prompt or "").items()}
    return tensors


def block_hooks(transformer, tensors: dict) -> list:
    """Keep the video tokens of every block of the first call."""

    def hook(index):
        def keep(_module, _inputs, output):
            tensors.setdefault(f"double_{index}_0.video", output[0].float().contiguous().clone())

        return keep

    return [block.register_forward_hook(hook(index)) for index, block in enumerate(transformer.transformer_blocks)]


def record(folder: Path, case: Case) -> None:
    """Write `case.json` and `reference.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = load(folder / case.model, DTYPES[case.dtype])
    tensors, vae = conditions(pipeline, case), pipeline.vae
    size = (case.height // vae.spatial_compression_ratio, case.width // vae.spatial_compression_ratio)
    shape = (1, vae.config.latent_channels, (case.frames - 1) // vae.temporal_compression_ratio + 1, *size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(case.seed))
    blocks: dict[str, torch.Tensor] = {}
    handles = block_hooks(pipeline.transformer, blocks) if case.blocks else []
    first, latents = denoise(pipeline, case, noise.clone(), height=case.height, width=case.width)
    for handle in handles:
        handle.remove()
    tensors |= blocks | {"initial_latents": noise, "sigmas": pipeline.scheduler.sigmas, "noise_pred_0": first, "latents": latents}
    tensors["frames"] = decode(pipeline, latents).half()
    if case.tiling is not None:
        vae.enable_tiling(**case.tiling)
        tensors["frames_tiled"] = decode(pipeline, latents).half()
    scale, start = pipeline.guider.guidance_scale, pipeline.prompt_template_encode_start_idx
    save(folder, asdict(case) | {"resolved_guidance_scale": scale, "crop_start": start}, tensors)
