"""Fetches wheels from the Python package index; never installs into the machine's Python.

A fresh Debian has python3 without pip. Then pip itself comes from the Debian package (root) or from its unpacked wheel,
which Python runs as it is.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from . import debs
from .console import Problem, Progress, say
from .disk import require_free
from .paths import ROOT, TOOLS


def pip_command() -> list[str]:
    """The command that starts pip."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    folders = (debs.PREFIX / "usr/share/python-wheels", Path("/usr/share/python-wheels"))
    for attempt in ("search", "install"):
        if attempt == "install":
            debs.install(["python3-pip-whl"])
        for folder in folders:
            wheels = sorted(folder.glob("pip-*.whl"))
            if wheels:
                return [sys.executable, str(wheels[-1] / "pip")]
    raise Problem("Python has no pip and the package python3-pip-whl did not provide one. Install pip for python3.")


def packages(name: str, requirements: Path, needed_bytes: int = 500_000_000, *, listed_only: bool = False) -> dict[str, str]:
    """The variables with which Python finds these packages at their pinned versions, fetched once into a separate folder.

    With `listed_only` their dependencies are not fetched: the file lists those that are used.
    """
    home = TOOLS / name
    stamp = home / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        require_free(TOOLS, needed_bytes, f"Python packages of {requirements.relative_to(ROOT)}")
        say(f"fetching the Python packages of {requirements.relative_to(ROOT)}")
        shutil.rmtree(home, ignore_errors=True)
        argv = [*pip_command(), "install", "-q", "--no-cache-dir", "--disable-pip-version-check", "--target", str(home), "-r", str(requirements)]
        argv += ["--no-deps"] if listed_only else []
        if subprocess.run(argv).returncode != 0:
            raise Problem(f"pip could not fetch the packages of {requirements}: see its message above")
        stamp.write_text(requirements.read_text())
    return {"PYTHONPATH": f"{home}:{os.environ.get('PYTHONPATH', '')}"}


def download(requirements: list[str], folder: Path, *, with_dependencies: bool = False) -> list[Path]:
    """Downloads wheels for x86-64 Linux into `folder` and returns all wheels there.

    The wheels' Python version is fixed: we read libraries out of them and never import them, so that the Python of the
    machine does not matter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = ["--only-binary", ":all:", "--python-version", "3.12", "--implementation", "cp"]
    # pip takes a named platform literally, so every glibc that the oldest supported system (2.28) covers is named.
    for platform in [f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)] + ["manylinux2014_x86_64"]:
        target += ["--platform", platform]
    dependencies = [] if with_dependencies else ["--no-deps"]
    argv = [*pip_command(), "download", "--no-cache-dir", "--disable-pip-version-check", "-d", str(folder)]
    done = subprocess.run([*argv, *target, *dependencies, *requirements])
    if done.returncode != 0:
        raise Problem(
            f"pip could not download {' '.join(requirements)}: see its message above. "
            f"Check the network (and PIP_INDEX_URL, if you use a mirror), then run this again."
        )
    return sorted(folder.glob("*.whl"))


def unpack(wheel: Path, destination: Path, wanted, label: str) -> None:
    """Extracts the members for which `wanted(name)` gives a new relative name; None leaves a member out."""
    with zipfile.ZipFile(wheel) as archive:
        chosen = [(member, wanted(member.filename)) for member in archive.infolist() if not member.is_dir()]
        chosen = [(member, name) for member, name in chosen if name is not None]
        if not chosen:
            return
        progress = Progress(label, sum(member.file_size for member, _ in chosen))
        for member, name in chosen:
            path = destination / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as sink:
                while block := source.read(8 << 20):
                    sink.write(block)
                    progress.add(len(block))
            mode = (member.external_attr >> 16) & 0o777
            path.chmod((mode or 0o644) | 0o600)
