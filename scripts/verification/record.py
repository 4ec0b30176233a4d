"""docs/verification.md: a table of all parts, and under it a section for each with the last lines that it printed.

The file is read back before it is written, so that parts which run at other times keep their sections.
"""

import re
from pathlib import Path

from fleet_stack.paths import ROOT

FILE = ROOT / "docs/verification.md"
HEAD = """# Results of `make verify`

The last run of each part of `make verify`, recorded by `scripts/run-verify`. To run selected parts: `make verify PARTS="backup join"`.
Times apply to the machine and date given; "beside other work" means that other programs were using its cores too.

| part | what it does | result | date | seconds |
|---|---|---|---|---:|
"""
RESULT = re.compile(r"(Passed|FAILED) on (\S+) after (\d+) s: ")


def section(passed: bool, date: str, seconds: int, machine: str, lines: list[str]) -> str:
    """The text of one run of one part."""
    # A fence within would end ours.
    text = "".join(line.replace("```", "'''") + "\n" for line in lines)
    return f"{'Passed' if passed else 'FAILED'} on {date} after {seconds} s: {machine}.\n\n```text\n{text}```\n"


def read(text: str) -> dict[str, str]:
    """Part -> section of a record."""
    found = re.split(rf"^## (\S+)\n\n(?={RESULT.pattern})", text, flags=re.M)[1:]
    # Each match also yields the groups of RESULT.
    return {name: body.rstrip("\n") + "\n" for name, body in zip(found[::5], found[4::5])}


def render(abouts: dict[str, str], sections: dict[str, str]) -> str:
    """The whole file; parts in their order, also those without a record. Parts that no longer exist are left out."""
    rows = []
    for name, about in abouts.items():
        if result := RESULT.match(sections.get(name, "")):
            words = "passed" if result[1] == "Passed" else "**failed**"
            rows.append(f"| [{name}](#{name}) | {about} | {words} | {result[2]} | {int(result[3]):,} |\n")
        else:
            rows.append(f"| {name} | {about} | not recorded | | |\n")
    return HEAD + "".join(rows) + "".join(f"\n## {name}\n\n{sections[name]}" for name in abouts if name in sections)


def keep(abouts: dict[str, str], name: str, text: str, file: Path = FILE) -> None:
    """Puts a section in the place of the part's last."""
    sections = read(file.read_text() if file.exists() else "")
    file.write_text(render(abouts, {**sections, name: text}))
