"""What a person sees: one line a step, errors that say what to do.

A step that takes long reports itself every few seconds, so that nobody has to guess whether it hangs.
"""

from __future__ import annotations

import sys
import time


class Problem(Exception):
    """Something a person has to know or mend. Its text is the whole message; no traceback is shown."""


def say(text: str) -> None:
    """Prints one line at once, also when the output is a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Prints one line to the error stream."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Progress:
    """Counts towards a known total; prints a line when enough changed, and rewrites it on a terminal."""

    def __init__(self, label: str, total: int, unit: str = "MB", scale: int = 1_000_000) -> None:
        self.label = label
        self.total = max(total, 1)
        self.unit = unit
        self.scale = scale
        self.done = 0
        self._shown_at = 0.0
        self._shown_done = -1
        self._tty = sys.stdout.isatty()

    def add(self, amount: int) -> None:
        """Moves on by `amount` and prints if the last line is old."""
        self.done += amount
        every_s = 0.2 if self._tty else 5.0
        if time.monotonic() - self._shown_at >= every_s:
            self._show("\r" if self._tty else "")

    def finish(self) -> None:
        """Prints the last line."""
        if self._tty:
            self._show("\r")
            print(flush=True)
        elif self._shown_done != self.done:
            self._show("")

    def _show(self, start: str) -> None:
        self._shown_at = time.monotonic()
        self._shown_done = self.done
        percent = 100 * self.done // self.total
        text = f"{start}  {self.label}: {percent:3d} % of {self.total / self.scale:.0f} {self.unit}"
        print(text, end="" if self._tty else "\n", flush=True)
