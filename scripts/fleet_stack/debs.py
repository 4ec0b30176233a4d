"""Debian packages: installed by apt as root, unpacked under `.tools/root` as anyone else.

Packages with a service would start it, so starting services is blocked while apt runs, and no default Postgres
cluster is created. Without root the same packages are chosen by a simulated install, downloaded with
private apt folders and unpacked; Erlang's start scripts are pointed at the prefix.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .console import Problem, output, say
from .paths import TOOLS, require_free

PREFIX = TOOLS / "root"
# Starters of programs in the prefix; first on the PATH of whatever we start.
WRAPPERS = TOOLS / "bin"
WRAPPED = ["ffmpeg", "ffprobe", "prometheus", "promtool", "chromium", "redis-cli", "pgbouncer", "nginx", "tmux"]
AT_ONCE = 25
POLICY = Path("/usr/sbin/policy-rc.d")
CLUSTER_CONF = Path("/etc/postgresql-common/createcluster.conf")


def install(packages: list[str]) -> None:
    """Installs `packages`, with or without root."""
    if not shutil.which("apt-get"):
        raise Problem(
            "Missing: " + ", ".join(packages) + ". This machine has no apt-get; install them with its own package "
            "manager so that their programs are on PATH, then run this again."
        )
    require_free(TOOLS, 2_000_000_000, "Installing " + ", ".join(packages))
    if os.geteuid() == 0:
        _install_as_root(packages)
    else:
        _unpack(packages)


def _install_as_root(packages: list[str]) -> None:
    say(f"installing with apt: {' '.join(packages)}")
    blocked_here = not POLICY.exists()
    if blocked_here:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        if not CLUSTER_CONF.exists():
            CLUSTER_CONF.parent.mkdir(parents=True, exist_ok=True)
            CLUSTER_CONF.write_text("create_main_cluster = false\n")
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        output(["apt-get", "update", "-qq"], env=env)
        options = ["-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
        output(["apt-get", "install", *options, *packages], env=env)
    finally:
        if blocked_here:
            POLICY.unlink(missing_ok=True)


def _private_apt() -> list[str]:
    """Options that keep apt's own state inside the checkout."""
    state = TOOLS / "apt"
    for folder in ("lists/partial", "cache/archives/partial", "debs"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    return [
        "-o", f"Dir::State::lists={state}/lists",
        "-o", f"Dir::Cache={state}/cache",
        "-o", "Debug::NoLocking=true",
        "-o", "APT::Sandbox::User=",
    ]


def _unpack(packages: list[str]) -> None:
    say(f"unpacking under {PREFIX}: {' '.join(packages)}")
    options = _private_apt()
    output(["apt-get", *options, "update", "-qq"])
    plan = output(["apt-get", *options, "-s", "--no-install-recommends", "install", *packages], "apt cannot find " + ", ".join(packages))
    wanted = re.findall(r"^Inst (\S+)", plan, re.M)
    folder = TOOLS / "apt" / "debs"
    # apt reads all its lists at every start, and a single start for all packages would print nothing for minutes.
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first : first + AT_ONCE]
        say(f"  {first + len(some)}/{len(wanted)} {some[0]} ...")
        output(["apt-get", *options, "download", "-qq", *some], cwd=folder)
        for deb in folder.glob("*.deb"):
            output(["dpkg-deb", "-x", deb, PREFIX])
            deb.unlink()
    _point_erlang_at_prefix()
    _wrap_programs()
    _require_libraries()


def _wrap_programs() -> None:
    """Writes start scripts, which find the prefix's libraries, for programs that others start by name."""
    WRAPPERS.mkdir(parents=True, exist_ok=True)
    libraries = library_env().get("LD_LIBRARY_PATH", "")
    for name in WRAPPED:
        # Debian's starter of Chromium looks for the browser where it would be installed.
        program = PREFIX / {"chromium": "usr/lib/chromium", "pgbouncer": "usr/sbin", "nginx": "usr/sbin"}.get(name, "usr/bin") / name
        if program.exists():
            wrapper = WRAPPERS / name
            wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n')
            wrapper.chmod(0o755)


def _require_libraries() -> None:
    """Raises a Problem if an unpacked program lacks a library, so that it does not fail in the middle of a job."""
    env = {**os.environ, **library_env()}
    for folder in (PREFIX / "usr/bin", *PREFIX.glob("usr/lib/postgresql/*/bin")):
        for program in folder.iterdir():
            if program.name in (*WRAPPED, "redis-server", "postgres", "initdb", "psql"):
                said = subprocess.run(["ldd", str(program)], env=env, capture_output=True, text=True).stdout
                if missing := re.findall(r"(\S+) => not found", said):
                    raise Problem(f"{program} was unpacked, but libraries that it needs are missing: {', '.join(missing)}")


def _point_erlang_at_prefix() -> None:
    """Erlang's start scripts hold an absolute ROOTDIR; this one is ours."""
    erlang = PREFIX / "usr/lib/erlang"
    for script in [*erlang.glob("bin/*"), *erlang.glob("erts-*/bin/*")]:
        if script.is_symlink() or not script.is_file():
            continue
        head = script.read_bytes()
        if head.startswith(b"#!") and b"ROOTDIR=" in head:
            script.write_bytes(re.sub(rb"(?m)^(\s*)ROOTDIR=.*$", rb"\1ROOTDIR=" + str(erlang).encode(), head))


def search_path() -> list[Path]:
    """Folders with programs: the prefix first, then the system's, then places Debian leaves off PATH."""
    folders = [WRAPPERS, PREFIX / "usr/bin", PREFIX / "usr/sbin"]
    folders += [Path(part) for part in os.environ.get("PATH", "").split(":") if part]
    folders += [Path("/usr/sbin"), Path("/usr/local/sbin")]
    return folders


def library_env() -> dict[str, str]:
    """`LD_LIBRARY_PATH` for programs of the prefix; empty when there is none."""
    base = PREFIX / "usr/lib"
    if not base.exists():
        return {}
    triplet = f"{os.uname().machine}-linux-gnu"
    machine = base / triplet
    # Some packages still put theirs into /lib, which is a link to /usr/lib on a system and a folder here.
    folders = [machine, base, PREFIX / "lib" / triplet, *(machine / sub for sub in ("blas", "lapack", "pulseaudio", "openblas-pthread"))]
    present = [str(folder) for folder in folders if folder.exists()]
    return {"LD_LIBRARY_PATH": ":".join([*present, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])}
