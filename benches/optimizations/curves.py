"""Quality by the number of steps, and by the step cache's threshold at 50 steps."""

from __future__ import annotations

import statistics

import prompts
import quality
from fleet_stack.console import say
from lab import Lab, Run

BASELINE_STEPS = 50
STEPS = (10, 15, 18, 25, 35, 45)
# Balanced and fast of one scheduler.
THRESHOLDS = ((0.0125, 0.025), (0.05, 0.1), (0.2, 0.4))


def _point(fleet: Lab, runs: list[Run], whole: list[Run], videos: list) -> dict:
    """What some runs are against the 50-step videos, which were rendered beside them, so that a busy machine slows both."""
    shown = [quality.frames(fleet.video(run.job_id)) for run in runs]
    faster = [full.record["stages"]["denoise_s"] / run.record["stages"]["denoise_s"] for run, full in zip(runs, whole)]
    return {
        "computed": statistics.mean(run.record["steps_computed"] for run in runs), "speedup": statistics.median(faster),
        "psnr": quality.mean_db(list(map(quality.psnr, shown, videos))), "ssim": statistics.mean(map(quality.ssim, shown, videos)),
    }


def measure(fleet: Lab, count: int) -> list[dict]:
    """The points of both curves, over `count` prompts."""
    cases = [{"prompt": scene.prompt(), "seed": 200 + number} for number, scene in enumerate(prompts.scenes(count, 13))]
    plain = [{**case, "step_cache": "off"} for case in cases]

    def whole() -> list[Run]:
        return fleet.render([{**case, "infer_steps": BASELINE_STEPS} for case in plain])

    full = whole()
    videos = [quality.frames(fleet.video(run.job_id)) for run in full]
    points = []
    for steps in STEPS:
        runs = fleet.render([{**case, "infer_steps": steps} for case in plain])
        points.append({"kind": "steps", "steps": steps, **_point(fleet, runs, full, videos)})
    for balanced, fast in THRESHOLDS:
        names = ("BALANCED", "FAST")
        fleet.start("scheduler", **{f"FLEET__OPTIMIZATION__STEP_CACHE_{name}_THRESHOLD": str(value) for name, value in zip(names, (balanced, fast))})
        full = whole()
        for mode, threshold in (("balanced", balanced), ("fast", fast)):
            runs = fleet.render([{**case, "infer_steps": BASELINE_STEPS, "step_cache": mode} for case in cases])
            points.append({"kind": "threshold", "threshold": threshold, **_point(fleet, runs, full, videos)})
        say(f"step cache: threshold {fast} and below")
    return points
