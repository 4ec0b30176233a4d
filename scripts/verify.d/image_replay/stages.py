"""The stages of docker/Dockerfile, each made in a folder of its own and kept until something that it depends on changes."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from deploy_checks import dockerfile
from fleet_stack.console import Problem, say
from fleet_stack.paths import ROOT, target_dir

from . import bases, sandbox
from .sandbox import Place

HOME = bases.HOME / "stages"
CACHES = bases.HOME / "caches"
# Where a stage compiles, take the executables of this checkout instead: minutes, not an hour, for everything around it.
PREBUILT = os.environ.get("REPLAY_PREBUILT") == "1"
COMPILES = re.compile(r"cargo build [^&]*")


@dataclass
class Stage:
    """What the Dockerfile says of one stage."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Image:
    """A made stage: its folder, and what stages above it inherit."""

    key: str
    root: Path
    variables: dict[str, str]
    folder: str = "/"
    user: str = "0:0"
    entry: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    binds: list[tuple[Path, str, bool]] = field(default_factory=list)

    def inherit(self, key: str, root: Path) -> Image:
        """The beginning of a stage on top of this one."""
        return Image(key, root, dict(self.variables), self.folder, self.user, list(self.entry), list(self.command), list(self.binds))

    def place(self, **more: object) -> Place:
        """Where a program of this image runs."""
        return Place(self.root, list(self.binds), False, self.user, self.folder, dict(self.variables), **more)


