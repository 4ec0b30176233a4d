"""A throwaway stack of the three services, for tests and benchmarks.

`scripts/fleet services --dir D` prints one line of JSON with the addresses when all three answer, and runs until its
input closes or its parent ends. Meanwhile it takes commands on its input, one a line, for tests of faults:

    kill NAME     SIGKILL, and stay down        stop NAME      polite stop, and stay down
    start NAME    start again, same data, and wait until it answers
    pause NAME    SIGSTOP                       resume NAME    SIGCONT
    alarm rabbitmq  memory alarm: publishers are blocked          calm rabbitmq  no alarm

NAME is postgres, redis or rabbitmq. Each command is answered by one line of JSON: {"ok": true} or {"error": "..."}.

`scripts/fleet with-services -- COMMAND` runs a command with such a stack; FLEET_TEST_SERVICES holds the JSON line.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from . import postgres
from .console import Problem, say, warn
from .group import Group
from .paths import RUN
from .process import Spec, die_with_parent
from .services import Services

CONTROLLED = ("postgres", "redis", "rabbitmq")


class Stopped(Exception):
    """A signal asks us to end."""


def _on_signal(_number: int, _frame: object) -> None:
    raise Stopped


def serve(folder: Path, only: list[str] | None = None) -> None:
    """Runs the stack, or only some services of it, until the input closes."""
    die_with_parent(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)
    group, services = Group(), Services(folder)
    try:
        started = tuple(only or CONTROLLED)
        services.start(group, only=started)
        facts = services.facts()
        facts["pids"] = {name: group.children[name].pid for name in started}
        say(json.dumps(facts))
        for line in _lines():
            say(json.dumps(_obey(group, services, line.split())))
    except Stopped:
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        group.kill_all()


def _lines():
    """Lines of the input as they come, without buffering a signal away."""
    pending = b""
    while True:
        select.select([sys.stdin], [], [])
        block = os.read(sys.stdin.fileno(), 4096)
        if not block:
            return
        *lines, pending = (pending + block).split(b"\n")
        for line in lines:
            if line.strip():
                yield line.decode()


def _obey(group: Group, services: Services, words: list[str]) -> dict[str, object]:
    if len(words) != 2 or words[1] not in group.children:
        return {"error": f"expected a verb and one of {', '.join(group.children)}"}
    verb, name = words
    child = group.children[name]
    if verb == "kill":
        child.kill()
    elif verb == "stop":
        child.stop()
    elif verb == "pause":
        child.send(signal.SIGSTOP)
    elif verb == "resume":
        child.send(signal.SIGCONT)
    elif verb == "start":
        if child.exit_code() is None:
            return {"error": f"{name} runs already"}
        try:
            if name == "postgres":
                postgres.leave_no_stale_lock(child.spec.cwd)
            group.ensure(child.spec)
            group.wait_ready([name])
        except Problem as problem:
            return {"error": str(problem)}
        return {"ok": True, "pid": group.children[name].pid}
    elif verb in ("alarm", "calm") and name == "rabbitmq":
        return _set_alarm(child.spec, on=verb == "alarm")
    else:
        return {"error": f"no such verb: {verb}"}
    return {"ok": True}


def _set_alarm(spec: Spec, *, on: bool) -> dict[str, object]:
    """Any memory use is above a limit of next to nothing, and RabbitMQ then blocks whoever publishes."""
    control = Path(spec.argv[0]).with_name("rabbitmqctl")
    argv = [str(control), "set_vm_memory_high_watermark", "0.000001" if on else "0.4"]
    done = subprocess.run(argv, env=spec.env, cwd=spec.cwd, capture_output=True, text=True)
    if done.returncode != 0:
        return {"error": (done.stderr or done.stdout).strip()}
    return {"ok": True}


def run_with(command: list[str]) -> int:
    """Runs `command` beside a fresh stack; returns its exit code. The stack's logs stay if it failed."""
    parent = RUN / "tests"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="stack-", dir=parent))
    folder.chmod(0o755)
    group, services = Group(), Services(folder)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)
    code = 1
    try:
        services.start(group)
        env = dict(os.environ, FLEET_TEST_SERVICES=json.dumps(services.facts()))
        code = subprocess.run(command, env=env).returncode
    except Stopped:
        code = 130
    except FileNotFoundError as error:
        raise Problem(f"cannot run {command[0]}: {error.strerror}") from error
    finally:
        group.kill_all()
        data = folder / "postgres"
        if data.is_symlink():
            shutil.rmtree(data.resolve(), ignore_errors=True)
        for entry in folder.iterdir():
            if code == 0 or entry.name != "logs":
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if code == 0:
            folder.rmdir()
        else:
            warn(f"the services' logs are in {folder / 'logs'}")
    return code
