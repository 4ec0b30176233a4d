"""How far a similar prompt moves embeddings and frames: each video with its own and with shared embeddings."""

from dataclasses import replace
from statistics import mean

import numpy as np
import prompts
import quality
from fleet_stack.console import Problem
from lab import Lab

# What the prompt says around the scene; the embeddings are those of "a ...".
PATTERNS = ("{}", "A {}.", "a lovely {}", "{}, 4k, high quality", "a video of a stunning {}, highly detailed")
STEPS = 25
MAGIC_BYTES = 6


def embedding(fleet: Lab) -> dict[str, np.ndarray]:
    """The only one in Redis: rows, columns and pooled length, then the language model's rows and CLIP's pooled output."""
    keys = fleet.redis.keys("embed:*")
    if len(keys) != 1:
        raise Problem(f"one embedding was expected, not {len(keys)}")
    value = fleet.redis.get(keys[0])
    rows, columns, length = np.frombuffer(value, "<u4", 3, MAGIC_BYTES)
    numbers = np.frombuffer(value, "<f2", rows * columns + length, MAGIC_BYTES + 12).astype(float)
    return {"llm": numbers[: rows * columns].reshape(rows, columns).mean(0), "clip": numbers[rows * columns :]}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _moved(ours: dict, theirs: dict, videos: list[np.ndarray]) -> dict:
    return {
        "clip": cosine(ours["clip"], theirs["clip"]), "llm": cosine(ours["llm"], theirs["llm"]),
        "psnr": quality.psnr(*videos), "ssim": quality.ssim(*videos),
    }


def _fresh(fleet: Lab, request: dict) -> tuple[str, dict]:
    """A render with nothing cached: its job and its embedding."""
    fleet.redis.flushdb()
    return fleet.render([request])[0].job_id, embedding(fleet)


def _lent(fleet: Lab, scene: prompts.Scene, pattern: str, seed: int) -> dict:
    request = {"prompt": pattern.format(scene.prompt().removeprefix("a ")), "seed": seed, "infer_steps": STEPS, "step_cache": "off"}
    own, ours = _fresh(fleet, request)
    _, theirs = _fresh(fleet, {**request, "prompt": scene.prompt(), "infer_steps": 4})
    run = fleet.render([{**request, "similar_prompts": True}])[0]
    videos = [quality.frames(fleet.video(job)) for job in (own, run.job_id)]
    return {
        **_moved(ours, theirs, videos), "match": run.record["cache_match"], "score": run.record.get("cache_score"),
        "followed_own": quality.followed(videos[0], vars(scene)), "followed_lent": quality.followed(videos[1], vars(scene)),
    }


def _other(fleet: Lab, scene: prompts.Scene, seed: int) -> dict:
    """For scale: the same scene in another colour, which no similar prompt may be."""
    other = replace(scene, color=prompts.COLORS[prompts.COLORS.index(scene.color) - 1])
    request = {"seed": seed, "infer_steps": STEPS, "step_cache": "off"}
    first, ours = _fresh(fleet, {**request, "prompt": scene.prompt()})
    refused = fleet.render([{**request, "prompt": other.prompt(), "infer_steps": 4, "similar_prompts": True}])[0]
    second, theirs = _fresh(fleet, {**request, "prompt": other.prompt()})
    videos = [quality.frames(fleet.video(job)) for job in (first, second)]
    return {**_moved(ours, theirs, videos), "match": refused.record["cache_match"], "score": None}


def measure(fleet: Lab, scenes: int) -> list[dict]:
    """Means over some scenes for each pattern, and for another colour at the end."""
    out = []
    for number, pattern in enumerate(PATTERNS):
        cases = [_lent(fleet, scene, pattern, 300 + at) for at, scene in enumerate(prompts.scenes(scenes, 17 + number))]
        out.append(_means(pattern.format("..."), cases))
    cases = [_other(fleet, scene, 300 + at) for at, scene in enumerate(prompts.scenes(scenes, 17))]
    out.append(_means("for scale: another colour", cases))
    return out


def _means(name: str, cases: list[dict]) -> dict:
    matches = sorted({case["match"] for case in cases})
    numbers = {key: mean(case[key] for case in cases) for key, value in cases[0].items() if isinstance(value, float)}
    psnr = quality.mean_db([case["psnr"] for case in cases])
    return {"pattern": name, "match": " or ".join(matches), "score": None, **numbers, "psnr": psnr}
