"""Pythons with pinned packages: the reference implementation's, for the benchmarks that compare with it, and the training's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .console import say
from .disk import require_free
from .paths import ROOT, TOOLS

REQUIREMENTS = ROOT / "crates/hunyuan/reference/requirements.txt"
TRAINING_REQUIREMENTS = ROOT / "models/default/training/requirements.txt"
NEEDED_BYTES = 9_000_000_000


def reference_python() -> str:
    """The interpreter that BENCH_PYTHON names, else one of our own, made once under `.tools`."""
    return os.environ.get("BENCH_PYTHON") or python_with(REQUIREMENTS, TOOLS / "bench-model", "The reference's Python packages")


def training_python() -> str:
    """The interpreter that TRAIN_PYTHON names, else one of our own, made once under `.tools`."""
    return os.environ.get("TRAIN_PYTHON") or python_with(TRAINING_REQUIREMENTS, TOOLS / "training", "The training's Python packages")


def python_with(requirements: Path, home: Path, what: str) -> str:
    """A virtual environment at `home` with these requirements, made again when they change."""
    stamp = home / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        require_free(TOOLS, NEEDED_BYTES, what)
        say(f"installing {what[0].lower()}{what[1:]} (several minutes)")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(home / "bin/python"), "-m", "pip", "install", "--no-cache-dir", "-q", "-r", str(requirements)], check=True)
        stamp.write_text(requirements.read_text())
    return str(home / "bin/python")
