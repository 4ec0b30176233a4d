"""The parts of `make verify`: `make test`, each executable in scripts/verify.d, each benchmark.

The checks of deployment and monitoring run inside `make test`; when named they run alone and have an entry of their own.
"""

import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fleet_stack.libtorch import has_nvidia_driver
from fleet_stack.paths import ROOT

from .record import section

# A part ends with its result; `make test` with the seconds of each phase.
LINES_KEPT = 6
LINES_KEPT_OF_TEST = 24
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Part:
    """One program that checks or measures something."""

    name: str
    program: Path
    # Runs only when it is named.
    inside_test: bool = False

    def about(self) -> str:
        """The first sentence of the program's opening comment."""
        text = self.program.read_text()
        if found := re.match(r'#![^\n]*\n"""(.*?)(?:\n\n|""")', text, re.S):
            opening = found[1]
        else:
            opening = re.sub(r"^# ?", "", "\n".join(re.match(r"#![^\n]*\n((?:#.*\n)+)", text)[1].splitlines()), flags=re.M)
        return re.match(r".*?(?:[.](?=\s|$)|$)", " ".join(opening.split()))[0].rstrip(".")

    def run(self) -> tuple[bool, int, str]:
        """Runs it and shows what it prints; returns whether it passed, its seconds, and its section of the record."""
        machine, began = describe_machine(), time.monotonic()
        kept: deque[str] = deque(maxlen=LINES_KEPT_OF_TEST if self.name == "test" else LINES_KEPT)
        with subprocess.Popen(
            [self.program], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                if printable := neutral(line):
                    kept.append(printable)
        seconds = round(time.monotonic() - began)
        passed = process.returncode == 0
        return passed, seconds, section(passed, f"{datetime.now(UTC):%Y-%m-%d}", seconds, machine, list(kept))


def all_parts() -> Iterator[Part]:
    """In the order in which they run."""
    yield Part("test", ROOT / "scripts/run-tests")
    for name in ("check-deploy", "check-monitoring"):
        yield Part(name, ROOT / "scripts" / name, inside_test=True)
    for program in sorted((ROOT / "scripts/verify.d").iterdir()):
        if program.is_file() and os.access(program, os.X_OK):
            yield Part(program.name, program)
    for program in sorted((ROOT / "benches").glob("*/run")):
        if os.access(program, os.X_OK):
            yield Part(f"bench-{program.parent.name}", program)


def neutral(line: str) -> str:
    """The line as anybody may read it: no colours, no overwritten progress, no folder of this machine."""
    line = ESCAPES.sub("", line.rstrip("\n")).rpartition("\r")[2]
    return line.replace(f"{ROOT}/", "").replace(str(ROOT), ".").replace(str(Path.home()), "~").rstrip()


def describe_machine() -> str:
    """In words that explain the seconds and name nothing."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0))
    words = f"{cores} core{'s' if cores != 1 else ''}, {pages / 2**30:.0f} GB, {'a GPU' if has_nvidia_driver() else 'no GPU'}"
    return words + (", beside other work" if os.getloadavg()[1] > cores / 2 else "")
