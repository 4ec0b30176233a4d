"""Builds the stages of docker/Dockerfile with buildah, and describes what each image holds."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy_checks import dockerfile
from fleet_stack import debs
from fleet_stack.console import Problem, output, say
from fleet_stack.paths import ROOT
from fleet_stack.process import last_lines

from . import bases, sandbox
from .sandbox import Place

HOME = bases.HOME
# Where a stage compiles, take the executables of this checkout instead: minutes, not an hour, for everything around it.
PREBUILT = os.environ.get("REPLAY_PREBUILT") == "1"
COMPILES = re.compile(r"cargo build [^&]*")
TARGET_CACHE = "--mount=type=cache,target=/src/target,sharing=locked,id=fleet-target"
PREBUILT_MOUNT = "--mount=type=bind,from=prebuilt,target=/src/target/release"


@dataclass
class Image:
    """A built image: its files, and how it is started."""

    root: Path
    variables: dict[str, str]
    folder: str
    user: str
    entry: list[str]
    command: list[str]

    def place(self) -> Place:
        """Where a program of this image runs."""
        return Place(self.root, [], False, self.user, self.folder, dict(self.variables))


def buildah(*words: str | Path, log: Path | None = None) -> str:
    """Runs buildah with a store of this checkout; returns what it prints, unless that goes into a log."""
    if not shutil.which("buildah"):
        debs.install(["buildah"])
    (HOME / "tmp").mkdir(parents=True, exist_ok=True)
    # TMPDIR is also where the cache mounts of builds lie.
    env = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay", "TMPDIR": str(HOME / "tmp")}
    argv = ["buildah", "--root", str(HOME / "store"), "--runroot", str(HOME / "run"), *map(str, words)]
    if log is None:
        return output(argv, f"buildah {words[0]}", cwd=ROOT, env=env).strip()
    with open(log, "wb") as sink:
        done = subprocess.run(argv, cwd=ROOT, env=env, stdout=sink, stderr=sink)
    if done.returncode != 0:
        raise Problem(f"buildah {words[0]} ended with {done.returncode}:\n{last_lines(log, 60)}")
    return ""


class Builder:
    """Builds targets of the Dockerfile; their root folders are mounted until `end`."""

    def __init__(self) -> None:
        self.containers: list[str] = []
        self.images: dict[str, Image] = {}
        self.volumes = sandbox.client_binds()
        self.arguments: list[str] = []
        for name, reference in re.findall(r"^ARG (\w+)=(\S+)@sha256:", dockerfile.FILE.read_text(), re.M):
            binds, packages = bases.beside_debian(*reference.split(":"))
            self.volumes += binds
            self.arguments += ["--build-arg", f"{name}={stand_in(reference.partition(':')[0], packages)}"]

    def image(self, target: str) -> Image:
        """Builds a target, and mounts its files."""
        if target not in self.images:
            say(f"building {target}")
            volumes = [word for outside, inside, read_only in self.volumes for word in ("--volume", f"{outside}:{inside}" + (":ro" if read_only else ""))]
            file, more = _prebuilt() if PREBUILT else (dockerfile.FILE, [])
            words = ["--layers", "--format", "docker", "--target", target, "-t", f"localhost/{target}", "-f", file, *self.arguments, *volumes, *more]
            buildah("build", *words, ".", log=HOME / f"{target}.log")
            config = json.loads(buildah("inspect", "--type", "image", f"localhost/{target}"))["Docker"]["config"]
            variables = dict(pair.partition("=")[::2] for pair in config["Env"])
            for name in sandbox.client_variables():
                variables.pop(name, None)
            container = buildah("from", "--pull-never", f"localhost/{target}")
            self.containers.append(container)
            root = Path(buildah("mount", container))
            self.images[target] = Image(root, variables, config["WorkingDir"] or "/", config["User"], config["Entrypoint"] or [], config["Cmd"] or [])
        return self.images[target]

    def end(self) -> None:
        """Unmounts everything; images stay, so that the next build continues from them."""
        if self.containers:
            buildah("rm", *self.containers)


def stand_in(name: str, packages: str) -> str:
    """A local image in place of `name`: Debian with these packages, and what lets its programs reach the network as ours do."""
    tag = f"localhost/stand-in-{name}"
    if name != "debian":
        stand_in("debian", "")
    if buildah("images", "--noheading", "--filter", f"reference={tag}"):
        return tag
    container = buildah("from", *(["scratch"] if name == "debian" else ["--pull-never", "localhost/stand-in-debian"]))
    if name == "debian":
        buildah("add", "-q", container, bases.debian(), "/")
    if packages:
        variables = {"HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", "PATH": bases.SYSTEM_PATH, **sandbox.client_variables()}
        Place(Path(buildah("mount", container)), sandbox.client_binds(), variables=variables).install(packages)
    home = {"rust": {"CARGO_HOME": "/usr/local/cargo"}}.get(name, {})
    path = bases.SYSTEM_PATH if name == "debian" else f"/usr/local/{name}/bin:{bases.SYSTEM_PATH}"
    for variable, value in {"PATH": path, **home, **sandbox.client_variables()}.items():
        buildah("config", "--env", f"{variable}={value}", container)
    buildah("commit", "-q", "--rm", container, tag)
    return tag


def _prebuilt() -> tuple[Path, list[str]]:
    """The Dockerfile without its compilations, and a build context with the executables that this checkout has."""
    programs = HOME / "prebuilt"
    shutil.rmtree(programs, ignore_errors=True)
    bases.copy_programs(programs)
    file = HOME / "Dockerfile.prebuilt"
    file.write_text(COMPILES.sub("true ", dockerfile.FILE.read_text().replace(TARGET_CACHE, PREBUILT_MOUNT)))
    return file, ["--build-context", f"prebuilt={programs}"]


def copy_root(source: Path, target: Path) -> None:
    """A folder with everything that a root holds, owners and devices too."""
    target.mkdir(parents=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", target], check=True)


def remove(root: Path) -> None:
    """Deletes a root folder, unless something is still mounted in it."""
    if any(str(root) + "/" in line for line in Path("/proc/self/mounts").read_text().splitlines()):
        raise Problem(f"something is mounted in {root}")
    if root.exists():
        shutil.rmtree(root)
