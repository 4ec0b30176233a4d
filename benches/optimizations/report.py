"""The numbers as the Markdown that goes into docs/optimizations.md."""

from statistics import mean, median

import quality
from fleet_stack.bench import table
from lab import Run
TIERS = ("preview", "standard", "premium")
# Estimates are judged once the fleet has seen this many runs of its own.
SETTLED_AFTER = 30


def less(before: float, after: float) -> str:
    """How much shorter, in per cent."""
    share = round(100 * (1 - after / before))
    return f"{share} % less" if share >= 0 else f"{-share} % more"


def full_size_s(steps: float, hit: float) -> float:
    """A run of the released model by its prior: 12 s a step, 54 s around them, 12 s when the prompt is cached."""
    return 12 * steps + 54 - 42 * hit


def scenario_table(cells: dict, scenarios: dict) -> str:
    rows = []
    names = {"simple": "simple prompt", "very_complex": "complex prompt"}
    for complexity, scenario in scenarios.items():
        seconds = {cell: median(run.seconds for run in runs) for cell, runs in cells[complexity].items()}
        before, whole = seconds["before"], full_size_s(scenario["before_steps"], 0)
        for cell, words in (("first", "first time"), ("cached", "cached")):
            runs = cells[complexity][cell]
            planned, computed = mean(r.facts["steps"] for r in runs), mean(r.record["steps_computed"] for r in runs)
            plain, tuned, full = seconds[f"{cell}_steps"], seconds[cell], full_size_s(computed, cell == "cached")
            rows.append([
                f"{names[complexity]}, {words}", f"{scenario['before_steps']}", f"{before:.2f} s", less(100, 100 - scenario[cell]),
                f"{plain:.2f} s, {planned:.0f} steps: {less(before, plain)}", f"{tuned:.2f} s, {computed:.0f} computed: {less(before, tuned)}",
                f"{whole / 60:.1f} min, {full / 60:.1f} min: {less(whole, full)}",
            ])
    columns = "scenario | steps before | time before | expected | with adaptive steps and embedding cache | and with the step cache | the same steps at full size, estimated from the prior"
    return table(columns, rows)


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


def time_table(tiers: list[dict]) -> str:
    columns = "tier | jobs | run before | after | steps before | after | GPU cost before | after | the same steps at full size, estimated from the prior"
    return table(columns, [[
        row["name"], f"{row['jobs']}", f"{row['before']:.2f} s", f"{row['after']:.2f} s: {less(row['before'], row['after'])}",
        f"{row['denoise_before']:.2f} s", f"{row['denoise_after']:.2f} s: {less(row['denoise_before'], row['denoise_after'])}",
        f"$ {row['cost_before']:.5f}", f"$ {row['cost_after']:.5f}",
        f"{row['full_before'] / 60:.1f} min, {row['full_after'] / 60:.1f} min: {less(row['full_before'], row['full_after'])}",
    ] for row in tiers])


def quality_table(tiers: list[dict]) -> str:
    columns = "tier | embedding hits | steps planned | computed | PSNR of the mean error | lowest | SSIM | prompt followed before | after"
    return table(columns, [[
        row["name"], f"{100 * row['hits']:.0f} %", f"{row['steps']:.1f}", f"{row['computed']:.1f}", f"{row['psnr']:.1f} dB", f"{row['worst']:.1f} dB",
        f"{row['ssim']:.3f}", f"{100 * row['followed_before']:.0f} %", f"{100 * row['followed_after']:.0f} %",
    ] for row in tiers])


def estimate_errors(runs: list[Run]) -> tuple[float, float, float]:
    """Relative error of the estimates made at planning time (median and nine in ten), and the median spread of equal runs, the lower limit for any estimate."""
    errors = [abs(run.facts["estimate_s"] - run.seconds) / run.seconds for run in runs]
    kinds: dict[tuple, list[float]] = {}
    for run in runs:
        kinds.setdefault((run.record["steps_computed"], run.record["steps_skipped"]), []).append(run.seconds)
    spread = [abs(s - median(kind)) / s for kind in kinds.values() if len(kind) > 2 for s in kind]
    return (median(errors), quantile(errors, 0.9), median(spread) if spread else 0.0)


