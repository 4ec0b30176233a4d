"""Puts libtorch where the build and the finished worker look for it: `.libtorch` of the checkout.

libtorch comes out of the PyTorch wheel. Of it a machine without a GPU needs three libraries, the headers, and two small
NVIDIA libraries that the CPU half is linked against (0.6 GB together); a machine with one needs the CUDA half
and what that asks for (about 5 GB). Both kinds carry the same CPU half, so one worker binary runs with either.

`.libtorch` is a symbolic link to `.tools/libtorch/VERSION-KIND`, changed in one step: a build that runs meanwhile sees
the old or the new one, never half of it.
"""

from __future__ import annotations

import ctypes.util
import os
import platform
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

from . import pip
from .console import Problem, run, say
from .disk import require_free
from .paths import LIBTORCH, ROOT, TOOLS

# The version that our tch release is made for; another one has other functions under the same names.
VERSION = "2.11.0"
# Versions that PyTorch's own requirements name for this release.
CPU_EXTRAS = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]
CPU_LIBRARIES = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1"}
EXTRA_LIBRARIES = {"libcudart.so.13", "libcupti.so.13"}
NEEDED_BYTES = {"cpu": 1_600_000_000, "cuda": 9_000_000_000}


def wanted_kind() -> str:
    """`cpu` or `cuda`: LIBTORCH_KIND, else by the machine's hardware."""
    asked = os.environ.get("LIBTORCH_KIND", "").strip().lower()
    if asked not in ("", "auto", "cpu", "cuda"):
        raise Problem(f"LIBTORCH_KIND is {asked!r}; use cpu, cuda or auto.")
    if asked in ("cpu", "cuda"):
        return asked
    return "cuda" if has_nvidia_driver() else "cpu"


def has_nvidia_driver() -> bool:
    """A device node and the driver's user library: without either, CUDA cannot start."""
    return Path("/dev/nvidiactl").exists() and ctypes.util.find_library("cuda") is not None


def installed() -> tuple[str, str] | None:
    """(version, kind) of what `.libtorch` holds, or None."""
    version = installed_version(LIBTORCH)
    if version is None:
        return None
    return version, "cuda" if (LIBTORCH / "lib/libtorch_cuda.so").exists() else "cpu"


def installed_version(folder: Path) -> str | None:
    """Reads the version out of a libtorch folder, ours or one of a Python environment."""
    if not (folder / "lib/libtorch_cpu.so").exists():
        return None
    stamp = folder / "build-version"
    if stamp.exists():
        return stamp.read_text().strip().partition("+")[0]
    package = folder / "version.py"
    return stated_version(package.read_text()).partition("+")[0] if package.exists() else "unknown"


def stated_version(text: str) -> str:
    """`2.11.0+cu130` out of PyTorch's version.py."""
    found = re.search(r"^__version__ = '([^']+)'", text, re.M)
    return found[1] if found else "unknown"


def set_up() -> None:
    """Makes `.libtorch` what the build needs. Does nothing when it is already so."""
    own = os.environ.get("LIBTORCH")
    if own and Path(own).resolve() != LIBTORCH.resolve():
        check_own(Path(own))
        return
    if in_place():
        return
    kind, present = wanted_kind(), installed()
    if present and present[0] != VERSION:
        say(f".libtorch holds libtorch {present[0]}; this project is built for {VERSION}")
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        raise Problem(
            f"libtorch is fetched for Linux on x86-64 only, and this is {platform.system()} on {platform.machine()}.\n"
            f"Get libtorch {VERSION} for it yourself and set LIBTORCH to its folder."
        )
    home = TOOLS / "libtorch" / f"{VERSION}-{kind}"
    if not (home / "complete").exists():
        fetch(kind, home)
    link(home / "torch")
    say(f"libtorch {VERSION} ({kind}) is in place")


def in_place() -> bool:
    """Whether `.libtorch` fits this machine. Both halves serve a machine without a GPU too, unless it asks for one."""
    kind, present = wanted_kind(), installed()
    return present is not None and present[0] == VERSION and (present[1] == kind or "LIBTORCH_KIND" not in os.environ and present[1] == "cuda")


def check_own(folder: Path) -> None:
    """A LIBTORCH of the user's own is taken as it is, if it is the right version."""
    version = installed_version(folder)
    if version != VERSION:
        found = f"libtorch {version}" if version else "no libtorch"
        raise Problem(
            f"LIBTORCH={folder} holds {found}, but this project needs {VERSION}.\n"
            f"Unset LIBTORCH and run scripts/setup-libtorch, or install that version there "
            f"(pip install torch=={VERSION} brings it as site-packages/torch)."
        )
    say(f"libtorch {version} of LIBTORCH={folder} is used")


