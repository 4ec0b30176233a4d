"""Runs the examples of docs/integrate.md as their readers would: each in a folder of its own, with two variables."""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fleet_stack import tools
from fleet_stack.console import output
from fleet_stack.fleet import require
from fleet_stack.paths import ROOT

from . import pictures

# For each of them, seconds.
TIMEOUT_S = 120
PAGE = ROOT / "docs/integrate.md"
# The language, whether it is about pictures, and the text.
_BLOCK = re.compile(r"<!-- run: (\w+)( picture)? -->\n```\w+\n(.*?)```", re.DOTALL)


def run_all(folder: Path, variables: dict[str, str]) -> None:
    """Runs every marked block, all at once; each must end well and leave an MP4."""
    blocks = _BLOCK.findall(PAGE.read_text())
    # Older versions of Node do not run TypeScript as it is, so the fetched one does.
    languages = {
        "sh": ("example.sh", ["bash", "-euo", "pipefail"]),
        "python": ("example.py", [sys.executable]),
        "typescript": ("example.mts", [tools.fetched_node() / "bin/node"]),
    }
    require({language for language, _, _ in blocks} == languages.keys(), f"{PAGE.name} has examples in each language")

    def run(number: int, language: str, of_picture: str, text: str) -> None:
        name, place = f"example {number} of {PAGE.name} ({language})", folder / f"example-{number}"
        file, command = languages[language]
        place.mkdir()
        if of_picture:
            pictures.place(place)
        (place / file).write_text(text)
        output([*command, place / file], f"{name} failed", cwd=place, env={**os.environ, **variables}, timeout=TIMEOUT_S)
        videos = [file for file in place.glob("*.mp4") if file.read_bytes()[4:8] == b"ftyp"]
        require(len(videos) == 1, f"{name} leaves one MP4")

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, range(1, len(blocks) + 1), *zip(*blocks)))
