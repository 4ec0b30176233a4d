"""The pictures of docs/optimizations.md."""

import matplotlib
from fleet_stack.paths import ROOT

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)

BLUE, ORANGE, GREY = "#2b6cb0", "#c05621", "#a0aec0"


def _save(figure, axes, name: str) -> None:
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    figure.tight_layout()
    # No dates inside, so that the same numbers give the same file.
    figure.savefig(ROOT / f"docs/images/optimizations-{name}.png", dpi=90, metadata={"Software": None})
    pyplot.close(figure)


def _two_scales(points: list[dict], x: str, left: tuple[str, str], right: tuple[str, str]):
    """Two curves over one axis, each (key, label) with a scale of its own."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6))
    for part, (key, label), colour, mark in ((axes, left, BLUE, "o-"), (axes.twinx(), right, ORANGE, "s-")):
        part.plot([p[x] for p in points], [p[key] for p in points], mark, color=colour)
        part.set_ylabel(label, color=colour)
    return figure, axes, part


def steps(points: list[dict]) -> None:
    """Steps against quality, with and without the step cache at 50 steps, by the passes really computed."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6))
    for kind, mark, colour, label in (("steps", "o-", BLUE, "fewer steps"), ("threshold", "s-", ORANGE, "50 steps, step cache")):
        chosen = [p for p in points if p["kind"] == kind]
        axes.plot([p["computed"] for p in chosen], [p["psnr"] for p in chosen], mark, color=colour, label=label)
    for p in chosen:
        axes.annotate(f"{p['threshold']:g}", (p["computed"], p["psnr"]), textcoords="offset points", xytext=(4, 5), fontsize=8, color=ORANGE)
    axes.set(xlabel="steps that go through the transformer", ylabel="PSNR to the 50-step video, dB")
    _save(figure, axes, "steps")


def thresholds(points: list[dict]) -> None:
    """Threshold against speed and quality."""
    cached = [p for p in points if p["kind"] == "threshold"]
    figure, axes, _ = _two_scales(cached, "threshold", ("speedup", "denoising, times faster"), ("psnr", "PSNR to the uncached video, dB"))
    axes.set(xlabel="threshold of the step cache", xscale="log")
    axes.set_xticks([p["threshold"] for p in cached], [f"{p['threshold']:g}" for p in cached])
    axes.minorticks_off()
    _save(figure, axes, "threshold")


def before_after(rows: list[dict]) -> None:
    """Seconds of each tier before and after."""
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6))
    places = range(len(rows))
    axes.bar([x - 0.2 for x in places], [row["before"] for row in rows], 0.38, color=GREY, label="before: 50 steps, no caches")
    bars = axes.bar([x + 0.2 for x in places], [row["after"] for row in rows], 0.38, color=BLUE, label="after")
    axes.bar_label(bars, [f"{100 * (row['after'] / row['before'] - 1):+.0f} %" for row in rows], fontsize=8)
    axes.set_xticks(list(places), [f"{row['name']}\n({row['jobs']} jobs)" for row in rows])
    axes.set_ylabel("seconds of a run, mean")
    _save(figure, axes, "before-after")


def learning(phases: list[dict], floor: float) -> None:
    """Average steps and quality as jobs go by."""
    figure, axes, right = _two_scales(phases, "jobs", ("steps", "planned steps, mean"), ("psnr", "PSNR to the 50-step video, dB"))
    right.axhline(floor, color=ORANGE, linestyle=":", linewidth=1)
    axes.set_xlabel("jobs finished")
    _save(figure, axes, "learning")
