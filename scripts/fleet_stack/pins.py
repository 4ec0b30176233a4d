"""Pins the images of Postgres, RabbitMQ and the like by digest, in docker-compose.yml and helm/values.yaml.

A tag can be moved to other content, a digest cannot. The digests come from the registry, through Docker on the operator's machine.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from .console import Problem, say

# A line with an image that is not ours; those have no registry and are built from this checkout.
_LINE = re.compile(r"^(?P<start>\s*image:\s*)(?P<name>[\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?(?P<rest>\s*(?:#.*)?)$", re.M)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
OURS = "hunyuan-fleet/"


def images(text: str) -> list[str]:
    """The images that a file names, without their digests."""
    return sorted({found["name"] for found in _LINE.finditer(text) if not found["name"].startswith(OURS)})


def unpinned(text: str) -> list[str]:
    """The images that a file names without a digest: their content can change without a change here."""
    return sorted({found["name"] for found in _LINE.finditer(text) if "@sha256:" not in found[0] and not found["name"].startswith(OURS)})


def check(files: list[Path]) -> None:
    """Refuses files with images that are not pinned, as values for a release are."""
    found = [f"{file}: {name}" for file in files for name in unpinned(file.read_text())]
    if found:
        raise Problem("not pinned by digest; run scripts/pin-images where Docker and the registries can be reached:\n" + "\n".join(found))
    say("every image is pinned by digest")


def pinned(text: str, digests: dict[str, str]) -> str:
    """The file with these digests."""

    def line(found: re.Match[str]) -> str:
        name = found["name"]
        return f"{found['start']}{name}@{digests[name]}{found['rest']}" if name in digests else found[0]

    return _LINE.sub(line, text)


def digest(image: str) -> str:
    """The digest of an image for all its platforms."""
    argv = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Problem("docker is not installed; the digests come from the registry through `docker buildx imagetools`") from None
    if done.returncode != 0 or not _DIGEST.fullmatch(done.stdout.strip()):
        raise Problem(f"{image}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def pin(files: list[Path], ask: Callable[[str], str] = digest) -> None:
    """Rewrites the files; all of them or, if one image cannot be found, none."""
    texts = {file: file.read_text() for file in files}
    names = sorted({name for text in texts.values() for name in images(text)})
    digests = {name: ask(name) for name in names}
    for file, text in texts.items():
        file.write_text(pinned(text, digests))
    for name in names:
        say(f"{name}@{digests[name]}")
