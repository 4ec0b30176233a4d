"""How much a smaller number of steps changes the videos, and what the pixel reader still finds in them.

`python -m training.steps MODEL_DIR` prints a Markdown table against 50 steps, same prompts and seeds.
"""

import argparse
import random
from pathlib import Path

import numpy as np

from . import captions, judge, reader
from .draw import all_scenes, is_held_out

STEPS = (10, 15, 18, 25, 35, 45)
REFERENCE_STEPS = 50


def psnr(clips, reference):
    """Mean over clips of the PSNR in dB; 99 for equal clips."""
    errors = [np.square(a.astype(np.float64) - b).mean() for a, b in zip(clips, reference)]
    return float(np.mean([99.0 if error == 0 else 10 * np.log10(255**2 / error) for error in errors]))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    wanted = parser.parse_args()
    pipeline = judge.load(wanted.model_dir, wanted.device)
    scenes = random.Random(29).sample([scene for scene in all_scenes() if is_held_out(scene)], wanted.scenes)
    prompts, seeds = [captions.plain(scene) for scene in scenes], list(range(wanted.scenes))
    reference = judge.render(pipeline, prompts, seeds, REFERENCE_STEPS)
    print("| steps | PSNR against 50 steps, dB | background | colour | motion | shape | size |\n|---|---|---|---|---|---|---|")
    for steps in (*STEPS, REFERENCE_STEPS):
        clips = reference if steps == REFERENCE_STEPS else judge.render(pipeline, prompts, seeds, steps)
        scores = reader.score([(scene, reader.read(clip)) for scene, clip in zip(scenes, clips)])
        values = [judge.floor(scores[field]) for field in ("background", "color", "motion", "shape", "size")]
        near = "same" if steps == REFERENCE_STEPS else f"{int(psnr(clips, reference) * 10) / 10}"
        print("|", " | ".join([str(steps), near, *map(str, values)]), "|", flush=True)


if __name__ == "__main__":
    main()
