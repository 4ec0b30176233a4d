"""Packs what training needs on a machine without a network: this package and the wheels that PyTorch does not bring."""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
MOST_BYTES = 48 * 2**20
GLIBC = ("_2_28", "_2_27", "_2_24", "_2_17", "2014", "_2_12", "_2_5")  # what wheels are made for
WANTED = ("diffusers", "transformers")
THERE = {"torch", "numpy", "pillow"}  # and what these need
UNUSED = {"hf-xet"}  # fetches from a network
LAUNCHER = """#!/usr/bin/env bash
# usage: ./run OUT [MINUTES] [further words for `training train`]
# Trains, exports and judges on this machine's GPU within MINUTES (9) and leaves files below 16 MiB in OUT.
set -euo pipefail
out=$(realpath -m "$1") minutes=${2:-9}
mkdir -p "$out"
cd "$(dirname "$0")"
export PYTHONPATH=$PWD/site:$PWD PYTHONDONTWRITEBYTECODE=1 TOKENIZERS_PARALLELISM=true HF_HUB_OFFLINE=1
[ -d site ] || python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target site wheels/*.whl
exec python3 -m training train --preset card --device cuda --work "$PWD/work" --out "$out" --parts --minutes "$minutes" "${@:3}" \\
    > >(tee "$out/training.log") 2>&1
"""


def closure(names):
    """`name==version` of the packages and of all that they need here, in the versions that are installed here."""
    found, waiting = {}, list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found or name in THERE | UNUSED:
            continue
        found[name] = f"{name}=={metadata.version(name)}"
        for line in metadata.requires(name) or []:
            if "extra ==" not in line:
                waiting.append(re.match(r"[\w.-]+", line)[0])
        waiting = [each for each in waiting if installed(each)]
    return sorted(found.values())


def installed(name):
    """Whether the package is here: requirements for other systems and versions of Python are not."""
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def pack(target, python="3.12"):
    """Writes `target`, a tar archive, and returns its size in bytes."""
    with tempfile.TemporaryDirectory() as aside:
        wheels = Path(aside) / "wheels"
        tags = [word for version in GLIBC for word in ("--platform", f"manylinux{version}_x86_64")]
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", python]
        subprocess.run([*command, "--implementation", "cp", *tags, "-d", wheels, *closure(WANTED)], check=True)
        shutil.copytree(HERE, Path(aside) / "training", ignore=shutil.ignore_patterns("__pycache__"))
        launcher = Path(aside) / "run"
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target, "w") as archive:
            for part in ("run", "training", "wheels"):
                archive.add(Path(aside) / part, f"training-pack/{part}")
    size = target.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{target} has {size} bytes, more than the {MOST_BYTES} that may be carried: leave some wheels out")
    return size
