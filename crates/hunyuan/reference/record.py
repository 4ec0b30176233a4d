"""Runs diffusers and transformers on one case and records every number that the Rust code is compared with.

Text embeddings are stored at their true length: padding never reaches a result. Frames are stored as float16, whose
rounding (78 dB and better) hides nothing at the 60 dB that the tests ask for.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideoPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from safetensors.torch import save_file

from tiny_tokenizers import crop_start

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


@dataclass
class Case:
    """One video. `model` is relative to the case's folder."""

    name: str
    model: str
    prompt: str = "A cat walks on the grass, realistic style"
    negative_prompt: str | None = None
    true_cfg_scale: float = 1.0
    width: int = 48
    height: int = 32
    frames: int = 9
    steps: int = 4
    guidance: float = 6.0
    flow_shift: float | None = None
    flow_reverse: bool = True
    seed: int = 42
    dtype: str = "f32"
    # min and stride of a tile in pixels and frames: the arguments of diffusers' enable_tiling; {} takes its defaults
    tiling: dict | None = None
    # record the output of every block of the first step
    blocks: bool = False


def load(model: Path, dtype: torch.dtype) -> tuple[HunyuanVideoPipeline, dict]:
    """The pipeline, and the template with the crop that this tokenizer needs."""
    pipeline = HunyuanVideoPipeline.from_pretrained(model, torch_dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    template = DEFAULT_PROMPT_TEMPLATE["template"]
    return pipeline, {"template": template, "crop_start": crop_start(pipeline.tokenizer, template)}


@torch.no_grad()
def text(pipeline: HunyuanVideoPipeline, template: dict, prompt: str) -> dict[str, torch.Tensor]:
    """Both encoders' output and token ids of one prompt."""
    embeds, pooled, mask = pipeline.encode_prompt(prompt, prompt_template=template, device=torch.device("cpu"))
    length = int(mask.sum())
    limit = 256 + template["crop_start"]
    llm_ids = pipeline.tokenizer(template["template"].format(prompt), truncation=True, max_length=limit).input_ids
    clip_ids = pipeline.tokenizer_2(prompt, truncation=True, max_length=77).input_ids
    assert len(llm_ids) == length + template["crop_start"]
    return {
        "prompt_embeds": embeds[:, :length].float().contiguous(),
        "pooled_prompt_embeds": pooled.float().contiguous(),
        "llm_ids": torch.tensor(llm_ids),
        "clip_ids": torch.tensor(clip_ids),
    }


def record_text(folder: Path, model: str, prompts: dict[str, str]) -> None:
    """Write `case.json` and `reference.safetensors` for a list of prompts without a video."""
    folder.mkdir(parents=True, exist_ok=True)
    pipeline, template = load(folder / model, torch.float32)
    case = {"name": folder.name, "model": model, "crop_start": template["crop_start"], "prompts": prompts}
    save(folder, case, of_prompts(prompts, lambda prompt: text(pipeline, template, prompt)))


def of_prompts(prompts: dict[str, str], encode: Callable[[str], dict]) -> dict[str, torch.Tensor]:
    """The tensors of several prompts, each under the prompt's name."""
    return {f"{name}.{key}": value for name, prompt in prompts.items() for key, value in encode(prompt).items()}


def save(folder: Path, case: dict, tensors: dict[str, torch.Tensor]) -> None:
    """Write `case.json` and `reference.safetensors`, with bf16 as fp32.

    Prints what shows whether a case is worth having: values of order one, frames with contrast.
    """
    tensors = {k: (v.float() if v.dtype == torch.bfloat16 else v).contiguous() for k, v in tensors.items()}
    (folder / "case.json").write_text(json.dumps(case, indent=2, ensure_ascii=False) + "\n")
    save_file(tensors, folder / "reference.safetensors")
    names = ("prompt_embeds", "image_embeds", "image_latents", "noise_pred_0", "latents", "frames")
    print(case["name"], {name: round(float(tensors[name].float().std()), 3) for name in names if name in tensors})


class Recorder:
    """Forward hooks that keep the outputs of the first transformer call."""

    def __init__(self, transformer, text_length: int):
        self.tensors: dict[str, torch.Tensor] = {}
        self.text_length = text_length
        self.handles = [transformer.x_embedder.register_forward_hook(self.keep("x_embedder_0"))]
        self.handles.append(transformer.context_embedder.register_forward_hook(self.keep("context_embedder_0")))
        self.handles.append(transformer.time_text_embed.register_forward_hook(self.keep("temb_0")))
        for kind, blocks in (("double", transformer.transformer_blocks), ("single", transformer.single_transformer_blocks)):
            for index, block in enumerate(blocks):
                self.handles.append(block.register_forward_hook(self.keep(f"{kind}_{index}_0")))

    def keep(self, name: str):
        def hook(_module, _inputs, output):
            parts = output if isinstance(output, tuple) else (output,)
            if name.startswith(("double", "single")):
                self.once(f"{name}.video", parts[0])
                self.once(f"{name}.text", parts[1][:, : self.text_length])
            elif name.startswith("context"):
                self.once(name, parts[0][:, : self.text_length])
            else:
                self.once(name, parts[0])

        return hook

    def once(self, name: str, value: torch.Tensor) -> None:
        self.tensors.setdefault(name, value.detach().float().contiguous().clone())

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()


def inverted_sigmas(steps: int, shift: float) -> torch.Tensor:
    """The original repository's schedule with `flow_reverse` off: one minus the shifted sigmas, from 0 to 1."""
    sigmas = torch.linspace(1, 0, steps + 1)
    return 1 - (shift * sigmas) / (1 + (shift - 1) * sigmas)


@torch.no_grad()
def denoise_inverted(pipeline, case: Case, cond: dict, noise: torch.Tensor, shift: float):
    """Euler over the inverted sigmas with diffusers' transformer. diffusers' scheduler has no such option."""
    sigmas = inverted_sigmas(case.steps, shift)
    dtype = pipeline.transformer.dtype
    guidance = torch.tensor([case.guidance], dtype=dtype) * 1000.0
    latents, first = noise.clone(), None
    for index in range(case.steps):
        velocity = pipeline.transformer(
            hidden_states=latents.to(dtype),
            timestep=(sigmas[index] * 1000).reshape(1),
            encoder_hidden_states=cond["prompt_embeds"].to(dtype),
            encoder_attention_mask=torch.ones(cond["prompt_embeds"].shape[:2], dtype=dtype),
            pooled_projections=cond["pooled_prompt_embeds"].to(dtype),
            guidance=guidance,
            return_dict=False,
        )[0]
        first = velocity if first is None else first
        latents = latents + velocity.float() * (sigmas[index + 1] - sigmas[index])
    return sigmas, first, latents


@torch.no_grad()
def denoise(pipeline, template: dict, case: Case, noise: torch.Tensor):
    """diffusers' own pipeline up to the latents; hooks read the first prediction."""
    outputs = []
    handle = pipeline.transformer.register_forward_hook(lambda _m, _i, output: outputs.append(output[0]) if len(outputs) < 2 else None)
    latents = pipeline(
        prompt=case.prompt,
        negative_prompt=case.negative_prompt,
        true_cfg_scale=case.true_cfg_scale,
        height=case.height,
        width=case.width,
        num_frames=case.frames,
        num_inference_steps=case.steps,
        guidance_scale=case.guidance,
        latents=noise,
        prompt_template=template,
        output_type="latent",
    ).frames
    handle.remove()
    first = outputs[0]
    if case.negative_prompt is not None and case.true_cfg_scale > 1:
        first = outputs[1] + case.true_cfg_scale * (outputs[0] - outputs[1])
    return pipeline.scheduler.sigmas, first, latents


@torch.no_grad()
def decode(pipeline, latents: torch.Tensor) -> torch.Tensor:
    """[F, H, W, 3] in 0..1 from final latents, the way the pipeline ends."""
    scaled = latents.to(pipeline.vae.dtype) / pipeline.vae.config.scaling_factor
    video = pipeline.vae.decode(scaled, return_dict=False)[0]
    return torch.from_numpy(pipeline.video_processor.postprocess_video(video, output_type="np")[0])


def record(folder: Path, case: Case) -> None:
    """Write `case.json` and `reference.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    pipeline, template = load(folder / case.model, DTYPES[case.dtype])
    shift = pipeline.scheduler.config.shift if case.flow_shift is None else case.flow_shift
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config, shift=shift)
    tensors = text(pipeline, template, case.prompt)
    if case.negative_prompt is not None:
        tensors.update({f"negative_{k}": v for k, v in text(pipeline, template, case.negative_prompt).items()})
    generator = torch.Generator().manual_seed(case.seed)
    shape = (1, pipeline.transformer.config.in_channels, (case.frames - 1) // 4 + 1, case.height // 8, case.width // 8)
    noise = torch.randn(shape, generator=generator)
    recorder = Recorder(pipeline.transformer, tensors["prompt_embeds"].shape[1]) if case.blocks else None
    if case.flow_reverse:
        sigmas, first, latents = denoise(pipeline, template, case, noise.clone())
    else:
        sigmas, first, latents = denoise_inverted(pipeline, case, tensors, noise, shift)
    if recorder:
        recorder.close()
        tensors.update(recorder.tensors)
    tensors |= {"initial_latents": noise, "sigmas": sigmas, "noise_pred_0": first, "latents": latents}
    # As a pipeline is by default: no spatial tiles, temporal ones above 16 frames.
    tensors["frames"] = decode(pipeline, latents).half()
    if case.frames > pipeline.vae.tile_sample_min_num_frames:
        pipeline.vae.use_framewise_decoding = False
        tensors["frames_untiled"] = decode(pipeline, latents).half()
        pipeline.vae.use_framewise_decoding = True
    if case.tiling is not None:
        pipeline.vae.enable_tiling(**case.tiling)
        tensors["frames_tiled"] = decode(pipeline, latents).half()
    save(folder, asdict(case) | {"crop_start": template["crop_start"], "resolved_flow_shift": shift}, tensors)
