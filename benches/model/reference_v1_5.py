"""diffusers' side of the benchmark for HunyuanVideo 1.5's image-to-video; see `reference.py` for what is timed and what is left out.

The picture is timed from its crop to the image encoder's states and the first frame's latents. Steps have two passes, since the checkpoint
asks for guidance.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import HunyuanVideo15ImageToVideoPipeline
from PIL import Image
from safetensors.torch import load_file

from record_v1_5 import load
from reference import DTYPES, peak_mib, write
from tiny_v1_5 import Spec
from tiny_v1_5_i2v import ImageSpec, build

# 8 blocks of width 768; everything else at the released proportions, about a tenth of the released widths.
SPEC = ImageSpec(
    Spec(
        seed=5, heads=12, head_dim=64, rope_axes=(16, 24, 24), layers=8, refiner=2, llm_hidden=512, llm_layers=8, llm_heads=8, llm_kv_heads=2,
        glyph_hidden=256, glyph_heads=4, glyph_head_dim=64, glyph_layers=4, latent_channels=16, vae_channels=(32, 64, 128, 256, 256), vae_layers=2,
    ),
    target_size=256, width=256, image_size=224, patch=14, layers=8, heads=4, intermediate=1024,
)


def latent_shape(size) -> tuple:
    width, height, frames = size
    return (1, SPEC.base.latent_channels, (frames - 1) // 4 + 1, height // 16, width // 16)


def prepare(options: dict) -> None:
    """Writes checkpoint, picture and noise unless they are there; prints what they are."""
    picture = Path(options["image"])
    if not picture.exists():
        pixels = np.random.default_rng(1).integers(0, 256, (720, 720, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
    shape = latent_shape(options["size"])
    write(options, partial(build, SPEC), shape, tokens=shape[2] * shape[3] * shape[4])


@torch.no_grad()
def measure(options: dict) -> None:
    """One video; prints the seconds of each stage and the peak memory."""
    imports = peak_mib()
    torch.set_num_threads(options["threads"])
    clock = time.process_time if options.get("clock") == "cpu" else time.perf_counter
    began = clock()
    pipeline = load(Path(options["model"]), DTYPES[options["dtype"]], HunyuanVideo15ImageToVideoPipeline)
    loaded = clock() - began
    cpu = torch.device("cpu")
    pipeline.encode_prompt("a", device=cpu)

    began = clock()
    for prompt in (options["prompt"], ""):
        pipeline.encode_prompt(prompt, device=cpu)
    encoded = clock() - began

    width, height, frames = options["size"]
    picture = Image.open(options["image"]).convert("RGB")
    began = clock()
    cropped = pipeline.video_processor.resize(picture, height=height, width=width, resize_mode="crop")
    pipeline.encode_image(cropped, 1, cpu, pipeline.transformer.dtype)
    pipeline._get_image_latents(pipeline.vae, pipeline.video_processor, cropped, height, width, cpu)
    seen = clock() - began

    ends, step = [], pipeline.scheduler.step

    def timed(*args, **kwargs):
        result = step(*args, **kwargs)
        ends.append(clock())
        return result

    pipeline.scheduler.step = timed
    latents = pipeline(
        image=picture, prompt=options["prompt"], num_frames=frames, num_inference_steps=options["steps"],
        latents=load_file(options["latents"])["initial_latents"], output_type="latent",
    ).frames

    began = clock()
    scaled = latents.to(pipeline.vae.dtype) / pipeline.vae.config.scaling_factor
    video = pipeline.vae.decode(scaled, return_dict=False)[0]
    pipeline.video_processor.postprocess_video(video, output_type="np")
    decoded = clock() - began
    # From the end of one step to the end of the next: the first, which sets things up, is left out.
    steps = sorted(after - before for before, after in zip(ends, ends[1:]))
    print(json.dumps({
        "load": round(loaded, 3), "encode": round(encoded, 4), "picture": round(seen, 4), "step": round(steps[len(steps) // 2], 4),
        "decode": round(decoded, 4), "memory": round(peak_mib(), 1), "memory_imports": round(imports, 1),
    }))


if __name__ == "__main__":
    {"prepare": prepare, "measure": measure}[sys.argv[1]](json.loads(sys.argv[2]))
