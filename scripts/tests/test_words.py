"""What scripts/check-words rejects, accepts and skips."""

import runpy
import unittest
from pathlib import Path

WORDS = runpy.run_path(str(Path(__file__).resolve().parent.parent / "check-words"))


class CheckWords(unittest.TestCase):
    def test_rejects_the_listed_wording_in_any_case(self) -> None:
        for text in ("Starts anew.", "`x` is no device", "Nobody else does", "it wins over the tier"):
            self.assertIsNotNone(WORDS["WORDING"].search(text), text)

    def test_accepts_plain_wording(self) -> None:
        for text in ("Restarts.", "`x` is not a valid device", "there is no database", "renews the lease"):
            self.assertIsNone(WORDS["WORDING"].search(text), text)

    def test_reads_documents_and_code_but_not_the_rules(self) -> None:
        names = WORDS["files"]()
        self.assertIn("README.md", names)
        self.assertIn("worker/src/lib.rs", names)
        self.assertNotIn("docs/writing.md", names)


if __name__ == "__main__":
    unittest.main()
