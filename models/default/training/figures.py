"""Judges an exported checkpoint through the unmodified diffusers pipeline with the trained reader; draws contact sheets."""

import json
import logging
import random
import time

import numpy as np
import torch
from diffusers import HunyuanVideoPipeline
from PIL import Image

from . import config, judge, words
from .draw import FRAMES, FPS, Painter
from .world import sample

SHEET_PROMPTS = (
    "A cat walks on grass", "a red car drives to the left in the city at night", "a dog and a cat run to the right on the beach",
    "一只小鸟在天空中向右飞，日落时", "a rocket flies up in space", "a boat sails to the right in the sea at sunset, the camera pans right",
    "a large red ball moves to the right on the snow", "a house on the snow, the camera zooms in",
)  # fmt: skip
log = logging.getLogger(__name__)


def load(model_dir, device):
    """The pipeline in single precision, quiet; on a GPU its products run in bfloat16 (see `render`)."""
    pipeline = HunyuanVideoPipeline.from_pretrained(model_dir, torch_dtype=torch.float32).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def render(pipeline, prompts, seeds, steps, side):
    """Clips (B, 3, T, side, side) in 0..1, one for each prompt and seed."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.autocast(pipeline.device.type, torch.bfloat16, enabled=pipeline.device.type == "cuda"):
        frames = pipeline(
            prompt=list(prompts), height=side, width=side, num_frames=FRAMES, num_inference_steps=steps,
            guidance_scale=config.GUIDANCE, generator=generators, output_type="pt", max_sequence_length=config.TEXT_TOKENS,
        ).frames  # fmt: skip
    return frames.float().clamp(0, 1).transpose(1, 2)


@torch.no_grad()
def through_autoencoder(run, pipeline, reader, count):
    """Mean PSNR in dB of unseen clips through the autoencoder as the pipeline decodes (in tiles), and what is read there."""
    pairs, psnr = [], []
    for scenes, clips in judge.drawn(run, count, random.Random(23)):
        decoded = pipeline.vae.decode(pipeline.vae.encode(clips * 2 - 1).latent_dist.mode()).sample
        decoded = (decoded / 2 + 0.5).clamp(0, 1)
        psnr += (-10 * (decoded - clips).square().mean((1, 2, 3, 4)).log10()).tolist()
        pairs += zip(scenes, reader(decoded))
    return {"psnr_db": judge.floor(sum(psnr) / len(psnr)), "read": judge.score(pairs)}


def report(run, model_dir, out, steps=None, reader=None):
    """Writes `judgement.json` and `sheet.png` into `out`, more and more of them until the time is over."""
    preset, steps = run.preset, steps or run.preset.judge_steps
    pipeline, reader = load(model_dir, run.device), judge.reader_of(run, reader)
    contact_sheet(pipeline, SHEET_PROMPTS[: preset.judged], steps, preset.side, out / "sheet.png")
    drawn = min(600, 5 * preset.judged)
    figures = {"preset": run.name, "side": preset.side, "steps": steps, "read_on_drawn_clips": judge.on_drawn_clips(run, reader, drawn)}
    figures["autoencoder"] = through_autoencoder(run, pipeline, reader, drawn // 3)
    chooser, pairs, batch = random.Random(17), [], 50 if run.device.type == "cuda" else 2
    while len(pairs) < preset.judged and (not pairs or time.monotonic() < run.deadline_s):
        scenes = [sample(chooser, preset.world, held_out=True) for _ in range(min(batch, preset.judged - len(pairs)))]
        prompts = [words.plain(scene, words.chinese if number % 3 == 2 and not preset.world.simple else words.english) for number, scene in enumerate(scenes)]
        clips = render(pipeline, prompts, range(len(pairs), len(pairs) + len(scenes)), steps, preset.side)
        pairs += zip(scenes, reader(clips))
        figures |= {"held_out_prompts": len(pairs), "read_in_videos": judge.score(pairs)}
        for kind, wanted in (("shapes", True), ("pictures", False)):
            figures[f"read_in_videos_of_{kind}"] = judge.score([pair for pair in pairs if pair[0].is_shape == wanted])
        (out / "judgement.json").write_text(json.dumps(figures, indent=2) + "\n")
    log.info("judgement: %s", json.dumps(figures))


def picture_of(clips, path, columns=1):
    """A PNG with one row of every fourth frame for each clip (3, T, H, W) in 0..1."""
    rows = [np.concatenate([_bytes(clip[:, frame]) for frame in range(0, clip.shape[1], 4)], 1) for clip in clips]
    tall = -(-len(rows) // columns)
    rows += [np.zeros_like(rows[0])] * (tall * columns - len(rows))
    blocks = [np.concatenate(rows[first : first + tall], 0) for first in range(0, len(rows), tall)]
    Image.fromarray(np.concatenate(blocks, 1)).save(path, optimize=True)


def _bytes(frame):
    return frame.permute(1, 2, 0).mul(255).round().byte().cpu().numpy()


def contact_sheet(pipeline, prompts, steps, side, path):
    """A picture with one row of frames for each prompt."""
    picture_of(render(pipeline, prompts, [3] * len(prompts), steps, side), path, columns=2)


def drawn_sheet(preset, seed, count, path):
    """A picture of drawn clips, to look at the world; returns their captions."""
    chooser = random.Random(seed)
    scenes = [sample(chooser, preset.world, shape_chance=0.15) for _ in range(count)]
    picture_of(Painter(preset.side, "cpu", preset.world).clips(scenes, chooser)[0], path, columns=2)
    return [f"{words.write(scene, chooser)[0]} ({FRAMES} frames, {FPS} a second)" for scene in scenes]
