"""The record of `make verify`: parts keep their entries, and the record does not contain the machine's folders."""

import re
from pathlib import Path

from fleet_stack.paths import ROOT
from verification import parts, record

ABOUTS = {"test": "Every check", "backup": "Backs up"}


def entry(*, passed: bool = True, lines: tuple[str, ...] = ("restored", "done")) -> str:
    return record.section(passed, "2026-01-02", 1234, "2 cores, 16 GB, no GPU", list(lines))


def test_what_is_written_is_read_back_and_a_part_that_is_gone_loses_its_entry() -> None:
    entries = {"test": entry(), "backup": entry(passed=False, lines=("a | b", "", "## test", "", "c."))}
    text = record.render(ABOUTS, entries)
    assert record.read(text) == entries
    assert "| [test](#test) | Every check | passed | 2026-01-02 | 1,234 |\n| [backup](#backup) | Backs up | **failed** |" in text
    assert "## backup" not in record.render({"test": "Every check"}, entries)


def test_a_part_that_runs_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "verification.md"
    record.keep(ABOUTS, "test", entry(), file)
    assert "| backup | Backs up | not recorded | | |" in file.read_text()
    record.keep(ABOUTS, "backup", entry(passed=False), file)
    record.keep(ABOUTS, "backup", entry(lines=("second run",)), file)
    assert record.read(file.read_text()) == {"test": entry(), "backup": entry(lines=("second run",))}


def test_a_fence_in_the_output_ends_nothing() -> None:
    assert entry(lines=("```", "after")).partition("```text\n")[2] == "'''\nafter\n```\n"


def test_every_part_says_what_it_does() -> None:
    assert [part.name for part in parts.all_parts() if not re.search(r"^[A-Z].{20,}[^.]$", part.about())] == []


def test_lines_name_no_folder_of_this_machine() -> None:
    assert parts.neutral(f"\x1b[32mkept\x1b[0m in {ROOT}/docs/x of {ROOT}\n") == "kept in docs/x of ."
    assert parts.neutral("  10 %\r  100 %\n") == "  100 %"


def test_the_record_is_of_the_parts_that_there_are() -> None:
    abouts = {part.name: part.about() for part in parts.all_parts()}
    text = record.FILE.read_text()
    assert record.render(abouts, record.read(text)) == text, "run `scripts/run-verify --write PART`"
