"""diffusers' side of the benchmark: makes the random checkpoint and the noise, and measures one video.

Timed like the worker times itself: text encoding of one prompt, each denoising step, the VAE. What diffusers does between
the stages is left out, and so are the first-use costs of its text encoding. Decoding is as the pipeline does it by
default, like the worker's with `--tiling off`: no spatial tiles, temporal ones above 16 frames.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import HunyuanVideoPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from safetensors.torch import load_file, save_file

from tiny_checkpoints import Spec, build
from tiny_tokenizers import crop_start

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
# 4 double and 8 single blocks of width 768: the released proportions at a hundredth of the size.
SPEC = Spec(
    seed=5, heads=12, head_dim=64, rope_axes=(16, 24, 24), double=4, single=8, refiner=2,
    llm_hidden=512, llm_layers=8, llm_heads=8, llm_kv_heads=2, clip_hidden=256,
    latent_channels=16, vae_channels=(32, 64, 128, 128), vae_layers=2, vae_groups=8,
)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def latent_shape(size) -> tuple:
    width, height, frames = size
    return (1, SPEC.latent_channels, (frames - 1) // 4 + 1, height // 8, width // 8)


def prepare(options: dict) -> None:
    """Writes checkpoint and noise unless they are there; prints what they are."""
    shape = latent_shape(options["size"])
    write(options, partial(build, SPEC), shape, tokens=shape[2] * shape[3] // 2 * shape[4] // 2)


def write(options: dict, build_into: Callable[[Path], None], shape: tuple, tokens: int) -> None:
    """The same for a checkpoint that a function builds, and noise of a shape."""
    model, noise = Path(options["model"]), Path(options["latents"])
    if not (model / "model_index.json").exists():
        build_into(model)
    if not noise.exists():
        save_file({"initial_latents": torch.randn(shape, generator=torch.Generator().manual_seed(42))}, noise)
    weights = load_file(next((model / "transformer").glob("*.safetensors")))
    print(json.dumps({
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "tokens": tokens,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }))


@torch.no_grad()
def measure(options: dict) -> None:
    """One video; prints the seconds of each stage and the peak memory."""
    imports = peak_mib()
    torch.set_num_threads(options["threads"])
    clock = time.process_time if options.get("clock") == "cpu" else time.perf_counter
    began = clock()
    pipeline = HunyuanVideoPipeline.from_pretrained(options["model"], torch_dtype=DTYPES[options["dtype"]])
    loaded = clock() - began
    pipeline.set_progress_bar_config(disable=True)
    template = {"template": DEFAULT_PROMPT_TEMPLATE["template"]}
    template["crop_start"] = crop_start(pipeline.tokenizer, template["template"])
    pipeline.encode_prompt("a", prompt_template=template, device=torch.device("cpu"))

    began = clock()
    embeds, pooled, mask = pipeline.encode_prompt(options["prompt"], prompt_template=template, device=torch.device("cpu"))
    encoded = clock() - began

    width, height, frames = options["size"]
    ends = [clock()]
    steps = []

    def at_step_end(_pipeline, _step, _timestep, values):
        ends.append(clock())
        steps.append(ends[-1] - ends[-2])
        return values

    latents = pipeline(
        prompt_embeds=embeds, pooled_prompt_embeds=pooled, prompt_attention_mask=mask,
        height=height, width=width, num_frames=frames, num_inference_steps=options["steps"], guidance_scale=6.0,
        latents=load_file(options["latents"])["initial_latents"], output_type="latent", callback_on_step_end=at_step_end,
    ).frames

    began = clock()
    scaled = latents.to(pipeline.vae.dtype) / pipeline.vae.config.scaling_factor
    video = pipeline.vae.decode(scaled, return_dict=False)[0]
    pipeline.video_processor.postprocess_video(video, output_type="np")
    decoded = clock() - began
    # The first step sets things up in both programs; the median leaves it out, as the worker's does.
    median = sorted(steps)[len(steps) // 2]
    print(json.dumps({
        "load": round(loaded, 3), "encode": round(encoded, 4), "step": round(median, 4), "decode": round(decoded, 4),
        "memory": round(peak_mib(), 1), "memory_imports": round(imports, 1),
    }))


if __name__ == "__main__":
    {"prepare": prepare, "measure": measure}[sys.argv[1]](json.loads(sys.argv[2]))
