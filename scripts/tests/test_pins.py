"""scripts/pin-images with a stand-in for Docker: which lines are pinned, that a second run replaces the digest, and that nothing is half pinned."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from fleet_stack.paths import ROOT

FILES = {"docker-compose.yml": ["grafana", "postgres", "prometheus", "rabbitmq", "redis"], "helm/values.yaml": ["curl", "postgres", "rabbitmq", "redis"]}
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")


def pin(checkout: Path, docker: str, *words: str) -> int:
    """The exit status with this shell command as `docker`."""
    (checkout / "bin").mkdir(exist_ok=True)
    (checkout / "bin/docker").write_text(f"#!/bin/sh\n{docker}\n")
    (checkout / "bin/docker").chmod(0o755)
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    return subprocess.run([checkout / "scripts/pin-images", *words], env={**os.environ, "PATH": path}, capture_output=True).returncode


def test_every_service_image_is_pinned_again_or_none(tmp_path: Path) -> None:
    for name in (*FILES, "scripts/pin-images"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert pin(tmp_path, "exit 1", "--check") == 1
    for letter in "ab":
        assert pin(tmp_path, f"echo sha256:{letter * 64}") == 0
        for name, images in FILES.items():
            text = (tmp_path / name).read_text()
            assert sorted(set(re.findall(rf"([\w-]+):[\w.-]+@sha256:{letter * 64}", text))) == images
            assert DIGEST.sub("", text) == DIGEST.sub("", (ROOT / name).read_text())
    assert pin(tmp_path, "exit 1", "--check") == 0
    before = {name: (tmp_path / name).read_text() for name in FILES}
    assert pin(tmp_path, 'case $4 in *redis*) exit 1 ;; *) echo sha256:$(printf c%.0s $(seq 64)) ;; esac') != 0
    assert before == {name: (tmp_path / name).read_text() for name in FILES}
