"""The numbers as the Markdown that goes into docs/optimizations.md."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from statistics import mean, median

from lab import ROOT, Problem, Run, say

DOCUMENT = ROOT / "docs/optimizations.md"
TIERS = ("preview", "standard", "premium")
# Jobs of the mix that came after the fleet had seen thirty of its own.
SETTLED_AFTER = 30


def write(name: str, text: str) -> None:
    """Replaces what stands between the markers of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    document = DOCUMENT.read_text()
    if begin not in document or end not in document:
        raise Problem(f"{DOCUMENT.relative_to(ROOT)} has no markers {begin}")
    before, _, rest = document.partition(begin)
    DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
    say(f"\nwritten into {DOCUMENT.relative_to(ROOT)}")


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    threads = os.environ.get("BENCH_THREADS", "0")
    used = f"{os.cpu_count()} cores" if threads == "0" else f"{threads} thread of {os.cpu_count()} cores"
    load = os.getloadavg()[1]
    return f"{model}, {used}, load of the machine at the end {load:.1f}"


def less(before: float, after: float) -> str:
    """How much shorter, in per cent."""
    return f"{100 * (1 - after / before):.0f} %"


def scenario_table(cells: dict, scenarios: dict) -> list[str]:
    lines = [
        "| scenario | before, steps | before | promised | steps and embeddings alone | with the step cache too |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    names = {"simple": "simple prompt", "very_complex": "complex prompt"}
    for complexity, scenario in scenarios.items():

        def seconds(cell: str) -> float:
            return median(run.seconds for run in cells[complexity, cell])

        before = seconds("before")
        for cell, words in (("first", "first time"), ("cached", "cached")):
            runs = cells[complexity, cell]
            planned, computed = mean(r.facts["steps"] for r in runs), mean(r.record["steps_computed"] for r in runs)
            plain, tuned = seconds(f"{cell}_steps"), seconds(cell)
            lines.append(
                f"| {names[complexity]}, {words} | {scenario['before_steps']} | {before:.2f} s | {scenario[cell]:.0f} % less "
                f"| {plain:.2f} s, {planned:.0f} steps: {less(before, plain)} less | {tuned:.2f} s, {computed:.0f} computed: {less(before, tuned)} less |"
            )
    return lines


def by_tier(rows: list[dict]) -> list[dict]:
    """Means of each tier and of all."""
    groups = [(tier, [row for row in rows if row["tier"] == tier]) for tier in TIERS]
    out = []
    for name, group in [*((n, g) for n, g in groups if g), ("all", rows)]:
        before, after = [row["before"] for row in group], [row["after"] for row in group]
        out.append({
            "name": name, "jobs": len(group), "before": mean(r.seconds for r in before), "after": mean(r.seconds for r in after),
            "cost_before": mean(r.record["cost_usd"] for r in before), "cost_after": mean(r.record["cost_usd"] for r in after),
            "steps": mean(r.facts["steps"] for r in after), "computed": mean(r.record["steps_computed"] for r in after),
            "hits": mean(r.record["cache_match"] == "identical" for r in after),
            **{key: mean(row[key] for row in group) for key in ("psnr", "ssim", "followed_before", "followed_after")},
        })
    return out


def mix_table(rows: list[dict]) -> list[str]:
    lines = [
        "| tier | jobs | seconds before | after | saved | cost before, US$ | after | hits | steps planned | computed | PSNR, dB | SSIM | text followed before | after |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in by_tier(rows):
        lines.append(
            f"| {row['name']} | {row['jobs']} | {row['before']:.2f} | {row['after']:.2f} | {less(row['before'], row['after'])} "
            f"| {row['cost_before']:.5f} | {row['cost_after']:.5f} | {100 * row['hits']:.0f} % | {row['steps']:.1f} | {row['computed']:.1f} "
            f"| {row['psnr']:.1f} | {row['ssim']:.3f} | {100 * row['followed_before']:.0f} % | {100 * row['followed_after']:.0f} % |"
        )
    return lines


def estimate_errors(runs: list[Run]) -> tuple[float, float]:
    """Median relative error of the estimates told at planning, and the median spread of runs alike, which no estimate can beat."""
    errors = [abs(run.facts["estimate_s"] - run.seconds) / run.seconds for run in runs]
    kinds: dict[tuple, list[float]] = {}
    for run in runs:
        kinds.setdefault((run.record["steps_computed"], run.record["steps_skipped"]), []).append(run.seconds)
    spread = [abs(s - median(kind)) / s for kind in kinds.values() if len(kind) > 2 for s in kind]
    return median(errors), median(spread) if spread else 0.0


def curve_table(points: list[dict]) -> list[str]:
    lines = ["| | steps computed | denoising, times faster | PSNR, dB | SSIM |", "|---|---:|---:|---:|---:|"]
    for p in points:
        name = f"{p['steps']} steps" if p["kind"] == "steps" else f"50 steps, threshold {p['threshold']:g}"
        lines.append(f"| {name} | {p['computed']:.1f} | {p['speedup']:.2f} | {p['psnr']:.1f} | {p['ssim']:.3f} |")
    return lines


def similar_table(moved: list[dict]) -> list[str]:
    lines = [
        "| asked with the embeddings of \"a ...\" | match | score | cosine of the pooled embeddings | PSNR, dB | SSIM | text followed with its own, with the other's |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in moved:
        score = "" if row["score"] is None else f"{row['score']:.2f}"
        own, lent = (f"{100 * share:.0f} %" for share in row["followed"])
        lines.append(f"| {row['pattern']} | {row['match']} | {score} | {row['cosine']:.4f} | {row['psnr']:.1f} | {row['ssim']:.3f} | {own}, {lent} |")
    return lines


def text(cells: dict, scenarios: dict, rows: list[dict], moved: list[dict], encoding: dict, points: list[dict], stats: dict) -> str:
    """Everything."""
    after = [row["after"] for row in rows]
    repeats = 1 - len({run.request["prompt"] for run in after}) / len(after)
    hits = mean(run.record["cache_match"] == "identical" for run in after)
    error, spread = estimate_errors(after[max(0, SETTLED_AFTER - len(cells) * len(next(iter(cells.values())))):])
    classes = {row["complexity"]: sum(r["complexity"] == row["complexity"] for r in rows) for row in rows}
    encode = lambda residence, match: f"{1000 * encoding[residence, match]:.1f} ms"  # noqa: E731
    share = encoding["resident", "miss"] / median(run.seconds for run in after if run.record["cache_match"] == "miss")
    parts = [
        [f"Measured with `make bench-optimizations`: {machine()}; before and after in turns; default model, 64x64, 17 frames."],
        ["#### The four scenarios", f"Medians of {len(next(iter(cells.values())))} runs. Before: as many steps as the promised minutes stand for."],
        scenario_table(cells, scenarios),
        ["#### A mix of requests",
         f"{len(rows)} requests ({', '.join(f'{n} {c}' for c, n in classes.items())}); {100 * repeats:.0f} % repeat an earlier prompt with another "
         f"seed, {100 * hits:.0f} % hit. Before: 50 steps, no caches. PSNR and SSIM are against the \"before\" video of the same seed; "
         f"\"text followed\" is the share of colour, size, shape, motion and background that the model's own pixel reader finds as asked."],
        ["![Seconds of a run before and after](images/optimizations-before-after.png)"],
        mix_table(rows),
        [f"Estimates: the median error of what was told at planning is {100 * error:.1f} %, once thirty jobs had run; runs of equal work "
         f"themselves differ by {100 * spread:.1f} % (median, on this machine at this time). `/api/stats` of the fleet \"after\": hit rate "
         f"{stats['optimization']['cache_hit_rate']} %, average steps {stats['optimization']['avg_steps']}, saved {stats['savings']['saved_s']:.0f} s."],
        ["#### Fewer steps, or the step cache",
         "![Quality by steps that go through the transformer](images/optimizations-steps.png)",
         "![Threshold against speed and quality](images/optimizations-threshold.png)"],
        curve_table(points),
        ["#### What a hit saves", f"Encode stage, medians: resident encoders {encode('resident', 'miss')} for a miss and {encode('resident', 'hit')} for a hit; "
         f"loaded on demand {encode('on_demand', 'miss')} and {encode('on_demand', 'hit')}. Encoding with resident encoders is {100 * share:.1f} % of a run."],
        ["#### Similar prompts"],
        similar_table(moved),
    ]
    return "\n\n".join("\n".join(part) if part[0].startswith("|") else "\n\n".join(part) for part in parts)
