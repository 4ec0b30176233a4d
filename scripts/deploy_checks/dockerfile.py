"""docker/Dockerfile, read by hadolint, and what it copies."""

import fnmatch
import re
import tempfile
from pathlib import Path

from fleet_stack.console import output
from fleet_stack.paths import ROOT

from . import tools
from .report import equal, expect, refuses, succeeds

FILE = ROOT / "docker/Dockerfile"
LINT = ROOT / ".hadolint.yaml"
TARGETS = {"api", "scheduler", "worker-cpu", "worker-gpu"}


def check() -> None:
    """Everything that can be said without building."""
    succeeds([tools.hadolint(), "-c", LINT, FILE], "hadolint")
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "Dockerfile"
        wrong.write_text("FROM debian:latest\nRUN sudo apt-get install curl\nENTRYPOINT api serve\n")
        refuses([tools.hadolint(), "-c", LINT, wrong], "DL3025", "hadolint and an entry point in a shell")
    lines = instructions(FILE.read_text())
    _bases_are_pinned(lines)
    _what_is_copied_exists(lines)
    _images_are_as_compose_wants(lines)


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, rest) of each, with continued lines joined and comments gone."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", kept)
    return [(word.upper(), rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in joined.splitlines()) if word]


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path out: the last pattern that matches it or a folder above decides."""
    out = False
    parents = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        alternatives = [bare, bare.removeprefix("**/")]
        if any(fnmatch.fnmatch(p if "/" in a or "**" not in bare else Path(p).name, a) for p in parents for a in alternatives):
            out = not pattern.startswith("!")
    return out


def context() -> set[str]:
    """Committed files that reach the builder."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line.strip() and not line.startswith("#")]
    listed = output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT)
    return {path for path in listed.splitlines() if not ignored(path, patterns)}


def _bases_are_pinned(lines: list[tuple[str, str]]) -> None:
    bases = {name: value for word, rest in lines if word == "ARG" for name, _, value in [rest.partition("=")]}
    for word, rest in lines:
        if word == "FROM" and rest.startswith("${"):
            value = bases[rest[2:].partition("}")[0]]
            expect(re.fullmatch(r"[\w.-]+:[\w.-]+@sha256:[0-9a-f]{64}", value) is not None, f"{value} names no version and digest")


def _what_is_copied_exists(lines: list[tuple[str, str]]) -> None:
    files = context()
    for word, rest in lines:
        if word != "COPY" or "--from=" in rest:
            continue
        for source in [part for part in rest.split() if not part.startswith("--")][:-1]:
            there = any(path == source.rstrip("/") or path.startswith(source.rstrip("/") + "/") for path in files)
            expect(there, f"docker/Dockerfile copies {source}, which is not in the build context")
    secrets = {path for path in files if re.search(r"(^|/)\.env|\.pem$|\.key$|^\.git/|^\.run/|^target/", path)}
    equal(secrets, set(), "files in the build context that may hold secrets")


def _images_are_as_compose_wants(lines: list[tuple[str, str]]) -> None:
    stages = {rest.split()[-1]: rest.split()[0] for word, rest in lines if word == "FROM"}
    equal(TARGETS - set(stages), set(), "targets that are missing")
    used = {name for _, rest in lines for name in re.findall(r"--from=([\w-]+)", rest)}
    equal(used - set(stages), set(), "stages that are copied from and do not exist")
    # Who runs each image, and how it is started: the last words of its chain of stages.
    stage, user, entry = "", {}, {}
    for word, rest in lines:
        if word == "FROM":
            base, stage = rest.split()[0], rest.split()[-1]
            user[stage], entry[stage] = user.get(base), entry.get(base)
        elif word == "USER":
            user[stage] = rest
        elif word == "ENTRYPOINT":
            entry[stage] = rest
    for target in TARGETS:
        equal(user[target], "10001:10001", f"the user of {target}")
        # A list: without a shell between the engine's SIGTERM and our process.
        expect(entry[target] is not None and entry[target].startswith("["), f"{target} is not started directly: {entry[target]}")
