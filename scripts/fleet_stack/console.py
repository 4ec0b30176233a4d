"""Terminal output: one line per step, progress of long steps, and errors that state the remedy."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn, TypeVar

POLL_S = 0.05

Found = TypeVar("Found")


class Problem(Exception):
    """An error that the user has to know about or fix. Its text is the whole message; no traceback is shown."""


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


def output(argv: Iterable[object], what: str = "", **more: object) -> str:
    """What a program prints. A failure is a Problem with the end of its output, under the title `what` or the command."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        tail = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-40:])
        raise Problem(f"{what or '`' + ' '.join(words)[:100] + '` failed'}:\n{tail}")
    return done.stdout


def poll(look: Callable[[], Found], patience_s: float) -> Found:
    """Calls `look` until its result is true or `patience_s` are over; returns the last result."""
    deadline = time.monotonic() + patience_s
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return found


def say(text: str) -> None:
    """Prints one line at once, also when the output is a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Prints one line to the error stream."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


class Line:
    """A progress line: rewritten in place on a terminal, otherwise printed at intervals."""

    def __init__(self, every_s: float = 5.0) -> None:
        self._tty = sys.stdout.isatty()
        self._every_s = 0.2 if self._tty else every_s
        self._shown_at = 0.0
        self._width = 0

    def show(self, text: str, at_once: bool = False) -> None:
        """Shows the text, unless another was shown a moment ago."""
        if at_once or time.monotonic() - self._shown_at >= self._every_s:
            self._shown_at = time.monotonic()
            print(f"\r{text:<{self._width}}" if self._tty else text, end="" if self._tty else "\n", flush=True)
            self._width = len(text)

    def end(self) -> None:
        """Ends the line; the next output begins on a new one."""
        if self._tty and self._width:
            print(flush=True)
        self._width = 0
