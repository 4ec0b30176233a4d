"""The archive for a machine with a card but without Rust and network: programs, fixtures, these scripts, diffusers."""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from fleet_stack import pip
from fleet_stack.console import Problem
from fleet_stack.paths import ROOT

from . import place

BYTES_MAX = 48 << 20
# diffusers and what it imports beyond torch; a Python that has some of them uses its own.
WHEELS = ["diffusers==0.36.0", "importlib_metadata", "zipp", "huggingface_hub<1", "safetensors", "regex", "filelock", "packaging", "pyyaml", "tqdm"]
WHEELS += ["requests", "urllib3", "idna", "certifi", "charset_normalizer", "typing_extensions", "fsspec"]


def make(archive: Path, *, wheels: bool, build: bool = True, preset: int = 6) -> None:
    """Builds what is needed and packs it; fails when it has become too large to carry."""
    if place.PACKED:
        raise Problem("this is an archive already; pack from a checkout")
    if build and shutil.which("cargo"):
        subprocess.run(place.BUILD, cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        top = Path(scratch) / "gpu-check"
        (top / "bin").mkdir(parents=True)
        for program in (place.WORKER, place.CARD):
            subprocess.run(["strip", "-o", top / "bin" / program.name, program], check=True)
        shutil.copytree(place.FIXTURES, top / "fixtures")
        for package in ("gpu_check", "fleet_stack"):
            shutil.copytree(ROOT / "scripts" / package, top / "scripts" / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(ROOT / "scripts/gpu-check", top / "scripts/gpu-check")
        if wheels:
            fetch(Path(scratch) / "wheels", top / "packages")
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:xz", preset=preset) as tar:
            tar.add(top, "gpu-check")
    size = archive.stat().st_size
    print(f"{archive}: {size / 2**20:.1f} MiB")
    if size > BYTES_MAX:
        raise Problem(f"the archive has {size / 2**20:.1f} MiB and may have {BYTES_MAX >> 20}: leave something out of scripts/gpu_check/pack.py")


def fetch(wheels: Path, into: Path) -> None:
    """Unpacks the packages side by side, for any Python 3.12 on x86-64 Linux."""
    for wheel in pip.download(WHEELS, wheels):
        pip.unpack(wheel, into, lambda name: name, wheel.name.split("-")[0])
