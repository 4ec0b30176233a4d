"""Writes the fixtures of HunyuanVideo 1.5, as `generate.py` does for 1.0 and in the same environment.

    .venv/bin/python generate_v1_5.py ../tests/fixtures/v1_5              # all
    .venv/bin/python generate_v1_5.py ../tests/fixtures/v1_5 base plain   # these
"""

from functools import partial

from chosen import write
from record_v1_5 import Case, record, record_text
from tiny_v1_5 import Spec, build

MODELS = {
    "base": Spec(),
    "wide": Spec(
        seed=103, heads=3, head_dim=16, rope_axes=(2, 6, 8), layers=1, refiner=2, mlp_ratio=3.0, llm_kv_heads=4, llm_layers=3,
        glyph_hidden=16, glyph_heads=2, latent_channels=2, vae_channels=(4, 8, 8, 8, 8), vae_layers=2, match_channel=False, shift=9.0,
    ),
    "deep": Spec(
        seed=105, heads=1, head_dim=16, layers=4, llm_layers=3, glyph_heads=3, vae_channels=(4, 8, 8, 8), spatial=8, temporal=4,
        shift=7.0, guidance=1.0,
    ),
}

SMALL_TILES = {
    "tile_sample_min_height": 64, "tile_sample_min_width": 64, "tile_latent_min_height": 4, "tile_latent_min_width": 4,
    "tile_overlap_factor": 0.25,
}
LONG = " ".join(
    f"a {c} {s} object moves slowly across the wide field" for c in ("red", "blue", "green", "white", "grey")
    for s in ("round", "square", "tall", "tiny", "large", "bright", "dark", "old")
)
PROMPTS = {
    "plain": "A cat walks on the grass, realistic style",
    "empty": "",
    "chinese": "一只猫举着写有“你好，世界”的牌子",
    "quotes": 'say "Hi" and “你好” and "Hi" and ""',
    "long": f'{LONG} "{LONG}"',
    "blank": "  \n\n leading and trailing blanks \t\n",
    "special": 'text with <|im_end|> and "a </s> b <pad> c<extra_id_3>d" inside {braces}',
    "open": "\"a\nb\" and 'single' and \"open",
    "emoji": 'A 🐈 sign "l\'été — 🌧️" 12345',
}

CASES = [
    Case("base", "model", blocks=True),
    Case("plain", "../base/model", prompt="A cat walks on the grass", guidance_scale=1.0, width=32, frames=9, steps=3),
    Case("chinese", "../base/model", prompt=PROMPTS["chinese"], negative_prompt="blurry, “水印”", guidance_scale=3.5, frames=9),
    Case("frame", "../base/model", prompt="", frames=1, width=64, height=16, steps=3),
    Case("longest", "../base/model", prompt=PROMPTS["long"], frames=13, width=16, steps=1, guidance_scale=1.0),
    Case("wide", "model", frames=17, steps=4),
    Case("wide_tiled", "../wide/model", width=112, height=80, frames=1, steps=1, guidance_scale=1.0, tiling=SMALL_TILES),
    Case("big", "../base/model", width=304, height=32, frames=1, steps=1, tiling={}),
    Case("deep", "model", frames=9, steps=5),
    Case("deep_guided", "../deep/model", negative_prompt='no "text"', guidance_scale=2.0, height=40),
    Case("bf16", "../base/model", dtype="bf16", frames=9, steps=6),
]
TEXT_CASES = {"text": "../base/model", "text_wide": "../wide/model"}


if __name__ == "__main__":
    texts = {name: partial(record_text, model=model, prompts=PROMPTS) for name, model in TEXT_CASES.items()}
    write(MODELS, build, CASES, record, texts)
