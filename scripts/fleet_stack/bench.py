"""What the benchmarks share: the reference implementation's Python, settings, the machine's name, tables in documents."""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

from . import pip
from .console import Problem, say
from .paths import ROOT

REFERENCE = ROOT / "crates/hunyuan/reference"


def setting(name: str, default: str) -> str:
    """The variable BENCH_NAME, or its default."""
    return os.environ.get(f"BENCH_{name}", default)


class Reference:
    """A program beside a benchmark that runs the reference implementation, with its packages at their pinned versions."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.interpreter, variables = pip.interpreter("BENCH_PYTHON", "bench-model", REFERENCE / "requirements.txt")
        found = variables.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        self.env = {**os.environ, "PYTHONPATH": f"{REFERENCE}:{found}"}

    def run(self, command: str, options: dict) -> dict:
        """What `COMMAND` prints as its last line, in JSON."""
        return last_json([self.interpreter, str(self.program), command, json.dumps(options)], self.env)


def last_json(argv: list[str], env: dict[str, str] | None = None) -> dict:
    """The last line that a program prints."""
    return json.loads(subprocess.run(argv, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def processor() -> str:
    """The processor's name."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else platform.processor()


def table(columns: str, rows: list[list[str]], numbers_from: int = 1) -> str:
    """A Markdown table. `columns` are parted by "|"; those from `numbers_from` on are aligned to the right."""
    names = [name.strip() for name in columns.split("|")]
    rule = ["---" if at < numbers_from else "---:" for at in range(len(names))]
    return "\n".join([f"| {' | '.join(names)} |", f"|{'|'.join(rule)}|", *(f"| {' | '.join(row)} |" for row in rows)])


def write_into(document: Path, name: str, text: str) -> None:
    """Replaces what is between the markers of this name in a document."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = document.read_text().partition(begin)
    if not found or end not in rest:
        raise Problem(f"{document} has no markers {begin}")
    document.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
    say(f"\nwritten into {os.path.relpath(document, ROOT)}")


def publish(text: str, document: str, name: str) -> None:
    """Prints the result of `make bench-NAME`, and puts it into a document."""
    say("\n" + text)
    write_into(ROOT / document, f"bench-{name}", text)
