"""A private Postgres: own data folder, own port, password login on the loopback address only.

It refuses to run as root. Then it runs as the package's `postgres` user, and its folder moves to where that user can
reach it if the checkout lies in a closed folder (such as /root); a link stays in its place.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from . import tools
from .console import Problem, output, poll
from .paths import write_whole
from .ports import Ports, reply
from .process import Spec, User, identity

USER = "app"
DATABASE = "fleet"
# The file with this instance's password, drawn once.
SECRET = "postgres.secret"
# Name of the standby that tests start beside the server, and of its data folder.
REPLICA = "replica"
# Arguments of a server for tests that never waits for the disk. What it wrote survives its processes, because the kernel keeps it, but not
# a crash of the machine. `synchronous_commit` stays on: without waits for the disk it costs next to nothing. If it was off, VACUUM could
# not mark rows as visible to all until their commit is written, and tests judge plans right after VACUUM (crates/store/tests/it/plans.rs).
VOLATILE = ["-c", "fsync=off", "-c", "full_page_writes=off"]
# How long the processes of a killed server may take to notice.
ORPHANS_PATIENCE_S = 15.0
# Folders for data that its user cannot reach in the checkout.
OUTSIDE = Path("/var/lib/hunyuan-fleet")


def remembered_secret(file: Path) -> str:
    """A random secret that stays the same; readable by its owner only."""
    if not file.exists():
        write_whole(file, secrets.token_hex(16), mode=0o600)
    return file.read_text().strip()


def run_as() -> User | None:
    """None when we are no root and Postgres can run as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise Problem("Postgres refuses to run as root, and this machine has no user named postgres or nobody to run it as.")


def spec(folder: Path, ports: Ports) -> Spec:
    """Creates the data folder if it does not exist, and returns how to run the server."""
    user = run_as()
    binary = tools.need("postgres")
    data = data_folder(folder, user)
    if not (data / "PG_VERSION").exists():
        _init(folder, data, user)
    _check_version(data, binary)
    leave_no_stale_lock(data)
    return _server("postgres", folder, data, ports.ensure_free("postgres"))


