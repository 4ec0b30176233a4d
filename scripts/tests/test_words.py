"""What scripts/check-words rejects, accepts and skips."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from fleet_stack.paths import ROOT


class CheckWords(unittest.TestCase):
    def check(self, name: str, text: str) -> int:
        """The exit code in a repository with this file alone."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "init", "-q", folder], check=True)
            for path in (Path(folder, name), Path(folder, "scripts/check-words")):
                path.parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_text(text + "\n")
            script = shutil.copy2(ROOT / "scripts/check-words", Path(folder, "scripts"))
            return subprocess.run([script], capture_output=True).returncode

    def test_rejects_the_listed_wording_in_any_case(self) -> None:
        for text in ("Starts anew.", "`x` is no device", "Nobody else does", "it wins over the tier"):
            self.assertEqual(self.check("README.md", text), 1, text)

    def test_accepts_plain_wording(self) -> None:
        for text in ("Restarts.", "`x` is not a valid device", "there is no database", "renews the lease"):
            self.assertEqual(self.check("worker/src/lib.rs", text), 0, text)

    def test_reads_documents_and_code_but_not_the_rules(self) -> None:
        self.assertEqual([self.check(name, "anew") for name in ("README.md", "worker/src/lib.rs", "docs/writing.md")], [1, 1, 0])
