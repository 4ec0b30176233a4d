"""Where the check runs: a checkout, or an unpacked archive on a machine without Rust; and the files that every stage uses."""

import importlib.util
import os
import shutil
import subprocess

from fleet_stack.console import Problem
from fleet_stack.paths import ROOT, target_dir

BUILD = ["cargo", "build", "--release", "--bin", "worker", "--example", "card"]
PACKED = (ROOT / "bin/card").exists()
WORKER, CARD = (ROOT / "bin/worker", ROOT / "bin/card") if PACKED else (target_dir() / "worker", target_dir() / "examples/card")
FIXTURES = ROOT / ("fixtures" if PACKED else "crates/hunyuan/tests/fixtures")
LIBTORCH = ROOT / ("libtorch" if PACKED else ".libtorch")
# Python packages that are used where the machine has none of its own.
PACKAGES = ROOT / "packages"


def prepare() -> None:
    """Builds the programs of a checkout where there is a compiler; gives those of an archive this machine's torch."""
    if PACKED:
        link_libtorch()
    # `make test` has just built both; a check on a card begins with what the sources say.
    elif not (WORKER.exists() and CARD.exists()):
        if not shutil.which("cargo"):
            raise Problem("the programs are not built and there is no cargo here; use an archive of `scripts/gpu-check --pack`")
        subprocess.run(BUILD, cwd=ROOT, check=True)


def link_libtorch() -> None:
    """Puts this machine's torch where an archive's programs look for it: `libtorch` beside `bin`."""
    own = os.environ.get("LIBTORCH")
    if not own:
        found = importlib.util.find_spec("torch")
        if not found or not found.submodule_search_locations:
            raise Problem("this Python has no torch; start the check with one that has, or set LIBTORCH to a libtorch's folder")
        own = found.submodule_search_locations[0]
    LIBTORCH.unlink(missing_ok=True)
    LIBTORCH.symlink_to(own)


def environment(*, compiler: bool = False) -> dict[str, str]:
    """The environment of the programs; `compiler` puts NVIDIA's run-time compiler on the search path, else it is taken off.

    What was there stays, since a driver may be found through LD_LIBRARY_PATH alone.
    """
    nvrtc = [str((LIBTORCH.resolve() / "../nvidia/cu13/lib").resolve())]
    inherited = [part for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part and part not in nvrtc]
    parts = (nvrtc if compiler else []) + inherited
    return os.environ | {"LD_LIBRARY_PATH": ":".join(parts), "RUST_LOG": "info", "GPU_CHECK_PACKAGES": str(PACKAGES)}
