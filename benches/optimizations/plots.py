"""The pictures of docs/optimizations.md."""

from __future__ import annotations

import matplotlib
from lab import ROOT

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)

IMAGES = ROOT / "docs/images"
BLUE, ORANGE, GREY = "#2b6cb0", "#c05621", "#a0aec0"


def _save(figure, name: str) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    # No dates inside, so that the same numbers give the same file.
    figure.savefig(IMAGES / name, dpi=90, metadata={"Software": None})
    pyplot.close(figure)


def steps(points: list[dict], name: str = "optimizations-steps.png") -> None:
    """Steps against quality, with and without the step cache at 50 steps, by the passes really computed."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6))
    plain = [p for p in points if p["kind"] == "steps"]
    cached = [p for p in points if p["kind"] == "threshold"]
    axes.plot([p["computed"] for p in plain], [p["psnr"] for p in plain], "o-", color=BLUE, label="fewer steps")
    axes.plot([p["computed"] for p in cached], [p["psnr"] for p in cached], "s-", color=ORANGE, label="50 steps, step cache")
    for p in cached:
        axes.annotate(f"{p['threshold']:g}", (p["computed"], p["psnr"]), textcoords="offset points", xytext=(4, 5), fontsize=8, color=ORANGE)
    axes.set(xlabel="steps that go through the transformer", ylabel="PSNR to the 50-step video, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, name)


def thresholds(points: list[dict], name: str = "optimizations-threshold.png") -> None:
    """Threshold against speed and quality."""
    cached = [p for p in points if p["kind"] == "threshold"]
    figure, left = pyplot.subplots(figsize=(6.4, 3.6))
    left.plot([p["threshold"] for p in cached], [p["speedup"] for p in cached], "s-", color=BLUE)
    left.set(xlabel="threshold of the step cache", xscale="log")
    left.set_ylabel("denoising, times faster", color=BLUE)
    right = left.twinx()
    right.plot([p["threshold"] for p in cached], [p["psnr"] for p in cached], "o-", color=ORANGE)
    right.set_ylabel("PSNR to the uncached video, dB", color=ORANGE)
    left.set_xticks([p["threshold"] for p in cached], [f"{p['threshold']:g}" for p in cached])
    left.minorticks_off()
    left.grid(alpha=0.3)
    _save(figure, name)


def before_after(rows: list[dict], name: str = "optimizations-before-after.png") -> None:
    """Seconds of each tier before and after, with what was promised for the scenarios beside what was measured."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6))
    places = range(len(rows))
    axes.bar([x - 0.2 for x in places], [row["before"] for row in rows], 0.38, color=GREY, label="before: 50 steps, no caches")
    bars = axes.bar([x + 0.2 for x in places], [row["after"] for row in rows], 0.38, color=BLUE, label="after")
    for bar, row in zip(bars, rows):
        share = 100 * (row["after"] / row["before"] - 1)
        axes.annotate(f"{share:+.0f} %", (bar.get_x() + bar.get_width() / 2, bar.get_height()), ha="center", va="bottom", fontsize=8)
    axes.set_xticks(list(places), [f"{row['name']}\n({row['jobs']} jobs)" for row in rows])
    axes.set_ylabel("seconds of a run, mean")
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    _save(figure, name)


def learning(phases: list[dict], floor: float, name: str = "optimizations-learning.png") -> None:
    """Average steps and quality as jobs go by."""
    figure, left = pyplot.subplots(figsize=(6.4, 3.6))
    left.plot([p["jobs"] for p in phases], [p["steps"] for p in phases], "o-", color=BLUE)
    left.set_xlabel("jobs finished")
    left.set_ylabel("planned steps, mean", color=BLUE)
    right = left.twinx()
    right.plot([p["jobs"] for p in phases], [p["psnr"] for p in phases], "s-", color=ORANGE)
    right.axhline(floor, color=ORANGE, linestyle=":", linewidth=1)
    right.set_ylabel("PSNR to the 50-step video, dB", color=ORANGE)
    left.grid(alpha=0.3)
    _save(figure, name)
