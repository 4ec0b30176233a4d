"""docs/verification.md: a table of all parts, and under it the last lines of each as it printed them.

The file is read back before it is written, so that parts which run at other times keep their entries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from fleet_stack.paths import ROOT

FILE = ROOT / "docs/verification.md"
HEAD = """# Results of `make verify`

The last run of each part of `make verify`, recorded by `scripts/run-verify`. To run selected parts: `make verify PARTS="backup join"`.
Times apply to the machine and date given; "beside other work" means that other programs were using its cores too.

| part | what it does | result | date | seconds |
|---|---|---|---|---:|
"""
SECTION = re.compile(
    r"^## (?P<name>\S+)\n\n(?P<result>Passed|FAILED) on (?P<date>\S+) after (?P<seconds>\d+) s: (?P<machine>[^\n]+)\.\n\n"
    r"```text\n(?P<lines>.*?)```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Entry:
    """One run of one part."""

    name: str
    about: str
    passed: bool
    date: str
    seconds: int
    machine: str
    lines: list[str] = field(default_factory=list)

    def row(self) -> str:
        """Its line of the table."""
        result = "passed" if self.passed else "**failed**"
        return f"| [{self.name}](#{self.name}) | {self.about} | {result} | {self.date} | {self.seconds:,} |\n"

    def section(self) -> str:
        """What it printed at the end."""
        result = "Passed" if self.passed else "FAILED"
        # A fence within would end ours.
        text = "".join(line.replace("```", "'''") + "\n" for line in self.lines)
        return f"\n## {self.name}\n\n{result} on {self.date} after {self.seconds} s: {self.machine}.\n\n```text\n{text}```\n"


def read(text: str, abouts: dict[str, str]) -> dict[str, Entry]:
    """The entries of a record, of parts that still exist."""
    found = {}
    for match in SECTION.finditer(text):
        name = match["name"]
        if name in abouts:
            found[name] = Entry(
                name, abouts[name], match["result"] == "Passed", match["date"], int(match["seconds"]), match["machine"], match["lines"].splitlines()
            )
    return found


def render(abouts: dict[str, str], entries: dict[str, Entry]) -> str:
    """The whole file; parts in their order, also those without a record."""
    rows = (entries[name].row() if name in entries else f"| {name} | {about} | not recorded | | |\n" for name, about in abouts.items())
    return HEAD + "".join(rows) + "".join(entries[name].section() for name in abouts if name in entries)


def keep(abouts: dict[str, str], entry: Entry, file: Path = FILE) -> None:
    """Puts one entry in the place of the part's last."""
    entries = read(file.read_text() if file.exists() else "", abouts)
    file.write_text(render(abouts, {**entries, entry.name: entry}))