class Builder:
    """Makes stages when they are asked for."""

    def __init__(self) -> None:
        self.arguments: dict[str, str] = {}
        self.stages = self._read()
        self.images: dict[str, Image] = {}
        self.files = sorted(dockerfile.context())

    def _read(self) -> dict[str, Stage]:
        stages: dict[str, Stage] = {}
        current = None
        for word, rest in dockerfile.instructions(dockerfile.FILE.read_text()):
            if word == "ARG" and current is None:
                name, _, value = rest.partition("=")
                self.arguments[name] = value
            elif word == "FROM":
                base, _, name = rest.partition(" AS ")
                base = re.sub(r"\$\{(\w+)\}", lambda found: self.arguments[found[1]], base)
                current = stages[name] = Stage(name, base)
            elif current:
                current.steps.append((word, rest))
        return stages

    def image(self, name: str) -> Image:
        """The stage of this name, with everything it stands on."""
        if name not in self.images:
            self.images[name] = self._make(self.stages[name])
        return self.images[name]

    def _make(self, stage: Stage) -> Image:
        below = self.image(stage.base) if stage.base in self.stages else self._base(stage.base)
        for source in re.findall(r"--from=([\w-]+)", " ".join(rest for _, rest in stage.steps)):
            self.image(source)
        key = self._key(stage, below)
        root = HOME / stage.name
        image = below.inherit(key, root)
        stamp = root.with_name(stage.name + ".key")
        reuse = root.exists() and stamp.exists() and stamp.read_text() == key
        say(f"stage {stage.name}: " + ("as it was" if reuse else f"on {stage.base.partition('@')[0]}"))
        if not reuse:
            stamp.unlink(missing_ok=True)
            remove(root)
            copy_root(below.root, root)
        for word, rest in stage.steps:
            began = time.monotonic()
            self._step(image, word, rest, only_settings=reuse)
            if not reuse and time.monotonic() - began > 5:
                say(f"  {time.monotonic() - began:4.0f} s  {word} {rest[:90]}")
        stamp.write_text(key)
        return image

    def _base(self, reference: str) -> Image:
        if reference in self.images:
            return self.images[reference]
        binds, variables, packages = bases.extras(reference)
        root = bases.debian()
        image = Image(hashlib.sha256(f"{reference}{packages}".encode()).hexdigest(), root, variables, binds=binds)
        if packages:
            image.root = HOME / re.sub(r"\W+", "-", reference.partition("@")[0])
            if not image.root.with_name(image.root.name + ".key").exists():
                remove(image.root)
                copy_root(root, image.root)
                self._shell(image, f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {packages}", [])
                image.root.with_name(image.root.name + ".key").write_text(image.key)
        self.images[reference] = image
        return image

    def _key(self, stage: Stage, below: Image) -> str:
        told = hashlib.sha256(below.key.encode())
        for word, rest in stage.steps:
            told.update(f"{word} {rest}\n".encode())
            for source in re.findall(r"--from=([\w-]+)", rest):
                told.update(self.images[source].key.encode())
            if PREBUILT and COMPILES.search(rest):
                told.update(f"prebuilt {[os.stat(program).st_mtime_ns for program in _prebuilt()]}".encode())
            if word == "COPY" and "--from=" not in rest:
                for path in self._sources(_copy_parts(rest)[1]):
                    told.update(f"{path} {os.stat(ROOT / path).st_mode}".encode() + (ROOT / path).read_bytes())
        return told.hexdigest()

    def _sources(self, sources: list[str]) -> list[str]:
        wanted = [source.rstrip("/") for source in sources]
        return [path for path in self.files if any(path == one or path.startswith(one + "/") for one in wanted)]

    def _step(self, image: Image, word: str, rest: str, *, only_settings: bool) -> None:
        if word == "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                image.variables[name] = re.sub(r"\$\{?(\w+)\}?", lambda found: image.variables.get(found[1], ""), value)
        elif word == "WORKDIR":
            image.folder = os.path.join(image.folder, rest)
            if not only_settings:
                (image.root / image.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            image.user = rest
        elif word in ("ENTRYPOINT", "CMD"):
            setattr(image, "entry" if word == "ENTRYPOINT" else "command", re.findall(r'"([^"]*)"', rest))
        elif word == "COPY":
            if not only_settings:
                self._copy(image, rest)
        elif word == "RUN":
            if not only_settings:
                mounts = re.findall(r"--mount=(\S+)", rest)
                command = re.sub(r"--mount=\S+\s*", "", rest)
                if PREBUILT and COMPILES.search(command):
                    mounts, command = [], COMPILES.sub("true ", command)
                    for program in _prebuilt():
                        _copy_tree(program, image.root / image.folder.lstrip("/") / "target/release" / program.name)
                self._shell(image, command, mounts)
        elif word not in ("EXPOSE", "ARG"):
            raise Problem(f"docker/Dockerfile: the replay does not know {word}")

    def _shell(self, image: Image, command: str, mounts: list[str]) -> None:
        place = image.place()
        place.binds += sandbox.client_binds()
        for mount in mounts:
            options = dict(part.partition("=")[::2] for part in mount.split(","))
            if options.get("type") != "cache":
                raise Problem(f"docker/Dockerfile: the replay does not know --mount={mount}")
            cache = CACHES / re.sub(r"\W+", "-", options.get("id", options["target"]))
            cache.mkdir(parents=True, exist_ok=True)
            place.binds.append((cache, options["target"], False))
        place.variables = {"HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", **sandbox.client_variables(), **image.variables}
        done = place.run(["/bin/sh", "-c", command])
        (image.root / sandbox.INSIDE.lstrip("/")).unlink(missing_ok=True)
        if done.returncode != 0:
            raise Problem(f"RUN {command}\nended with {done.returncode}:\n{done.stdout[-6000:]}")

    def _copy(self, image: Image, rest: str) -> None:
        options, sources, target = _copy_parts(rest)
        into = image.root / os.path.join(image.folder, target).lstrip("/")
        several = target.endswith("/") or len(sources) > 1
        for source in sources:
            if "from" in options:
                outside = self.images[options["from"]].root / source.lstrip("/")
                if not outside.exists():
                    raise Problem(f"docker/Dockerfile: {options['from']} has no {source}")
                _copy_tree(outside, into if outside.is_dir() or not several else into / outside.name)
            elif (ROOT / source).is_dir():
                for path in self._sources([source]):
                    _copy_tree(ROOT / path, into / Path(path).relative_to(source.rstrip("/")))
            else:
                _copy_tree(ROOT / source, into / Path(source).name if several else into)
        if mode := options.get("chmod"):
            into.chmod(int(mode, 8))


def _prebuilt() -> list[Path]:
    programs = [target_dir() / name for name in ("api", "scheduler", "worker")]
    if missing := [program.name for program in programs if not program.exists()]:
        raise Problem(f"not built: {', '.join(missing)}; run `make build` first")
    return programs


def _copy_parts(rest: str) -> tuple[dict[str, str], list[str], str]:
    words = rest.split()
    options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    *sources, target = [word for word in words if not word.startswith("--")]
    return options, sources, target


def copy_root(source: Path, target: Path) -> None:
    """A folder with everything that a root holds, owners and devices too."""
    target.mkdir(parents=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", target], check=True)


def _copy_tree(source: Path, target: Path) -> None:
    """As COPY does it: everything belongs to root, a folder's content goes into the target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        target.mkdir(exist_ok=True)
    # Path() would lose the dot that stands for a folder's content.
    content = f"{source}/." if source.is_dir() else source
    subprocess.run(["cp", "-a", "--reflink=auto", content, target], check=True)
    subprocess.run(["chown", "-Rh", "0:0", target], check=True)


def remove(root: Path) -> None:
    """Deletes a stage, unless something is still mounted in it."""
    if any(str(root) + "/" in line for line in Path("/proc/self/mounts").read_text().splitlines()):
        raise Problem(f"something is mounted in {root}")
    if root.exists():
        shutil.rmtree(root)
