"""The record of `make verify`: parts keep their entries, and the record does not contain the machine's folders."""

import tempfile
import unittest
from pathlib import Path

from fleet_stack.paths import ROOT
from verification import parts, record

ABOUTS = {"test": "Every check", "backup": "Backs up"}


def entry(*, passed: bool = True, lines: tuple[str, ...] = ("restored", "done")) -> str:
    return record.section(passed, "2026-01-02", 1234, "2 cores, 16 GB, no GPU", list(lines))


class RecordTest(unittest.TestCase):
    def test_what_is_written_is_read_back(self) -> None:
        entries = {"test": entry(), "backup": entry(passed=False, lines=("a | b", "", "## test", "", "c."))}
        text = record.render(ABOUTS, entries)
        self.assertEqual(record.read(text), entries)
        self.assertIn("| [test](#test) | Every check | passed | 2026-01-02 | 1,234 |\n| [backup](#backup) | Backs up | **failed** |", text)

    def test_a_part_that_runs_leaves_the_others(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "verification.md"
            record.keep(ABOUTS, "test", entry(), file)
            self.assertIn("| backup | Backs up | not recorded | | |", file.read_text())
            record.keep(ABOUTS, "backup", entry(passed=False), file)
            record.keep(ABOUTS, "backup", entry(lines=("second run",)), file)
            self.assertEqual(record.read(file.read_text()), {"test": entry(), "backup": entry(lines=("second run",))})

    def test_a_part_that_is_gone_loses_its_entry(self) -> None:
        self.assertNotIn("## backup", record.render({"test": "Every check"}, {"test": entry(), "backup": entry()}))

    def test_a_fence_in_the_output_ends_nothing(self) -> None:
        self.assertEqual(entry(lines=("```", "after")).partition("```text\n")[2], "'''\nafter\n```\n")


class PartsTest(unittest.TestCase):
    def test_every_part_says_what_it_does(self) -> None:
        for part in parts.all_parts():
            self.assertRegex(part.about(), r"^[A-Z].{20,}[^.]$", part.name)

    def test_lines_name_no_folder_of_this_machine(self) -> None:
        self.assertEqual(parts.neutral(f"\x1b[32mkept\x1b[0m in {ROOT}/docs/x of {ROOT}\n"), "kept in docs/x of .")
        self.assertEqual(parts.neutral("  10 %\r  100 %\n"), "  100 %")

    def test_the_record_is_of_the_parts_that_there_are(self) -> None:
        abouts = {part.name: part.about() for part in parts.all_parts()}
        text = record.FILE.read_text()
        self.assertEqual(record.render(abouts, record.read(text)), text, "run `scripts/run-verify --write PART`")