def curve_table(points: list[dict]) -> str:
    name = lambda p: f"{p['steps']} steps" if p["kind"] == "steps" else f"50 steps, threshold {p['threshold']:g}"  # noqa: E731
    rows = [[name(p), f"{p['computed']:.1f}", f"{p['speedup']:.2f}", f"{p['psnr']:.1f}", f"{p['ssim']:.3f}"] for p in points]
    return table(" | steps computed | denoising speed-up | PSNR, dB | SSIM", rows)


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
        f"With the same number of passes, the step cache keeps {abs(gain):.1f} dB {'more' if gain > 0 else 'less'} than fewer steps do (mean over "
        f"{len(gains)} thresholds, interpolated between the step counts)."
    )


def similar_table(moved: list[dict]) -> str:
    columns = "prompt | match | score | cosine, CLIP | cosine, language model | PSNR | SSIM | prompt followed with its own | with the other's"
    share = lambda row, key: f"{100 * row[key]:.0f} %" if key in row else ""  # noqa: E731
    return table(columns, [[
        row["pattern"], row["match"], "" if row["score"] is None else f"{row['score']:.2f}", f"{row['clip']:.4f}", f"{row['llm']:.4f}",
        f"{row['psnr']:.1f} dB", f"{row['ssim']:.3f}", share(row, "followed_own"), share(row, "followed_lent"),
    ] for row in moved], numbers_from=2)


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
        f"seed, {100 * hits:.0f} % hit. Before: 50 steps, no caches. Of such a run {parts['denoise']:.0f} % is spent on steps, {parts['decode']:.0f} % "
        f"decoding and {parts['deliver']:.0f} % writing the video, so the steps have a separate column. The last column is not a measurement: it "
        "is an estimate for the same computed steps with the released model's prior of 12 s per step, 54 s around them and 12 s when the prompt is cached.",
        "![Seconds of a run before and after](images/optimizations-before-after.png)",
        time_table(by_tier(rows)),
        "Quality: PSNR and SSIM are relative to the \"before\" video of the same seed. \"Prompt followed\" is the share of colour, size, shape, "
        "motion and background that the pixel reader finds as requested.",
        quality_table(by_tier(rows)),
        f"`/api/stats` of the fleet \"after\", including the scenarios: hit rate {stats['optimization']['cache_hit_rate']} %, average steps "
        f"{stats['optimization']['avg_steps']}, saved {stats['savings']['saved_s']:.0f} s.",
    ]


def text(found: dict, scenarios: dict) -> str:
    """Everything."""
    cells, rows, encoders = found["scenarios"], found["mix"], found["encoders"]
    settled = found["runs"][SETTLED_AFTER:]
    estimates = "Too few jobs for an estimate."
    if settled:
        error, most, spread = estimate_errors(settled)
        estimates = (
            f"After the first {SETTLED_AFTER} jobs, {len(settled)} estimates made at planning time had an error of {100 * error:.1f} % (median; nine in ten "
            f"below {100 * most:.1f} %). Runs with equal work differ by {100 * spread:.1f} % on this machine, which is the lower limit for any estimate."
        )
    encode = lambda residence, match: f"{1000 * encoders[residence][match]:.1f} ms"  # noqa: E731
    share = encoders["resident"]["miss"] / median(row["after"].seconds for row in rows if row["after"].record["cache_match"] == "miss")
    parts = [
        f"Measured with `make bench-optimizations`: {found['machine']}. \"Before\" and \"after\" alternate; default model (weights {found['weights']}); "
        f"{found['minutes']:.0f} minutes.",
        "### The four scenarios",
        f"Each value is the median of {len(cells['simple']['before'])}. \"Before\" has as many steps as correspond to the expected minutes.",
        scenario_table(cells, scenarios),
        "### A mix of requests",
        *mix_words(rows, found["stats"]),
        "### How good the estimates are",
        estimates,
        "### Fewer steps, or the step cache",
        "![Quality by steps that go through the transformer](images/optimizations-steps.png)",
        "![Threshold against speed and quality](images/optimizations-threshold.png)",
        curve_table(found["curves"]),
        same_passes(found["curves"]),
        "### What a hit saves",
        f"Encode stage, medians: resident encoders {encode('resident', 'miss')} for a miss and {encode('resident', 'hit')} for a hit; loaded on "
        f"demand {encode('on_demand', 'miss')} and {encode('on_demand', 'hit')}. Encoding with resident encoders is {100 * share:.1f} % of a run.",
        "### How far similar prompts move a video",
        "Each video with the embeddings of its own prompt and with those of \"a ...\", which the default threshold allows it to reuse; same seed, 25 steps.",
        similar_table(found["similar"]),
    ]
    return "\n\n".join(parts)
