"""scripts/gpu-check at small size on the CPU: every stage runs with the built programs, and the archive holds what a bare machine needs."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

from fleet_stack import bench
from fleet_stack.console import Problem
from gpu_check import pack, place, report, stages

SCRIPTS = Path(__file__).resolve().parents[1]


def check(script: Path, out: Path, *words: str, **variables: str) -> dict[int, dict]:
    """Results by stage of one run."""
    argv = [sys.executable, script, "--device", "cpu", "--small", "--out", out, *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | variables)
    results = {result["stage"]: result for result in json.loads((out / "report.json").read_text())}
    failed = [result for result in results.values() if result["state"] == "failed"]
    assert not failed and done.returncode == 0, f"{json.dumps(failed, indent=1)}\n{done.stdout}\n{done.stderr}"
    return results


class GpuCheckTest(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def test_every_stage_runs_on_a_cpu(self) -> None:
        results = check(SCRIPTS / "gpu-check", self.folder)
        self.assertEqual(sorted(results), list(range(9)))
        rows = {number: report.rows_of(list(results.values()), number) for number in results}
        self.assertGreater(rows[0]["model"]["transformer_parameters"], 0)
        self.assertEqual(len(rows[1]), 3)
        self.assertTrue({"base", "bf16"} <= set(rows[2]))
        self.assertIn("attention single flash", rows[3])
        self.assertEqual([row["ok"] for row in results[4]["rows"]], [True, True, True])
        self.assertGreater(rows[5]["steps 96x64x9"]["step_s"], 0)
        self.assertTrue(rows[6]["stop"]["ok"])
        self.assertTrue(rows[6]["drain"]["ok"])
        self.assertGreaterEqual(rows[6]["drain"]["steps_kept"], 1)
        self.assertEqual(rows[7]["decode"]["bytes"], 96 * 64 * 9 * 3)
        self.assertIn("a step at 96x64x9", (self.folder / "report.md").read_text())
        self.assertTrue((self.folder / "stage-7.json").exists())

    def test_the_archive_runs_where_there_is_nothing_but_libtorch(self) -> None:
        archive = self.folder / "gpu-check.tar.xz"
        pack.make(archive, wheels=False, build=False, preset=0)
        self.assertLess(archive.stat().st_size, pack.BYTES_MAX)
        with tarfile.open(archive) as tar:
            tar.extractall(self.folder, filter="data")
        top = self.folder / "gpu-check"
        libtorch = Path(os.environ.get("LIBTORCH", SCRIPTS.parent / ".libtorch"))
        # No cargo and no checkout: what a path to either would hide.
        results = check(top / "scripts/gpu-check", self.folder / "out", "--stages", "0-1", LIBTORCH=str(libtorch), PATH="/usr/bin:/bin")
        self.assertEqual(sorted(results), [0, 1])
        self.assertEqual((top / "libtorch").resolve(), libtorch.resolve())

    def test_the_released_configuration_has_its_published_size(self) -> None:
        model = stages.write_model(place.FIXTURES / "base/model", self.folder / "model", small=False)
        out = subprocess.run([place.CARD, "info", model], capture_output=True, text=True, check=True).stdout
        self.assertEqual(round(json.loads(out)["transformer_parameters"] / 1e9, 1), 12.8)

    def test_a_stage_that_hangs_is_stopped_and_reported(self) -> None:
        slow = stages.Stage(0, "slow", 1, lambda setting, deadline: stages.lines(["sleep", "600"], deadline, dict(os.environ)))
        broken = stages.Stage(1, "broken", 9, lambda setting, deadline: stages.lines(["false", "x"], deadline, dict(os.environ)))
        before = stages.STAGES
        self.addCleanup(setattr, stages, "STAGES", before)
        stages.STAGES = [slow, broken]
        results = stages.run([0, 1], self.folder, device="cpu", small=True)
        self.assertEqual([result["state"] for result in results], ["failed", "failed"])
        self.assertEqual(results[0]["rows"][0]["error"], "stopped at its deadline")
        self.assertEqual(json.loads((self.folder / "stage-0.json").read_text())["state"], "failed")

    def test_ranges_of_stages(self) -> None:
        self.assertEqual(stages.numbers("0,3-5"), [0, 3, 4, 5])
        with self.assertRaises(Problem):
            stages.numbers("all")

    def test_what_was_not_measured_is_said(self) -> None:
        document = (SCRIPTS.parent / "docs/performance.md").read_text()
        block = document.split("<!-- gpu-check: begin -->\n")[1].split("<!-- gpu-check: end -->")[0]
        if "has not run on a GPU yet" in block:
            self.assertEqual(block, report.text([]), "write it with: bench.write_into(..., report.text([]))")
        copy = self.folder / "performance.md"
        shutil.copy(SCRIPTS.parent / "docs/performance.md", copy)
        bench.write_into(copy, "gpu-check", report.text([]).rstrip())
        self.assertIn("| a step at 1280x720x129 | not measured | 600 TFLOP/s |", copy.read_text())
