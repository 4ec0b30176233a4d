"""Puts libtorch where the build and the finished worker look for it: `.libtorch` of the checkout.

libtorch comes out of the PyTorch wheel. Of it a machine without a GPU needs three libraries, the headers, and two small
NVIDIA libraries that the CPU half is linked against (0.6 GB together); a machine with one needs the CUDA half
and what that asks for (about 5 GB). Both kinds carry the same CPU half, so one worker binary runs with either.

`.libtorch` is a symbolic link to `.tools/libtorch/VERSION-KIND`, changed in one step: a build that runs meanwhile sees
the old or the new one, never half of it.
"""

import ctypes.util
import os
import platform
import re
import shutil
import zipfile
from pathlib import Path

from . import pip
from .console import Problem, output, run, say
from .paths import LIBTORCH, ROOT, TOOLS, require_free

# The version that our tch release is made for; another one has other functions under the same names.
VERSION = "2.11.0"
# Versions that PyTorch's own requirements name for this release.
CPU_EXTRAS = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]
CPU_LIBRARIES = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1"}
EXTRA_LIBRARIES = {"libcudart.so.13", "libcupti.so.13"}
NEEDED_BYTES = {"cpu": 1_600_000_000, "cuda": 9_000_000_000}


def wanted_kind() -> str:
    """`cpu` or `cuda`: LIBTORCH_KIND, else by the machine's hardware."""
    asked = os.environ.get("LIBTORCH_KIND", "").strip().lower() or "auto"
    if asked not in ("auto", "cpu", "cuda"):
        raise Problem(f"LIBTORCH_KIND is {asked!r}; use cpu, cuda or auto.")
    return asked if asked != "auto" else "cuda" if has_nvidia_driver() else "cpu"


def has_nvidia_driver() -> bool:
    """A device node and the driver's user library: without either, CUDA cannot start."""
    return Path("/dev/nvidiactl").exists() and ctypes.util.find_library("cuda") is not None


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
    kind, present = wanted_kind(), installed_version(LIBTORCH)
    if present and present != VERSION:
        say(f".libtorch holds libtorch {present}; this project is built for {VERSION}")
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
    kind = "cuda" if (LIBTORCH / "lib/libtorch_cuda.so").exists() else "cpu"
    fits = kind == wanted_kind() or kind == "cuda" and "LIBTORCH_KIND" not in os.environ
    return fits and installed_version(LIBTORCH) == VERSION


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
    partial, wheels = home.with_name(home.name + ".partial"), home.with_name(home.name + ".wheels")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    torch = next(w for w in pip.download([f"torch=={VERSION}"], wheels) if w.name.startswith("torch-"))
    requirements, place = (CPU_EXTRAS, place_cpu) if kind == "cpu" else (cuda_requirements(torch), place_cuda)
    for wheel in pip.download(requirements, wheels, with_dependencies=kind == "cuda"):
        pip.unpack(wheel, partial, place, "unpacking libtorch" if wheel == torch else wheel.name.split("-")[0])
    if kind == "cpu":
        link_stub(partial / "torch/lib")
    with zipfile.ZipFile(torch) as archive:
        (partial / "torch/build-version").write_text(stated_version(archive.read("torch/version.py").decode()) + "\n")
    (partial / "complete").write_text("")
    shutil.rmtree(home, ignore_errors=True)
    partial.rename(home)
    shutil.rmtree(wheels, ignore_errors=True)


def place_cpu(name: str) -> str | None:
    """Where a file of the wheels goes in the CPU half: its libraries and NVIDIA's two side by side, and the headers."""
    folder, _, base = name.rpartition("/")
    if folder == "torch/lib" and base in CPU_LIBRARIES or folder.startswith("nvidia/") and base in EXTRA_LIBRARIES:
        return f"torch/lib/{base}"
    return name if name.startswith("torch/include/") else None


def place_cuda(name: str) -> str | None:
    """Both halves as in a Python environment: torch/lib finds ../../nvidia by its own search path."""
    folder, _, base = name.rpartition("/")
    ours = name.startswith("torch/include/") or folder == "torch/lib" and base != "libtorch_python.so"
    return name if ours or name.startswith("nvidia/") and "/lib/" in name else None


def link_stub(lib: Path) -> None:
    """An empty libtorch.so beside the CPU half: the wheel's own asks for the CUDA half."""
    if missing := sorted((CPU_LIBRARIES | EXTRA_LIBRARIES) - {entry.name for entry in lib.iterdir()}):
        raise Problem(f"the wheels contain no {', '.join(missing)}: this is a bug in scripts/fleet_stack/libtorch.py")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise Problem("No C compiler found. Install one (Debian: apt-get install g++), then run this again.")
    argv = [compiler, "-shared", "-o", "libtorch.so", "-Wl,-soname,libtorch.so", "-Wl,--no-as-needed", "-x", "c", "/dev/null"]
    argv += ["-x", "none", "-L.", "-l:libtorch_cpu.so", "-Wl,-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined"]
    output(argv, "linking the stub libtorch.so failed", cwd=lib)


def cuda_requirements(torch: Path) -> list[str]:
    """The NVIDIA packages that this PyTorch wheel names itself."""
    with zipfile.ZipFile(torch) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    wanted = [line.removeprefix("Requires-Dist: ").partition(";")[0].strip() for line in lines if line.startswith("Requires-Dist: ")]
    return [line for line in wanted if line.startswith(("nvidia-", "cuda-toolkit"))]


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
