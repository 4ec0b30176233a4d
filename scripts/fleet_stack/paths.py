"""Where things lie in one checkout. Nothing is ever written outside it, except packages that root installs with apt."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Tools and libraries that were fetched for this checkout.
TOOLS = ROOT / ".tools"
# The running stack: data, logs, ports.
RUN = ROOT / ".run"
LIBTORCH = ROOT / ".libtorch"


def target_dir() -> Path:
    """The folder of our executables. `CARGO_TARGET_DIR` moves it, as it does for cargo."""
    base = os.environ.get("CARGO_TARGET_DIR")
    return (Path(base) if base else ROOT / "target") / "release"
