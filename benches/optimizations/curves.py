"""Quality by the number of steps, and by the step cache's threshold at 50 steps."""

import statistics

import prompts
import quality
from fleet_stack.console import say
from lab import Lab, Run

BASELINE_STEPS = 50
STEPS = (10, 15, 18, 25, 35, 45)
THRESHOLDS = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4)
# Thresholds measured with one start of the scheduler, each as the own threshold of one of these tiers.
TIERS = ("standard", "premium")


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
    for start in range(0, len(THRESHOLDS), len(TIERS)):
        pairs = list(zip(TIERS, THRESHOLDS[start : start + len(TIERS)]))
        own = {f"FLEET__TIERS__{tier.upper()}__STEP_CACHE_THRESHOLD": str(threshold) for tier, threshold in pairs}
        # A tier's own threshold holds in the tier's own mode.
        fleet.start("scheduler", **own, **{f"FLEET__TIERS__{tier.upper()}__STEP_CACHE": "fast" for tier in TIERS})
        full = whole()
        for tier, threshold in pairs:
            runs = fleet.render([{**case, "infer_steps": BASELINE_STEPS, "quality_tier": tier, "step_cache": "fast"} for case in cases])
            points.append({"kind": "threshold", "threshold": threshold, **_point(fleet, runs, full, videos)})
        say(f"step cache: threshold {pairs[-1][1]} and below")
    return points
