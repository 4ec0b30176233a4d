"""What a person sees: one line a step, progress of long steps, and errors that say what to do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


class Problem(Exception):
    """Something a person has to know or fix. Its text is the whole message; no traceback is shown."""


def run(main: Callable[[], int | None]) -> NoReturn:
    """Runs a program: a Problem or a failed command becomes one message and exit code 1."""
    program = Path(sys.argv[0]).parent.name if sys.argv[0].endswith("__main__.py") else Path(sys.argv[0]).name
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(f"{program}: {problem}")
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))[:200]
        sys.exit(f"{program}: `{command}` failed with code {error.returncode}: {error.stderr or ''}")
    except KeyboardInterrupt:
        sys.exit(130)


def say(text: str) -> None:
    """Prints one line at once, also when the output is a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Prints one line to the error stream."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Progress:
    """Megabytes towards a known total: one line that is rewritten on a terminal, else a line every few seconds."""

    def __init__(self, label: str, total: int) -> None:
        self.label = label
        self.total = max(total, 1)
        self.done = 0
        self._shown_at = 0.0
        self._tty = sys.stdout.isatty()

    def add(self, amount: int) -> None:
        """Moves on by `amount` bytes."""
        self.done += amount
        if self.done >= self.total or time.monotonic() - self._shown_at >= (0.2 if self._tty else 5.0):
            self._shown_at = time.monotonic()
            text = f"  {self.label}: {100 * self.done // self.total:3d} % of {self.total / 1_000_000:.0f} MB"
            ends = self.done >= self.total
            print(f"\r{text}" if self._tty else text, end="\n" if ends or not self._tty else "", flush=True)
