"""What scripts/check-words rejects, accepts and skips."""

import shutil
import subprocess
from pathlib import Path

import pytest
from fleet_stack.paths import ROOT

SOURCE = "worker/src/lib.rs"
REJECTED = [("README.md", text) for text in ("Starts anew.", "`x` is no device", "Nobody else does", "it wins over the tier")] + [(SOURCE, "anew")]
ACCEPTED = [(SOURCE, text) for text in ("Restarts.", "`x` is not a valid device", "there is no database", "renews the lease")]
# The page of rules.
ACCEPTED += [("docs/writing.md", "anew")]


@pytest.mark.parametrize("name, text", REJECTED + ACCEPTED)
def test_wording(tmp_path: Path, name: str, text: str) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for path in (tmp_path / name, tmp_path / "scripts/check-words"):
        path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text + "\n")
    script = shutil.copy2(ROOT / "scripts/check-words", tmp_path / "scripts")
    assert subprocess.run([script], capture_output=True).returncode == ((name, text) in REJECTED)
