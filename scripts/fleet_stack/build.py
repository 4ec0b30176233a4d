"""`make build` and the first phase of `make up`: lists what is missing, fails early with the remedy, then fetches and builds.

Everything that can be checked before the first download is checked first: compilers, disk, memory, the port, the network.
"""

import os
import re
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from . import apps, libtorch, tools
from .console import Line, Problem, say
from .paths import ROOT, TOOLS, require_free, target_dir

# Peak memory of compiling, and of the fleet while it renders with the embedded model.
MEMORY_TO_BUILD = 2_500_000_000
MEMORY_TO_RUN = 1_000_000_000
BUILT_BYTES = 6_000_000_000
INDEX = "https://pypi.org/simple/"
# What cargo reports for each crate of Cargo.lock: those of other platforms and of tests are never built, others have a build script too.
UNITS_PER_CRATE = 1.17


@dataclass
class Missing:
    """Something to fetch or to build, and the disk space that it needs, in bytes."""

    what: str
    room: int
    fetched: bool = True


def missing() -> list[Missing]:
    """What this checkout lacks, in the order in which it is installed."""
    found = []
    programs = [program for program in (*tools.SERVICES, "ffmpeg", "ffprobe") if tools.find(program) is None]
    if programs:
        packages = sorted({tools.PACKAGES[program] for program in programs})
        found.append(Missing(f"Debian packages: {', '.join(packages)} (up to 150 MB)", 1_000_000_000))
    if not tools.has_node():
        found.append(Missing(f"Node {tools.NODE_VERSION} (50 MB)", 300_000_000))
    if not os.environ.get("LIBTORCH") and not libtorch.in_place():
        kind = libtorch.wanted_kind()
        found.append(Missing(f"libtorch {libtorch.VERSION} for {kind.upper()} ({'0.6' if kind == 'cpu' else '3'} GB)", libtorch.NEEDED_BYTES[kind]))
    if not (ROOT / "web/node_modules").exists():
        found.append(Missing("the page's npm packages (60 MB)", 400_000_000))
    if not all((target_dir() / name).exists() for name in apps.PROGRAMS):
        cores = len(os.sched_getaffinity(0))
        found.append(Missing(f"the three programs, from source (the first time about {max(3, 24 // cores)} minutes on {cores} cores)", BUILT_BYTES, False))
    return found


def check() -> None:
    """Lists what will be done, and raises a Problem if it cannot be done."""
    tools.require_compilers()
    lacking = missing()
    fetched, built = [one for one in lacking if one.fetched], [one for one in lacking if not one.fetched]
    for title, group in (("To download, once for this checkout:", fetched), ("To build:", built)):
        if group:
            say("\n".join([title, *(f"  {one.what}" for one in group)]))
    if lacking:
        require_free(TOOLS, sum(one.room for one in lacking), "Fetching and building all of this")
    require_memory(MEMORY_TO_BUILD if built else MEMORY_TO_RUN)
    if fetched:
        require_network()


def require_memory(needed: int) -> None:
    """Raises a Problem when too little memory is free."""
    with open("/proc/meminfo") as lines:
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    if free < needed:
        raise Problem(
            f"only {free / 1e9:.1f} GB of memory are free, and this needs {needed / 1e9:.1f} GB.\n"
            f"Close other programs, add swap, or build with fewer compilers at once: CARGO_BUILD_JOBS=1 make build"
        )


def require_network() -> None:
    """Raises a Problem when the Python package index cannot be reached; any response counts as reachable."""
    index = os.environ.get("PIP_INDEX_URL", INDEX)
    try:
        urllib.request.urlopen(f"{index.rstrip('/')}/pip/", timeout=20).close()
    except urllib.error.HTTPError:
        return
    except OSError as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):
            raise Problem(
                f"{re.sub(r'//[^/@]*@', '//', index)} cannot be reached: {reason}.\n"
                f"Check the network; behind a proxy set https_proxy, with a mirror set PIP_INDEX_URL."
            ) from error


def build() -> None:
    """Fetches and builds whatever is missing or has changed."""
    check()
    tools.install_missing([*tools.SERVICES, "ffmpeg", "ffprobe"])
    tools.node_folder()
    libtorch.set_up()
    compile_programs()
    if subprocess.run([str(ROOT / "scripts/build-web")]).returncode != 0:
        raise Problem("the page could not be built: see the messages above")


def compile_programs() -> None:
    """Runs cargo with one progress line in place of a line for each crate; compiler messages are shown."""
    crates = (ROOT / "Cargo.lock").read_text().count("[[package]]")
    argv = ["cargo", "build", "--release", "--bins", "--quiet", "--message-format", "json-render-diagnostics"]
    began, line, finished = time.monotonic(), Line(every_s=20), []
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as cargo:

        def follow() -> None:
            finished.extend(1 for text in cargo.stdout if '"reason":"compiler-artifact"' in text)

        reader = threading.Thread(target=follow)
        reader.start()
        while reader.is_alive():
            reader.join(0.5)
            if (seconds := time.monotonic() - began) > 2 and reader.is_alive():
                line.show(f"  compiling: {len(finished)} of about {int(crates * UNITS_PER_CRATE)} parts, {seconds:.0f} s")
    line.end()
    if cargo.returncode != 0:
        raise Problem("cargo could not build the programs: see its messages above")
