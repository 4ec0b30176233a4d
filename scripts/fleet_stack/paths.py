"""The folders of one checkout. Nothing is ever written outside it, except packages that root installs with apt."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Tools and libraries that were fetched for this checkout.
TOOLS = ROOT / ".tools"
# The running stack: data, logs, ports.
RUN = ROOT / ".run"
LIBTORCH = ROOT / ".libtorch"


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces a file in one step, so that no reader sees half of it."""
    fresh = path.with_name(path.name + ".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as handle:
        handle.write(text)
    fresh.replace(path)


def target_dir() -> Path:
    """The folder of our executables. `CARGO_TARGET_DIR` moves it, as it does for cargo."""
    base = os.environ.get("CARGO_TARGET_DIR")
    return (Path(base) if base else ROOT / "target") / "release"
