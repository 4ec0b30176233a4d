"""What stands in for the base images."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from fleet_stack import debs, tools
from fleet_stack.console import Problem, say
from fleet_stack.paths import ROOT, TOOLS

RELEASE = "bookworm"
HOME = TOOLS / "images"


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
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(f"debootstrap:\n{done.stdout[-2000:]}{done.stderr}")
    # Nothing may start while packages are installed, as in the official image.
    policy = partial / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    partial.rename(root)
    return root


def _mirror() -> str | None:
    """Where this machine gets the same release from; None leaves it to debootstrap."""
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    listed = subprocess.run(argv, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        address, release, component = (line.split() + ["", "", ""])[:3]
        if release == RELEASE and component == "main" and address.rstrip("/").endswith("/debian"):
            return address
    return None


def extras(image: str) -> tuple[list[tuple[Path, str, bool]], dict[str, str], str]:
    """Beside Debian, of an image such as `rust:1.95.0-slim-bookworm@...`: binds, variables, and packages it has."""
    name, _, tag = image.partition("@")[0].partition(":")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if RELEASE not in tag:
        raise Problem(f"{image} is no Debian {RELEASE}")
    if name == "debian":
        return [], {"PATH": path}, ""
    if name == "rust":
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        said = subprocess.run([f"{sysroot}/bin/rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        if not tag.startswith(said + "-"):
            raise Problem(f"this machine's Rust is {said}, the image's {tag}")
        variables = {"PATH": f"/usr/local/rust/bin:{path}", "CARGO_HOME": "/usr/local/cargo"}
        return [(Path(sysroot), "/usr/local/rust", True)], variables, "gcc libc6-dev"
    if name == "node":
        home = tools.fetched_node()
        if tag.partition(".")[0] != tools.NODE_VERSION.partition(".")[0]:
            raise Problem(f"the fetched Node is {tools.NODE_VERSION}, the image's {tag}")
        return [(home, "/usr/local/node", True)], {"PATH": f"/usr/local/node/bin:{path}"}, "libstdc++6"
    raise Problem(f"nothing stands in for {image}")
