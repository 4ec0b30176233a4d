"""The results as one table, for people and for docs/performance.md."""

import json
from pathlib import Path

NOT_MEASURED = "not measured"
STEPS = 50
PUBLISHED = {
    "1280x720x129": "Tencent 1904 s, FlashAttention-3 945 s, STA 501 to 268 s, Jenga 310 to 157 s (H800); the last two leave work out",
}
SIZES = ("960x544x129", "1280x720x129")


def rows_of(results: list[dict], stage: int) -> dict[str, dict]:
    """A stage's rows by item."""
    return {row["item"]: row for result in results if result["stage"] == stage for row in result["rows"] if row.get("ok") is not False}


def number(row: dict | None, key: str, form: str) -> str:
    """A value of a row in words, or that there is none."""
    return form.format(row[key]) if row and row.get(key) is not None else NOT_MEASURED


def of_all(results: list[dict], stage: int, what: str) -> str:
    """How many of a stage's judged rows passed."""
    judged = [row["ok"] for result in results if result["stage"] == stage for row in result["rows"] if "ok" in row]
    return f"{sum(judged)} of {len(judged)} {what}" if judged else NOT_MEASURED


def table(results: list[dict], sizes: tuple[str, ...] = SIZES) -> str:
    """Markdown. Without results every figure is said not to be measured."""
    speed, stop, decode, theirs = (rows_of(results, stage) for stage in (5, 6, 7, 8))
    load, encode, decode = speed.get("load"), speed.get("encode"), decode.get("decode")
    stop, drain = stop.get("stop"), stop.get("drain")
    chosen = (load or {}).get("attention")
    gib = "{:.1f} GiB"
    out = [("the worker starts and renders", of_all(results, 1, "ways"), "with NVIDIA's run-time compiler off the search path too")]
    out += [("fixtures agree with the reference", of_all(results, 2, "fixtures"), "all")]
    out += [("a resumed run has the same bits", of_all(results, 4, "resumes"), "all; one in another process")]
    out += [("attention kernel in use", f"{chosen['backend']}, {chosen['tflops']:.0f} TFLOP/s" if chosen else NOT_MEASURED, "500 TFLOP/s or more on Hopper")]
    for size in sizes:
        ours, reference = speed.get(f"steps {size}"), theirs.get(f"diffusers {size}")
        ratio = f", {reference['step_s'] / ours['step_s']:.2f} times as long" if ours and reference else ""
        out += [
            (f"a step at {size}", number(ours, "step_s", "{:.2f} s") + (f", {ours['tflops']:.0f} TFLOP/s" if ours else ""), "600 TFLOP/s"),
            (f"diffusers, a step at {size}", number(reference, "step_s", "{:.2f} s") + ratio, ""),
            (f"peak memory at {size}", number(ours, "peak_bytes", "{}") if not ours or not ours.get("peak_bytes") else gib.format(ours["peak_bytes"] / 2**30), ""),
        ]
    out += [
        ("from a cancel in the middle of a step to its effect", number(stop, "seconds", "{:.2f} s"), "one transformer block"),
        ("from SIGTERM in the middle of a step to a checkpoint to hand back", number(drain, "seconds", "{:.2f} s"), "10 s with its upload"),
        ("encoding a prompt", number(encode, "seconds", "{:.2f} s"), ""),
        (f"decoding {sizes[-1]}", number(decode, "seconds", "{:.1f} s"), ""),
    ]
    for size in sizes:
        ours = speed.get(f"steps {size}")
        # Decoding is measured at the last size; its work goes with the pixels.
        total = None
        if ours and encode and decode:
            share = pixels(size) / pixels(sizes[-1])
            total = encode["seconds"] + STEPS * ours["step_s"] + decode["seconds"] * share
        out += [(f"a whole video of {size} in {STEPS} steps, projected", f"{total:.0f} s" if total else NOT_MEASURED, PUBLISHED.get(size, ""))]
    return "\n".join(["| what | measured | aim, or what others publish |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in out)])


def pixels(size: str) -> int:
    """Pixels of all frames."""
    width, height, frames = (int(part) for part in size.split("x"))
    return width * height * frames


def text(results: list[dict]) -> str:
    """Device, table, and what went wrong."""
    load = rows_of(results, 5).get("load", {})
    measured = [item.removeprefix("steps ") for item in rows_of(results, 5) if item.startswith("steps ")]
    sizes = tuple(measured) if measured else SIZES
    device = f"on {load['device']}" if load else NOT_MEASURED
    lines = [f"Measured with `scripts/gpu-check` {device}." if load else "`scripts/gpu-check` has not run on a GPU yet.", "", table(results, sizes), ""]
    for result in results:
        wrong = [row for row in result["rows"] if row.get("ok") is False or "skipped" in row]
        lines += [f"- stage {result['stage']}, {result['name']}, {result['state']}: {row.get('error') or row.get('skipped') or row['item']}" for row in wrong]
    return "\n".join(lines).rstrip() + "\n"


def write(results: list[dict], out: Path) -> str:
    """Writes report.json and report.md; returns the latter."""
    (out / "report.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "report.md").write_text(text(results))
    return text(results)
