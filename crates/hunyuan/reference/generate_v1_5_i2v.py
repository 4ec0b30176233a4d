"""Writes the fixtures of HunyuanVideo 1.5's image-to-video, as `generate_v1_5.py` does for text-to-video.

    .venv/bin/python generate_v1_5_i2v.py ../tests/fixtures/v1_5_i2v            # all
    .venv/bin/python generate_v1_5_i2v.py ../tests/fixtures/v1_5_i2v base bf16  # these
"""

from chosen import write
from generate_v1_5 import SMALL_TILES
from record_v1_5_i2v import Case, record, record_sizes
from tiny_v1_5 import Spec
from tiny_v1_5_i2v import ImageSpec, build

MODELS = {
    "base": ImageSpec(Spec(seed=200, llm_layers=3, glyph_layers=1, vae_channels=(4, 4, 4, 8, 8))),
    # Widths that do not match between levels, and what a step-distilled checkpoint has: a second time, no guidance.
    "distilled": ImageSpec(
        Spec(
            seed=203, rope_axes=(2, 6, 8), layers=1, llm_hidden=16, llm_layers=3, llm_kv_heads=4, glyph_layers=1, glyph_hidden=16,
            glyph_heads=2, latent_channels=2, vae_channels=(4, 4, 8, 8, 8), match_channel=False, shift=7.0, guidance=1.0,
        ),
        target_size=32, meanflow=True, image_size=30, patch=10, layers=3, heads=4, intermediate=24,
    ),
    # Another compression: sizes are multiples of 8.
    "eight": ImageSpec(
        Spec(
            seed=205, heads=1, layers=1, llm_hidden=16, llm_layers=3, glyph_layers=1, vae_channels=(4, 4, 8, 8), spatial=8, temporal=4,
            shift=5.0,
        ),
        target_size=40, layers=1,
    ),
}

CASES = [
    Case("base", "model", file=True),
    Case("upright", "../base/model", prompt="A cat walks on the grass", negative_prompt='no "text"', picture=(50, 90), steps=3),
    Case("unguided", "../base/model", prompt="A dog runs", guidance_scale=1.0, picture=(40, 40), frames=1, steps=3),
    # Smaller than the video: the picture is enlarged.
    Case("small", "../base/model", prompt='“你好”', picture=(21, 17), guidance_scale=2.0, frames=1),
    Case("distilled", "model", picture=(61, 47), frames=9, steps=4),
    Case("eight", "model", picture=(80, 33)),
    Case("tiled", "../distilled/model", picture=(100, 45), frames=1, steps=1, target_size=96, tiling=SMALL_TILES),
    Case("bf16", "../base/model", dtype="bf16", frames=5, steps=3),
]


if __name__ == "__main__":
    write(MODELS, build, CASES, record, {"sizes": lambda folder: record_sizes(folder.with_suffix(".json"))})
