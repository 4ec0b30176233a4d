"""Substitutes for the base images, which come from a registry that may not be reachable: a Debian made by debootstrap."""

import shutil
from pathlib import Path

from fleet_stack import apps, debs, tools
from fleet_stack.console import Problem, output, say
from fleet_stack.paths import ROOT, TOOLS

RELEASE = "bookworm"
HOME = TOOLS / "images"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def debian() -> Path:
    """A minimal Debian, made once."""
    root = HOME / f"debian-{RELEASE}"
    if root.exists():
        return root
    if not shutil.which("debootstrap"):
        debs.install(["debootstrap"])
    say(f"making a Debian {RELEASE} with debootstrap")
    partial = root.with_name(root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    mirror = _mirror()
    argv = ["debootstrap", "--variant=minbase", RELEASE, str(partial), *([mirror] if mirror else [])]
    output(argv, "debootstrap")
    # Nothing may start while packages are installed, as in the official image.
    policy = partial / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    partial.rename(root)
    return root


def _mirror() -> str | None:
    """Where this machine gets the same release from; None leaves it to debootstrap."""
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    for line in output(argv).splitlines() if shutil.which("apt-get") else ():
        address, release, component = (line.split() + ["", "", ""])[:3]
        if release == RELEASE and component == "main" and address.rstrip("/").endswith("/debian"):
            return address
    return None


def rust() -> Path:
    """This machine's Rust, as the repository pins it."""
    return Path(output(["rustc", "--print", "sysroot"], cwd=ROOT).strip())


def beside_debian(name: str, tag: str) -> tuple[list[tuple[Path, str, bool]], str]:
    """What an image such as `rust:1.95.0-slim-bookworm` has beside Debian: folders to bind, and packages."""
    if RELEASE not in tag:
        raise Problem(f"{name}:{tag} is not a Debian {RELEASE}")
    if name == "debian":
        return [], ""
    if name == "rust":
        said = output([rust() / "bin/rustc", "--version"]).split()[1]
        if not tag.startswith(said + "-"):
            raise Problem(f"this machine's Rust is {said}, the image's {tag}")
        return [(rust(), "/usr/local/rust", True)], "gcc libc6-dev"
    if name == "node":
        if tag.partition(".")[0] != tools.NODE_VERSION.partition(".")[0]:
            raise Problem(f"the fetched Node is {tools.NODE_VERSION}, the image's {tag}")
        return [(tools.fetched_node(), "/usr/local/node", True)], "libstdc++6"
    raise Problem(f"no substitute for the base image {name}:{tag}")


def copy_programs(folder: Path) -> None:
    """Puts the executables of this checkout into a folder."""
    folder.mkdir(parents=True)
    for name in ("api", "fleet", "scheduler", "worker"):
        shutil.copy2(apps.program(name), folder / name)