def fetch(kind: str, home: Path) -> None:
    """Downloads and unpacks one kind into `home`."""
    require_free(TOOLS, NEEDED_BYTES[kind], f"libtorch ({kind})")
    say(f"fetching libtorch {VERSION} ({kind}) from the Python package index")
    partial = home.with_name(home.name + ".partial")
    wheels = home.with_name(home.name + ".wheels")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    torch = next(w for w in pip.download([f"torch=={VERSION}"], wheels) if w.name.startswith("torch-"))
    if kind == "cpu":
        extras = pip.download(CPU_EXTRAS, wheels)
        unpack_cpu(torch, [w for w in extras if w != torch], partial)
    else:
        unpack_cuda(torch, pip.download(cuda_requirements(torch), wheels, with_dependencies=True), partial)
    with zipfile.ZipFile(torch) as archive:
        (partial / "torch/build-version").write_text(stated_version(archive.read("torch/version.py").decode()) + "\n")
    (partial / "complete").write_text("")
    shutil.rmtree(home, ignore_errors=True)
    partial.rename(home)
    shutil.rmtree(wheels, ignore_errors=True)


def unpack_torch(wheel: Path, into: Path, wanted: Callable[[str], bool]) -> None:
    """The headers, and those libraries for whose file name `wanted` holds."""

    def place(name: str) -> str | None:
        folder, _, base = name.rpartition("/")
        return name if name.startswith("torch/include/") or folder == "torch/lib" and wanted(base) else None

    pip.unpack(wheel, into, place, "unpacking libtorch")


def unpack_cpu(torch: Path, extras: list[Path], into: Path) -> None:
    """The CPU half: libraries and headers side by side, and an empty libtorch.so for the CPU half alone."""
    lib = into / "torch/lib"
    unpack_torch(torch, into, CPU_LIBRARIES.__contains__)
    for wheel in extras:
        pip.unpack(wheel, lib, lambda n: Path(n).name if Path(n).name in EXTRA_LIBRARIES else None, wheel.name.split("-")[0])
    missing = sorted((CPU_LIBRARIES | EXTRA_LIBRARIES) - {entry.name for entry in lib.iterdir()})
    if missing:
        raise Problem(f"the wheels contain no {', '.join(missing)}: this is a bug in scripts/fleet_stack/libtorch.py")
    link_stub(lib)


def link_stub(lib: Path) -> None:
    """The wheel's own libtorch.so asks for the CUDA half; ours asks for the CPU half only."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise Problem("No C compiler found. Install one (Debian: apt-get install g++), then run this again.")
    argv = [compiler, "-shared", "-o", "libtorch.so", "-Wl,-soname,libtorch.so", "-Wl,--no-as-needed", "-x", "c", "/dev/null"]
    argv += ["-x", "none", "-L.", "-l:libtorch_cpu.so", "-Wl,-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined"]
    done = subprocess.run(argv, cwd=lib, capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(f"linking the stub libtorch.so failed:\n{done.stderr.strip()}")


def cuda_requirements(torch: Path) -> list[str]:
    """The NVIDIA packages that this PyTorch wheel names itself."""
    with zipfile.ZipFile(torch) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    wanted = [line.removeprefix("Requires-Dist: ").partition(";")[0].strip() for line in lines if line.startswith("Requires-Dist: ")]
    return [line for line in wanted if line.startswith(("nvidia-", "cuda-toolkit"))]


def unpack_cuda(torch: Path, wheels: list[Path], into: Path) -> None:
    """Both halves as in a Python environment: torch/lib finds ../../nvidia by its own search path."""
    unpack_torch(torch, into, lambda base: base != "libtorch_python.so")
    for wheel in wheels:
        if wheel != torch:
            pip.unpack(wheel, into, lambda n: n if "/lib/" in n and n.startswith("nvidia/") else None, wheel.name.split("-")[0])


def link(home: Path) -> None:
    """Points `.libtorch` at `home` in one step."""
    if LIBTORCH.exists() and not LIBTORCH.is_symlink():
        LIBTORCH.rename(LIBTORCH.with_name(".libtorch.replaced"))
        say("the folder .libtorch was in the way and is now .libtorch.replaced")
    fresh = LIBTORCH.with_name(f".libtorch.{os.getpid()}")
    fresh.symlink_to(os.path.relpath(home, ROOT))
    os.replace(fresh, LIBTORCH)


if __name__ == "__main__":
    run(set_up)