def replica_spec(folder: Path, ports: Ports) -> Spec:
    """Copies the running server's data, and returns how to run a standby that follows it."""
    user = run_as()
    data = data_folder(folder, user, REPLICA)
    argv = [str(tools.need("pg_basebackup")), "-D", str(data), "-d", url(folder, ports, "postgres")]
    # -R: the copy is a standby and knows the server's address.
    argv += ["-R", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
    output(argv, f"Postgres could not be copied to {data}", env=tools.service_env(folder), cwd=data, **identity(user))
    return _server(REPLICA, folder, data, ports.ensure_free(REPLICA))


def confirm_on_replica(folder: Path, ports: Ports) -> None:
    """From now on a commit of the server waits until the standby has it on its disk."""
    _execute(url(folder, ports, "postgres"), "ALTER SYSTEM SET synchronous_standby_names = '*';\nSELECT pg_reload_conf();")


def promote(folder: Path, ports: Ports) -> None:
    """The standby becomes a server of its own, which accepts writes."""
    _execute(url(folder, ports, "postgres", REPLICA), "SELECT pg_promote();")


def _execute(address: str, sql: str) -> None:
    output(psql(address), f"Postgres refuses: {sql}", env=tools.service_env(Path("/")) | {"PGCONNECT_TIMEOUT": "5"}, input=sql)


def _server(name: str, folder: Path, data: Path, port: int) -> Spec:
    argv = [str(tools.need("postgres")), "-D", str(data), "-p", str(port)]
    for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300", "log_timezone=UTC"):
        argv += ["-c", setting]
    return Spec(
        name, argv, tools.service_env(folder), data, folder / f"logs/{name}.log", lambda: is_ready(port), run_as(),
        # Fast shutdown: ends sessions, keeps every committed row.
        stop_signal=signal.SIGINT,
    )


def is_ready(port: int) -> bool:
    """Whether the server serves connections, not only accepts them."""
    # StartupMessage of an unknown user: a ready server asks for a password or refuses; a starting one returns 57P03.
    body = b"\x00\x03\x00\x00user\x00readiness\x00\x00"
    replied = reply(port, (len(body) + 4).to_bytes(4, "big") + body)
    return bool(replied) and b"57P03" not in replied


def url(folder: Path, ports: Ports, database: str = DATABASE, server: str = "postgres") -> str:
    """The address that a client uses; of the standby with `REPLICA`, which has the same users."""
    return f"postgres://{USER}:{remembered_secret(folder / SECRET)}@127.0.0.1:{ports.get(server)}/{database}"


def psql(address: str, *words: object) -> list[object]:
    """The command that runs SQL, by default from its input, stops at the first error and prints bare rows."""
    return [tools.need("psql"), address, "-XqAt", "-v", "ON_ERROR_STOP=1", *words]


def create_database(admin_url: str, name: str) -> str:
    """Makes the database unless it exists; returns its address."""
    unless_there = f"SELECT 'CREATE DATABASE \"{name}\"' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}') \\gexec\n"
    output(psql(admin_url), f"cannot create the database {name}", env=tools.service_env(Path("/")) | {"PGCONNECT_TIMEOUT": "5"}, input=unless_there)
    return f"{admin_url.rpartition('/')[0]}/{name}"


def data_folder(folder: Path, user: User | None, name: str = "postgres") -> Path:
    """The folder with the data of a server; made for `user`."""
    data = folder / name
    if data.is_symlink() or data.exists():
        return data.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if user and not reachable(folder, user):
        OUTSIDE.mkdir(parents=True, exist_ok=True)
        OUTSIDE.chmod(0o755)
        outside = Path(tempfile.mkdtemp(prefix="postgres-", dir=OUTSIDE))
        data.symlink_to(outside)
    else:
        data.mkdir()
    data = data.resolve()
    if user:
        os.chown(data, user.pw_uid, user.pw_gid)
    data.chmod(0o700)
    return data


def remove(folder: Path) -> None:
    """Deletes data that lie outside the checkout; a folder of the checkout is left to its owner."""
    for name in ("postgres", REPLICA):
        if (folder / name).is_symlink():
            shutil.rmtree((folder / name).resolve(), ignore_errors=True)


def reachable(folder: Path, user: User) -> bool:
    """True when `user` may pass through every folder on the way."""
    return subprocess.run(["test", "-x", folder], cwd="/", **identity(user)).returncode == 0


def _init(folder: Path, data: Path, user: User | None) -> None:
    secret = data / "initial-password"
    write_whole(secret, remembered_secret(folder / SECRET) + "\n", mode=0o600)
    if user:
        os.chown(secret, user.pw_uid, user.pw_gid)
    cluster = data / "new"
    argv = [str(tools.need("initdb")), "-D", str(cluster), "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}"]
    argv += ["-E", "UTF8", "--locale=C.UTF-8", "-N"]
    try:
        output(argv, f"Postgres could not make its data folder {data}", env=tools.service_env(folder), cwd=data, **identity(user))
    except Problem:
        shutil.rmtree(cluster, ignore_errors=True)
        raise
    finally:
        secret.unlink()
    # Moved up in one go, PG_VERSION last: an interrupted start starts over.
    for entry in sorted(cluster.iterdir(), key=lambda entry: entry.name == "PG_VERSION"):
        entry.rename(data / entry.name)
    cluster.rmdir()


def _check_version(data: Path, binary: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    installed = binary.parent.parent.name
    if installed.isdigit() and made_by != installed:
        raise Problem(
            f"the data in {data} were written by Postgres {made_by}, but Postgres {installed} is installed.\n"
            f"Install postgresql-{made_by}, or start afresh with `scripts/fleet reset`, which deletes all jobs of this checkout."
        )


def leave_no_stale_lock(data: Path) -> None:
    """After a hard end: lets the old server's last processes go, then removes its lock file.

    Postgres takes the lock for held while any process has the number in it, even if that is a zombie or another user's process.
    """
    if not poll(lambda: not _processes_in(data), ORPHANS_PATIENCE_S):
        raise Problem(f"another Postgres (processes {_processes_in(data)}) uses {data}; stop it, then try again")
    (data / "postmaster.pid").unlink(missing_ok=True)


def _processes_in(data: Path) -> list[int]:
    """Processes that work in the data folder: a server's all do. A zombie has no folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == data:
                found.append(int(entry.name))
        except OSError:
            continue
    return found
