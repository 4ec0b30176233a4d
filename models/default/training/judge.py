"""Judges an exported checkpoint through the unmodified diffusers pipeline with the pixel reader.

`python -m training.judge MODEL_DIR` prints the scores over held-out scenes and may draw a contact sheet.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import HunyuanVideoPipeline
from PIL import Image

from . import captions, config, reader
from .draw import all_scenes, draw, is_held_out


def load(model_dir, device="cpu"):
    """The pipeline in single precision, quiet."""
    pipeline = HunyuanVideoPipeline.from_pretrained(model_dir, torch_dtype=torch.float32).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def render(pipeline, prompts, seeds, steps):
    """Clips of bytes, a list of (T, H, W, 3), one for each prompt and seed."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.no_grad():
        frames = pipeline(
            prompt=list(prompts), height=config.HEIGHT, width=config.WIDTH, num_frames=config.FRAMES,
            num_inference_steps=steps, guidance_scale=config.GUIDANCE, generator=generators, output_type="np",
            max_sequence_length=48,
        ).frames
    return [np.rint(clip * 255).clip(0, 255).astype(np.uint8) for clip in frames]


def held_out_scores(pipeline, scenes, seeds, steps, batch):
    """The reader's scores over `scenes` held-out scenes, each with a caption that says everything, and `seeds` seeds."""
    chooser = random.Random(17)
    chosen = chooser.sample([scene for scene in all_scenes() if is_held_out(scene)], scenes)
    work = [(scene, seed) for scene in chosen for seed in range(seeds)]
    pairs = []
    for first in range(0, len(work), batch):
        group = work[first : first + batch]
        clips = render(pipeline, [captions.plain(scene) for scene, _ in group], [seed for _, seed in group], steps)
        pairs += [(scene, reader.read(clip)) for (scene, _), clip in zip(group, clips)]
    return reader.score(pairs), pairs


def reader_on_raw_clips(count):
    """The reader's scores on drawn clips: what it reads when the video is perfect."""
    chooser, generator = random.Random(19), torch.Generator().manual_seed(19)
    scenes = [chooser.choice(all_scenes()) for _ in range(count)]
    clips = [draw(scene, generator)[0].permute(1, 2, 3, 0).mul(255).round().byte().numpy() for scene in scenes]
    return reader.score([(scene, reader.read(clip)) for scene, clip in zip(scenes, clips)])


def vae_on_unseen_clips(pipeline, count):
    """Mean PSNR in dB through the autoencoder as the pipeline decodes (in tiles), and the reader's scores there."""
    chooser, generator = random.Random(23), torch.Generator().manual_seed(23)
    held_out = [scene for scene in all_scenes() if is_held_out(scene)]
    pairs, psnr = [], []
    for _ in range(count):
        scene = chooser.choice(held_out)
        clip = draw(scene, generator)[0][None].to(pipeline.device)
        with torch.no_grad():
            decoded = pipeline.vae.decode(pipeline.vae.encode(clip * 2 - 1).latent_dist.mode()).sample
        decoded = (decoded / 2 + 0.5).clamp(0, 1)
        psnr.append(-10 * float((decoded - clip).square().mean().log10()))
        pairs.append((scene, reader.read(decoded[0].permute(1, 2, 3, 0).mul(255).round().byte().cpu().numpy())))
    return sum(psnr) / count, reader.score(pairs)


def contact_sheet(pipeline, prompts, steps, path):
    """A picture with one row of frames for each prompt."""
    clips = render(pipeline, prompts, [3] * len(prompts), steps)
    rows = [np.concatenate([clip[frame] for frame in range(0, config.FRAMES, 2)], axis=1) for clip in clips]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path, optimize=True)


def floor(value):
    """Three decimals, never rounded up."""
    return int(value * 1000 + 1e-9) / 1000


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet here (PNG)")
    parser.add_argument("--prompts", nargs="*", default=[], help="prompts of the contact sheet")
    wanted = parser.parse_args()
    pipeline = load(wanted.model_dir, wanted.device)
    if wanted.sheet:
        contact_sheet(pipeline, wanted.prompts, wanted.steps, wanted.sheet)
    psnr, through_vae = vae_on_unseen_clips(pipeline, min(wanted.scenes, 100))
    scores, _ = held_out_scores(pipeline, wanted.scenes, wanted.seeds, wanted.steps, wanted.batch)
    report = {
        "reader_on_raw_clips": reader_on_raw_clips(500),
        "vae_psnr_db": psnr,
        "reader_through_vae": through_vae,
        "generated": scores,
        "clips": wanted.scenes * wanted.seeds,
        "steps": wanted.steps,
    }
    shorten = lambda item: {k: shorten(v) for k, v in item.items()} if isinstance(item, dict) else floor(item)  # noqa: E731
    print(json.dumps(shorten(report), indent=2))


if __name__ == "__main__":
    main()
