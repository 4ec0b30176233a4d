"""The numbers as the Markdown that goes into docs/optimizations.md."""

from __future__ import annotations

from statistics import mean, median

import quality
from lab import ROOT, Problem, Run, say

DOCUMENT = ROOT / "docs/optimizations.md"
TIERS = ("preview", "standard", "premium")
# Estimates are judged once the fleet has seen this many runs of its own.
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


def less(before: float, after: float) -> str:
    """How much shorter, in per cent."""
    share = round(100 * (1 - after / before))
    return f"{share} % less" if share >= 0 else f"{-share} % more"


def full_size_s(steps: float, hit: float) -> float:
    """A run of the released model by its prior: 12 s a step, 54 s around them, 12 s when the prompt is cached."""
    return 12 * steps + 54 - 42 * hit


def scenario_table(cells: dict, scenarios: dict) -> list[str]:
    lines = [
        "| scenario | before, steps | before | promised | steps and embeddings alone | with the step cache too | those steps at full size, by the prior |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    names = {"simple": "simple prompt", "very_complex": "complex prompt"}
    for complexity, scenario in scenarios.items():

        def seconds(cell: str) -> float:
            return median(run.seconds for run in cells[complexity][cell])

        before, whole = seconds("before"), full_size_s(scenario["before_steps"], 0)
        for cell, words in (("first", "first time"), ("cached", "cached")):
            runs = cells[complexity][cell]
            planned, computed = mean(r.facts["steps"] for r in runs), mean(r.record["steps_computed"] for r in runs)
            plain, tuned, full = seconds(f"{cell}_steps"), seconds(cell), full_size_s(computed, cell == "cached")
            lines.append(
                f"| {names[complexity]}, {words} | {scenario['before_steps']} | {before:.2f} s | {less(100, 100 - scenario[cell])} "
                f"| {plain:.2f} s, {planned:.0f} steps: {less(before, plain)} | {tuned:.2f} s, {computed:.0f} computed: {less(before, tuned)} "
                f"| {whole / 60:.1f} min, {full / 60:.1f} min: {less(whole, full)} |"
            )
    return lines


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def by_tier(rows: list[dict]) -> list[dict]:
    """Means of each tier and of all."""
    groups = [(tier, [row for row in rows if row["tier"] == tier]) for tier in TIERS]
    out = []
    for name, group in [*((n, g) for n, g in groups if g), ("all", rows)]:
        before, after = [row["before"] for row in group], [row["after"] for row in group]
        hit = [run.record["cache_match"] == "identical" for run in after]
        out.append({
            "name": name, "jobs": len(group), "before": mean(r.seconds for r in before), "after": mean(r.seconds for r in after),
            "denoise_before": mean(r.record["stages"]["denoise_s"] for r in before),
            "denoise_after": mean(r.record["stages"]["denoise_s"] for r in after),
            "cost_before": mean(r.record["cost_usd"] for r in before), "cost_after": mean(r.record["cost_usd"] for r in after),
            "steps": mean(r.facts["steps"] for r in after), "computed": mean(r.record["steps_computed"] for r in after),
            "hits": mean(hit), "full_before": mean(full_size_s(r.record["steps_computed"], 0) for r in before),
            "full_after": mean(full_size_s(r.record["steps_computed"], h) for r, h in zip(after, hit)),
            "worst": min(row["psnr"] for row in group), "psnr": quality.mean_db([row["psnr"] for row in group]),
            **{key: mean(row[key] for row in group) for key in ("ssim", "followed_before", "followed_after")},
        })
    return out


def time_table(tiers: list[dict]) -> list[str]:
    lines = [
        "| tier | jobs | run before | after | its steps before | after | GPU cost before | after | those steps at full size, by the prior |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in tiers:
        lines.append(
            f"| {row['name']} | {row['jobs']} | {row['before']:.2f} s | {row['after']:.2f} s: {less(row['before'], row['after'])} "
            f"| {row['denoise_before']:.2f} s | {row['denoise_after']:.2f} s: {less(row['denoise_before'], row['denoise_after'])} "
            f"| $ {row['cost_before']:.5f} | $ {row['cost_after']:.5f} "
            f"| {row['full_before'] / 60:.1f} min, {row['full_after'] / 60:.1f} min: {less(row['full_before'], row['full_after'])} |"
        )
    return lines


def quality_table(tiers: list[dict]) -> list[str]:
    lines = [
        "| tier | embedding hits | steps planned | computed | PSNR of the mean error | lowest | SSIM | text followed before | after |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in tiers:
        lines.append(
            f"| {row['name']} | {100 * row['hits']:.0f} % | {row['steps']:.1f} | {row['computed']:.1f} | {row['psnr']:.1f} dB | {row['worst']:.1f} dB "
            f"| {row['ssim']:.3f} | {100 * row['followed_before']:.0f} % | {100 * row['followed_after']:.0f} % |"
        )
    return lines


def estimate_errors(runs: list[Run]) -> tuple[float, float, float]:
    """Relative error of the estimates told at planning, median and nine in ten, and the median spread of runs alike, which no estimate can beat."""
    errors = [abs(run.facts["estimate_s"] - run.seconds) / run.seconds for run in runs]
    kinds: dict[tuple, list[float]] = {}
    for run in runs:
        kinds.setdefault((run.record["steps_computed"], run.record["steps_skipped"]), []).append(run.seconds)
    spread = [abs(s - median(kind)) / s for kind in kinds.values() if len(kind) > 2 for s in kind]
    return (median(errors), quantile(errors, 0.9), median(spread) if spread else 0.0)


def curve_table(points: list[dict]) -> list[str]:
    lines = ["| | steps computed | denoising, times faster | PSNR, dB | SSIM |", "|---|---:|---:|---:|---:|"]
    for p in points:
        name = f"{p['steps']} steps" if p["kind"] == "steps" else f"50 steps, threshold {p['threshold']:g}"
        lines.append(f"| {name} | {p['computed']:.1f} | {p['speedup']:.2f} | {p['psnr']:.1f} | {p['ssim']:.3f} |")
    return lines


def same_passes(points: list[dict]) -> str:
    """The step cache against fewer steps, at as many passes through the transformer."""
    plain = sorted((p["computed"], p["psnr"]) for p in points if p["kind"] == "steps")
    gains = []
    for p in points:
        for (low, worse), (high, better) in zip(plain, plain[1:]):
            if p["kind"] == "threshold" and low <= p["computed"] < high:
                gains.append(p["psnr"] - (worse + (better - worse) * (p["computed"] - low) / (high - low)))
    if not gains:
        return "No threshold needed as many passes as one of the step numbers."
    gain = mean(gains)
    return (
        f"At as many passes the step cache keeps {abs(gain):.1f} dB {'more' if gain > 0 else 'less'} than fewer steps do (mean over {len(gains)} "
        "thresholds, between the step numbers by interpolation)."
    )


def similar_table(moved: list[dict]) -> list[str]:
    lines = [
        "| prompt | match | score | cosine, CLIP | cosine, language model | PSNR | SSIM | text followed with its own | with the other's |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in moved:
        score = "" if row["score"] is None else f"{row['score']:.2f}"
        own, lent = (f"{100 * row[key]:.0f} %" if key in row else "" for key in ("followed_own", "followed_lent"))
        lines.append(
            f"| {row['pattern']} | {row['match']} | {score} | {row['clip']:.4f} | {row['llm']:.4f} | {row['psnr']:.1f} dB | {row['ssim']:.3f} | {own} | {lent} |"
        )
    return lines


def mix_words(rows: list[dict], stats: dict) -> list[str]:
    """What the mix is made of, before its tables."""
    after = [row["after"] for row in rows]
    repeats = 1 - len({run.request["prompt"] for run in after}) / len(after)
    hits = mean(run.record["cache_match"] == "identical" for run in after)
    classes = {name: sum(row["complexity"] == name for row in rows) for name in ("simple", "moderate", "complex", "very_complex")}
    before = mean(row["before"].seconds for row in rows)
    parts = {part: 100 * mean(row["before"].record["stages"][f"{part}_s"] for row in rows) / before for part in ("denoise", "decode", "deliver")}
    return [
        f"{len(rows)} requests ({', '.join(f'{n} {c}' for c, n in classes.items())}). {100 * repeats:.0f} % repeat an earlier prompt with another "
        f"seed, {100 * hits:.0f} % hit. Before: 50 steps, no caches. Of such a run {parts['denoise']:.0f} % are steps, {parts['decode']:.0f} % "
        f"decoding and {parts['deliver']:.0f} % writing the video, so the steps have a column of their own. The last column is no measurement: it "
        "counts the same computed steps with the released model's prior of 12 s a step, 54 s around them and 12 s when the prompt is cached.",
        "![Seconds of a run before and after](images/optimizations-before-after.png)",
        "\n".join(time_table(by_tier(rows))),
        "What is kept: PSNR and SSIM are against the \"before\" video of the same seed; \"text followed\" is the share of colour, size, shape, "
        "motion and background that the model's own pixel reader finds as asked.",
        "\n".join(quality_table(by_tier(rows))),
        f"`/api/stats` of the fleet \"after\", scenarios included: hit rate {stats['optimization']['cache_hit_rate']} %, average steps "
        f"{stats['optimization']['avg_steps']}, saved {stats['savings']['saved_s']:.0f} s.",
    ]


def text(found: dict, scenarios: dict) -> str:
    """Everything."""
    cells, rows, encoders = found["scenarios"], found["mix"], found["encoders"]
    settled = found["runs"][SETTLED_AFTER:]
    estimates = "Too few jobs to tell."
    if settled:
        error, most, spread = estimate_errors(settled)
        estimates = (
            f"Once {SETTLED_AFTER} jobs had run, {len(settled)} estimates told at planning were off by {100 * error:.1f} % (median; nine in ten by "
            f"less than {100 * most:.1f} %). Runs of equal work themselves differ by {100 * spread:.1f} % on this machine, which no estimate can beat."
        )
    encode = lambda residence, match: f"{1000 * encoders[residence][match]:.1f} ms"  # noqa: E731
    share = encoders["resident"]["miss"] / median(row["after"].seconds for row in rows if row["after"].record["cache_match"] == "miss")
    parts = [
        f"Measured with `make bench-optimizations`: {found['machine']}. Before and after take turns; default model (weights {found['weights']}); "
        f"{found['minutes']:.0f} minutes.",
        "### The four scenarios",
        f"Each the median of {len(cells['simple']['before'])}. Before: as many steps as the promised minutes stand for.",
        "\n".join(scenario_table(cells, scenarios)),
        "### A mix of requests",
        *mix_words(rows, found["stats"]),
        "### How good the estimates are",
        estimates,
        "### Fewer steps, or the step cache",
        "![Quality by steps that go through the transformer](images/optimizations-steps.png)",
        "![Threshold against speed and quality](images/optimizations-threshold.png)",
        "\n".join(curve_table(found["curves"])),
        same_passes(found["curves"]),
        "### What a hit saves",
        f"Encode stage, medians: resident encoders {encode('resident', 'miss')} for a miss and {encode('resident', 'hit')} for a hit; loaded on "
        f"demand {encode('on_demand', 'miss')} and {encode('on_demand', 'hit')}. Encoding with resident encoders is {100 * share:.1f} % of a run.",
        "### How far similar prompts move a video",
        "Each video with the embeddings of its own prompt and with those of \"a ...\", which the default threshold lends it; same seed, 25 steps.",
        "\n".join(similar_table(found["similar"])),
    ]
    return "\n\n".join(parts)
