"""Writes the fixtures: small random checkpoints, and what diffusers and transformers compute with them.

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python generate.py ../tests/fixtures            # all
    .venv/bin/python generate.py ../tests/fixtures base cfg   # these

Each folder holds `case.json` (what to run), `reference.safetensors` (what came out) and, unless the case borrows
another folder's, `model/` in the diffusers layout.
"""

from functools import partial

from chosen import write
from record import Case, record, record_text
from tiny_checkpoints import Spec, build

MODELS = {
    "base": Spec(),
    "wide": Spec(
        seed=3, heads=3, head_dim=24, rope_axes=(4, 8, 12), double=1, single=3, refiner=1, mlp_ratio=3.0, guidance=False,
        latent_channels=8, vae_channels=(4, 8, 8, 16), vae_layers=2, vae_groups=4, mid_attention=False, shift=5.0,
    ),
    "deep": Spec(seed=5, heads=4, head_dim=16, rope_axes=(4, 6, 6), double=0, single=1, refiner=3, llm_kv_heads=4, clip_act="gelu"),
}

SMALL_TILES = {
    "tile_sample_min_height": 32, "tile_sample_min_width": 32, "tile_sample_min_num_frames": 8,
    "tile_sample_stride_height": 24, "tile_sample_stride_width": 16, "tile_sample_stride_num_frames": 4,
}

LONG = " ".join(f"a {c} {s} object moves slowly across the wide field" for c in ("red", "blue", "green", "white") for s in ("round", "square", "tall", "tiny", "large", "bright", "dark", "old"))
PROMPTS = {
    "plain": "A cat walks on the grass, realistic style",
    "empty": "",
    "chinese": "一只猫在草地上行走，写实风格",
    "emoji": "A 🐈 walks 🚶‍♀️ under the 🌧️, it's l'été — naïve café",
    "long": LONG,
    "blank": "  \n\n leading and trailing blanks \t\n",
    "special": "text with <|eot_id|> and <|endoftext|> inside {braces} \\ \"quotes\"",
    "decomposed": "Cafe\u0301 RE\u0301SUME\u0301 ﬁne Ⅻ ١٢٣ 12345",
}

CASES = [
    Case("base", "model", blocks=True, steps=3, width=32, height=32, frames=5),
    Case("wide", "model", steps=4, width=64, height=48, frames=25, tiling=SMALL_TILES),
    Case("deep", "model", steps=2, width=64, height=32, frames=1),
    Case("cfg", "../base/model", negative_prompt="blurry, bad", true_cfg_scale=3.0, flow_shift=3.0, guidance=4.5, frames=17),
    Case("longest", "../base/model", width=32, height=48, frames=33, steps=3),
    Case("rev", "../base/model", flow_reverse=False, frames=21),
    Case("bf16", "../base/model", dtype="bf16", frames=9, steps=6, width=64, height=64),
    Case("bf16wide", "../wide/model", dtype="bf16", frames=9, steps=10),
    Case("big", "../base/model", width=272, height=304, frames=1, steps=1, tiling={}),
]
TEXT_CASES = {"text": "../base/model", "text_wide": "../wide/model", "text_deep": "../deep/model"}


if __name__ == "__main__":
    texts = {name: partial(record_text, model=model, prompts=PROMPTS) for name, model in TEXT_CASES.items()}
    write(MODELS, build, CASES, record, texts)
