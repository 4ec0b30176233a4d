"""Checks free disk space before long work starts, so that a full disk is reported before files are half written."""

from __future__ import annotations

import shutil
from pathlib import Path

from .console import Problem


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
