"""The folders of one checkout. Nothing is ever written outside it, except packages that root installs with apt."""

import os
import shutil
from pathlib import Path

from .console import Problem

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


def require_free(folder: Path, needed_bytes: int, what: str) -> None:
    """Raises a Problem when fewer than `needed_bytes` are free on the file system of `folder`, which need not exist."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise Problem(
            f"{what} needs {needed_bytes / 1e9:.1f} GB free under {existing}, but only {free / 1e9:.1f} GB are free.\n"
            f"Free some space, or move the checkout to a larger disk."
        )
