"""Where the check runs: a checkout, or an unpacked archive on a machine without Rust."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

BUILD = ["cargo", "build", "--release", "-p", "worker", "-p", "hunyuan", "--bin", "worker", "--example", "card"]


class Trouble(Exception):
    """Something that keeps the check from running; its text says what to do."""


@dataclass(frozen=True)
class Place:
    """The files that every stage uses."""

    root: Path
    packed: bool
    worker: Path
    card: Path
    fixtures: Path
    # Python packages that are used where the machine has none of its own.
    packages: Path

    @staticmethod
    def found() -> Place:
        """This script's own surroundings; builds the programs of a checkout where there is a compiler."""
        root = Path(__file__).resolve().parents[2]
        if (root / "bin/card").exists():
            place = Place(root, True, root / "bin/worker", root / "bin/card", root / "fixtures", root / "packages")
            place.link_libtorch()
            return place
        target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release"
        place = Place(root, False, target / "worker", target / "examples/card", root / "crates/hunyuan/tests/fixtures", root / "packages")
        # `make test` has just built both; a check on a card begins with what the sources say.
        if not (place.worker.exists() and place.card.exists()):
            if not shutil.which("cargo"):
                raise Trouble("the programs are not built and there is no cargo here; use an archive of `scripts/gpu-check --pack`")
            subprocess.run(BUILD, cwd=root, check=True)
        return place

    def link_libtorch(self) -> None:
        """Puts this machine's torch where an archive's programs look for it: `libtorch` beside `bin`."""
        own = os.environ.get("LIBTORCH")
        if not own:
            found = importlib.util.find_spec("torch")
            if not found or not found.submodule_search_locations:
                raise Trouble("this Python has no torch; start the check with one that has, or set LIBTORCH to a libtorch's folder")
            own = found.submodule_search_locations[0]
        link = self.root / "libtorch"
        link.unlink(missing_ok=True)
        link.symlink_to(own)

    def libtorch(self) -> Path | None:
        """The folder that holds libtorch's `lib`."""
        folder = self.root / ("libtorch" if self.packed else ".libtorch")
        return folder.resolve() if folder.exists() else None

    def environment(self, *, compiler: bool = False) -> dict[str, str]:
        """The environment of the programs; `compiler` puts NVIDIA's run-time compiler on the search path, else it is taken off.

        What was there stays, since a driver may be found through LD_LIBRARY_PATH alone.
        """
        libtorch = self.libtorch()
        nvrtc = [str((libtorch / "../nvidia/cu13/lib").resolve())] if libtorch else []
        inherited = [part for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part and part not in nvrtc]
        parts = (nvrtc if compiler else []) + inherited
        return os.environ | {"LD_LIBRARY_PATH": ":".join(parts), "RUST_LOG": "info"}
