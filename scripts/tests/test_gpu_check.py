"""scripts/gpu-check at small size on the CPU: every stage runs with the built programs, and the archive holds what a bare machine needs."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from fleet_stack import bench
from fleet_stack.paths import ROOT
from gpu_check import pack, place, report, stages


def check(script: Path, out: Path, *words: str, **variables: str) -> dict[int, dict]:
    """Results by stage of one run."""
    argv = [sys.executable, script, "--device", "cpu", "--small", "--out", out, *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | variables)
    results = {result["stage"]: result for result in json.loads((out / "report.json").read_text())}
    failed = [result for result in results.values() if result["state"] == "failed"]
    assert not failed and done.returncode == 0, f"{json.dumps(failed, indent=1)}\n{done.stdout}\n{done.stderr}"
    return results


def test_every_stage_runs_on_a_cpu(tmp_path: Path) -> None:
    results = check(ROOT / "scripts/gpu-check", tmp_path)
    assert sorted(results) == list(range(9))
    rows = {number: report.rows_of(list(results.values()), number) for number in results}
    assert rows[0]["model"]["transformer_parameters"] > 0
    assert len(rows[1]) == 3
    assert {"base", "bf16"} <= set(rows[2])
    assert "attention single flash" in rows[3]
    assert [row["ok"] for row in results[4]["rows"]] == [True, True, True]
    assert rows[5]["steps 96x64x9"]["step_s"] > 0
    assert rows[6]["stop"]["ok"] and rows[6]["drain"]["ok"] and rows[6]["drain"]["steps_kept"] >= 1
    assert rows[7]["decode"]["bytes"] == 96 * 64 * 9 * 3
    assert "a step at 96x64x9" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "stage-7.json").exists()


def test_the_archive_runs_where_there_is_nothing_but_libtorch(tmp_path: Path) -> None:
    archive = tmp_path / "gpu-check.tar.xz"
    pack.make(archive, wheels=False, build=False, preset=0)
    assert archive.stat().st_size < pack.BYTES_MAX
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    top = tmp_path / "gpu-check"
    libtorch = Path(os.environ.get("LIBTORCH", ROOT / ".libtorch"))
    # No cargo and no checkout: what a path to either would hide.
    results = check(top / "scripts/gpu-check", tmp_path / "out", "--stages", "0", "1", LIBTORCH=str(libtorch), PATH="/usr/bin:/bin")
    assert sorted(results) == [0, 1]
    assert (top / "libtorch").resolve() == libtorch.resolve()


def test_the_released_configuration_has_its_published_size(tmp_path: Path) -> None:
    model = stages.write_model(place.FIXTURES / "base/model", tmp_path / "model", small=False)
    out = subprocess.run([place.CARD, "info", model], capture_output=True, text=True, check=True).stdout
    assert round(json.loads(out)["transformer_parameters"] / 1e9, 1) == 12.8


def test_a_stage_that_hangs_is_stopped_and_reported(tmp_path: Path, monkeypatch) -> None:
    slow = stages.Stage(0, "slow", 1, lambda setting, deadline: stages.lines(["sleep", "600"], deadline, dict(os.environ)))
    broken = stages.Stage(1, "broken", 9, lambda setting, deadline: stages.lines(["false", "x"], deadline, dict(os.environ)))
    monkeypatch.setattr(stages, "STAGES", [slow, broken])
    results = stages.run([0, 1], tmp_path, device="cpu", small=True)
    assert [result["state"] for result in results] == ["failed", "failed"]
    assert results[0]["rows"][0]["error"] == "stopped at its deadline"
    assert json.loads((tmp_path / "stage-0.json").read_text())["state"] == "failed"


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    document = (ROOT / "docs/performance.md").read_text()
    block = document.split("<!-- gpu-check: begin -->\n")[1].split("<!-- gpu-check: end -->")[0]
    if "has not run on a GPU yet" in block:
        assert block == report.text([]), "write it with: bench.write_into(..., report.text([]))"
    copy = shutil.copy(ROOT / "docs/performance.md", tmp_path)
    bench.write_into(Path(copy), "gpu-check", report.text([]).rstrip())
    assert "| a step at 1280x720x129 | not measured | 600 TFLOP/s |" in Path(copy).read_text()
