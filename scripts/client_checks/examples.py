"""Runs the examples of docs/integrate.md as their readers would: each in a folder of its own, with two variables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from fleet_stack import tools
from fleet_stack.console import Problem
from fleet_stack.fleet import require
from fleet_stack.paths import ROOT

from . import pictures

# For all of them together, seconds.
TIMEOUT_S = 120
PAGE = ROOT / "docs/integrate.md"
# The language, whether it is about pictures, and the text.
_BLOCK = re.compile(r"<!-- run: (\w+)( picture)? -->\n```\w+\n(.*?)```", re.DOTALL)


def command(language: str, path: Path) -> list[str]:
    """How an example is started."""
    if language == "typescript":
        # Older ones do not run TypeScript as it is.
        return [str(tools.fetched_node() / "bin/node"), str(path)]
    return {"sh": ["bash", "-euo", "pipefail", str(path)], "python": [sys.executable, str(path)]}[language]


def run_all(folder: Path, variables: dict[str, str]) -> int:
    """Runs every marked block, all at once; each must end well and leave an MP4. Returns how many there are."""
    blocks = _BLOCK.findall(PAGE.read_text())
    require({language for language, _, _ in blocks} == {"sh", "python", "typescript"}, f"{PAGE.name} has examples in each language")
    running: list[tuple[str, Path, subprocess.Popen]] = []
    for number, (language, of_picture, text) in enumerate(blocks, 1):
        place = folder / f"example-{number}"
        place.mkdir()
        if of_picture:
            pictures.place(place)
        path = place / {"sh": "example.sh", "python": "example.py", "typescript": "example.mts"}[language]
        path.write_text(text)
        # Not a pipe: nobody would empty it while another example is waited for.
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(command(language, path), cwd=place, env={**os.environ, **variables}, stdout=output, stderr=output)
        running.append((f"example {number} of {PAGE.name} ({language})", place, process))
    ends = time.monotonic() + TIMEOUT_S
    try:
        for name, place, process in running:
            code = process.wait(max(ends - time.monotonic(), 0))
            if code != 0:
                raise Problem(f"{name} failed:\n{(place / 'output').read_text(errors='replace')[-4000:]}")
            videos = [file for file in place.glob("*.mp4") if file.read_bytes()[4:8] == b"ftyp"]
            require(len(videos) == 1, f"{name} leaves one MP4")
    finally:
        for *_, process in running:
            process.kill()
            process.wait()
    return len(running)
