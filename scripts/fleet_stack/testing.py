"""A throwaway stack of the three services, for tests and benchmarks.

`scripts/fleet services --dir D` prints one line of JSON with the addresses when all three are ready, and runs until its
input closes or its parent ends. Meanwhile it reads commands for fault tests, one per line:

    kill NAME     SIGKILL, and stay down        stop NAME      stop signal, and stay down
    start NAME    start again, same data, and wait until it is ready
    pause NAME    SIGSTOP                       resume NAME    SIGCONT
    alarm rabbitmq  memory alarm: publishers are blocked          calm rabbitmq  no alarm
    replicate postgres  start `replica`, a standby that confirms every commit        promote replica  accept writes

NAME is postgres, redis, rabbitmq or replica. The reply to each command is one line of JSON: {"ok": true}, perhaps with more fields, or
{"error": "..."}.

`scripts/fleet with-services -- COMMAND` runs a command beside such a stack; FLEET_TEST_SERVICES holds the JSON line. With `--volatile`
its Postgres never waits for the disk, so its data do not survive a crash of the machine: for tests only, never for a benchmark. Tests that
kill Postgres start `services` of their own, which keep what was committed.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import postgres
from .console import Problem, output, say, warn
from .group import Group
from .paths import RUN
from .process import Spec, die_with_parent
from .services import Services

CONTROLLED = ("postgres", "redis", "rabbitmq")


class Stopped(Exception):
    """A signal requested the end."""


def _stop(_number: int, _frame: object) -> None:
    raise Stopped


def _on_signals(handler: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handler)


def serve(folder: Path, only: list[str] | None = None) -> None:
    """Runs the stack, or only some services of it, until the input closes."""
    die_with_parent(signal.SIGTERM)
    _on_signals(_stop)
    group, services = Group(), Services(folder)
    try:
        started = tuple(only or CONTROLLED)
        services.start(group, only=started)
        facts = services.facts()
        facts["pids"] = {name: group.children[name].pid for name in started}
        say(json.dumps(facts))
        for line in iter(sys.stdin.readline, ""):
            say(json.dumps(_obey(group, services, line.split())))
    except Stopped:
        pass
    finally:
        _on_signals(signal.SIG_IGN)
        group.kill_all()


def _obey(group: Group, services: Services, words: list[str]) -> dict[str, object]:
    if len(words) != 2 or words[1] not in group.children:
        return {"error": f"expected a command and one of {', '.join(group.children)}"}
    verb, name = words
    child = group.children[name]
    try:
        match verb:
            case "kill":
                child.kill()
            case "stop":
                child.stop()
            case "pause":
                child.freeze()
            case "resume":
                child.send_signal(signal.SIGCONT)
            case "start":
                return {"ok": True, "pid": _start(group, name)}
            case "alarm" | "calm" if name == "rabbitmq":
                _set_alarm(child.spec, on=verb == "alarm")
            case "replicate" if name == "postgres":
                return {"ok": True, "database_url": _replicate(group, services)}
            case "promote" if name == postgres.REPLICA:
                postgres.promote(services.folder, services.ports)
            case _:
                raise Problem(f"unknown command: {verb}")
    except Problem as problem:
        return {"error": str(problem)}
    return {"ok": True}


def _start(group: Group, name: str) -> int:
    """Starts a service that was ended, with the same data; returns its pid."""
    child = group.children[name]
    if child.poll() is None:
        raise Problem(f"{name} is already running")
    if name in ("postgres", postgres.REPLICA):
        postgres.leave_no_stale_lock(child.spec.cwd)
    group.ensure(child.spec)
    group.wait_ready([name])
    return group.children[name].pid


def _replicate(group: Group, services: Services) -> str:
    """Starts a standby of Postgres that confirms every commit; returns its address."""
    group.ensure(postgres.replica_spec(services.folder, services.ports))
    group.wait_ready([postgres.REPLICA])
    postgres.confirm_on_replica(services.folder, services.ports)
    return postgres.url(services.folder, services.ports, "postgres", postgres.REPLICA)


def _set_alarm(spec: Spec, *, on: bool) -> None:
    """A limit near zero is always exceeded, and RabbitMQ then blocks publishers."""
    control = Path(spec.argv[0]).with_name("rabbitmqctl")
    output([control, "set_vm_memory_high_watermark", "0.000001" if on else "0.4"], env=spec.env, cwd=spec.cwd)


@contextmanager
def throwaway(only: list[str] | None = None, adapt: Callable[[Spec], None] = lambda spec: None) -> Iterator[Services]:
    """Services in a temporary folder, removed at the end; after a failure their logs are kept."""
    parent = RUN / "tests"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="stack-", dir=parent))
    folder.chmod(0o755)
    group, services = Group(), Services(folder, adapt)
    failed = True
    try:
        services.start(group, only=tuple(only or CONTROLLED))
        yield services
        failed = False
    finally:
        group.kill_all()
        postgres.remove(folder)
        if failed:
            for entry in folder.iterdir():
                if entry.name != "logs":
                    shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            warn(f"the services' logs are in {folder / 'logs'}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


class Failed(Exception):
    """The command beside the stack ended with this code."""


def run_with(command: list[str], *, volatile: bool = False) -> int:
    """Runs `command` beside a fresh stack, whose Postgres may be `volatile`; returns the command's exit code."""

    def adapt(spec: Spec) -> None:
        if volatile and spec.name == "postgres":
            spec.argv += postgres.VOLATILE

    _on_signals(_stop)
    try:
        with throwaway(adapt=adapt) as services:
            env = dict(os.environ, FLEET_TEST_SERVICES=json.dumps(services.facts()))
            if code := subprocess.run(command, env=env).returncode:
                raise Failed(code)
    except Failed as failed:
        return failed.args[0]
    except Stopped:
        return 130
    except FileNotFoundError as error:
        raise Problem(f"cannot run {command[0]}: {error.strerror}") from error
    return 0
