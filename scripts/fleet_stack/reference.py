"""A Python with the reference implementation's packages at their pinned versions, for the benchmarks that compare with it."""

from __future__ import annotations

import os
import subprocess
import sys

from .console import say
from .disk import require_free
from .paths import ROOT, TOOLS

REQUIREMENTS = ROOT / "crates/hunyuan/reference/requirements.txt"
NEEDED_BYTES = 9_000_000_000


def reference_python() -> str:
    """The interpreter that BENCH_PYTHON names, else one of our own, made once under `.tools`."""
    own = os.environ.get("BENCH_PYTHON")
    if own:
        return own
    home = TOOLS / "bench-model"
    stamp = home / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        require_free(TOOLS, NEEDED_BYTES, "The reference's Python packages")
        say("installing the reference's Python packages (several minutes)")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(home / "bin/python"), "-m", "pip", "install", "--no-cache-dir", "-q", "-r", str(REQUIREMENTS)], check=True)
        stamp.write_text(REQUIREMENTS.read_text())
    return str(home / "bin/python")
