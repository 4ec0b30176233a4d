"""Runs a program inside a folder as if that were the root: own mounts, own processes, this machine's network."""

import os
import shlex
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from fleet_stack.console import Problem, output

# Where the machine's own certificates are seen inside: it may have more than the image's.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
INSIDE = "/replay-certificates.crt"
# Variables that configure where clients fetch from.
CLIENTS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "npm_config_", "NPM_CONFIG_", "CARGO_REGISTRIES_", "CARGO_SOURCE_")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass
class Place:
    """A folder that is a root, and what is bound into it: (path outside, path inside, read-only)."""

    root: Path
    binds: list[tuple[Path, str, bool]] = field(default_factory=list)
    read_only: bool = False
    user: str = "0:0"
    folder: str = "/"
    variables: dict[str, str] = field(default_factory=dict)

    def command(self, argv: list[str]) -> list[str]:
        """The command that runs `argv` there. It ends with us, and sees no process of the machine."""
        steps = ["set -e", "mount --make-rprivate /"]
        root = shlex.quote(str(self.root))
        if self.read_only:
            # Places to mount on must exist before nothing can be made any more.
            steps += [f"mount --bind {root} {root}"]
        for outside, inside, _ in self.binds:
            target = self.root / inside.lstrip("/")
            if outside.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
        if self.read_only:
            steps += [f"mount -o remount,bind,ro {root}"]
        for outside, inside, read_only in self.binds:
            target = shlex.quote(str(self.root / inside.lstrip("/")))
            steps.append(f"mount --bind {shlex.quote(str(outside))} {target}")
            if read_only:
                steps.append(f"mount -o remount,bind,ro {target}")
        steps += [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        if self.read_only:
            steps.append(f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp")
        variables = " ".join(shlex.quote(f"{name}={value}") for name, value in self.variables.items())
        inner = f"cd {shlex.quote(self.folder)} && exec {shlex.join(argv)}"
        steps.append(f"exec chroot --userspec={self.user} {root} /usr/bin/env -i {variables} /bin/sh -c {shlex.quote(inner)}")
        return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", "\n".join(steps)]

    def start(self, argv: list[str], log: Path) -> "Running":
        """Starts a program in the background."""
        return Running(self.command(argv), log)

    def run(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end."""
        return subprocess.run(self.command(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def install(self, packages: str, then: str = "true") -> None:
        """Installs Debian packages, and runs another command as root."""
        script = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {packages} && {then}"
        output(self.command(["sh", "-c", script]), f"installing {packages}", stdin=subprocess.DEVNULL)


class Running(subprocess.Popen):
    """A program in a place, whose output goes into `log`."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self.log = log
        with open(log, "wb") as sink:
            super().__init__(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)

    def stop(self, within_s: float) -> int:
        """SIGTERM to the program itself, as an engine sends it; returns its exit status."""
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        return self.wait(within_s)

    def end(self) -> None:
        """Whatever it does, it ends."""
        self.kill()
        self.wait()


def client_binds() -> list[tuple[Path, str, bool]]:
    """What lets programs inside reach the network as those of this machine do."""
    binds = [(Path("/etc/resolv.conf").resolve(), "/etc/resolv.conf", True), (Path("/etc/hosts"), "/etc/hosts", True)]
    return binds + ([(CERTIFICATES, INSIDE, True)] if CERTIFICATES.exists() else [])


def client_variables() -> dict[str, str]:
    """The same, as variables."""
    taken = {name: value for name, value in os.environ.items() if name.startswith(CLIENTS) or name in PROXIES}
    if CERTIFICATES.exists():
        taken |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO", "CURL_CA_BUNDLE"), INSIDE)
    return taken


def require_rights() -> None:
    """Chroots and mounts need root."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        raise Problem("without a Docker engine this needs root and mount namespaces")
