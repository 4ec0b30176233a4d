"""What `make up`, `down`, `status` and `logs` do."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from . import apps, postgres, supervisor, tools
from .console import Line, Problem, poll, say
from .paths import ROOT, RUN
from .ports import Ports, is_free
from .process import last_lines

SUPERVISOR_LOG = RUN / "logs/supervisor.log"
DEFAULT_PORT = 8000
# The slowest step is a worker that loads a large model.
UP_PATIENCE_S = 1200.0
DOWN_PATIENCE_S = 90.0


def set_up(*, tests: bool) -> None:
    """Installs everything that running and building need and that can be fetched; for tests also a browser and tmux."""
    tools.require_compilers()
    for_tests = ["chromium", "pgbouncer", "nginx", "tmux"] if tests else []
    tools.install_missing([*tools.SERVICES, "ffmpeg", "ffprobe", *for_tests])
    if (ROOT / "web/package.json").exists():
        tools.node_folder()


def up(workers: int | None, port: int | None, monitoring: bool | None, first: Callable[[], None] = lambda: None) -> None:
    """Starts what is not running, applies changed options, waits until everything is ready, and prints the addresses.

    `first` fetches and builds, after the options were checked.
    """
    if workers is not None and not 0 <= workers <= 64:
        raise Problem(f"WORKERS={workers}: use 0 to 64")
    if port is not None and not 1 <= port <= 65535:
        raise Problem(f"PORT={port}: use 1 to 65535")
    if _state().get("phase") in ("stopping", "failed"):
        # An earlier stack is still being taken down, and takes no requests any more.
        poll(lambda: supervisor.is_running() is None, DOWN_PATIENCE_S)
    running = supervisor.is_running()
    _settle_port(port, running is not None)
    first()
    wanted = apps.Wanted.load()
    wanted.workers = wanted.workers if workers is None else workers
    wanted.monitoring = wanted.monitoring if monitoring is None else monitoring
    tools.install_missing([*tools.SERVICES, "ffmpeg", *(["prometheus"] if wanted.monitoring else [])])
    for name in apps.PROGRAMS:
        apps.program(name)
    running = supervisor.is_running()
    wanted.save()
    before = _state().get("generation", 0) if running else -1
    if running:
        os.kill(running, signal.SIGHUP)
    else:
        _start_supervisor()
    _wait(before)
    _print_addresses(wanted)


def _settle_port(asked: int | None, running: bool) -> None:
    """The API's port: the requested one, else the last one, else 8000, else the next free one."""
    ports = Ports(RUN / "ports.json")
    current = ports.by_name.get("api")
    if asked is not None:
        if asked != current or not running:
            _require_free_port(asked)
        ports.set("api", asked)
    elif current is None:
        ports.set("api", next((port for port in range(DEFAULT_PORT, DEFAULT_PORT + 100) if is_free(port)), DEFAULT_PORT))
        if ports.get("api") != DEFAULT_PORT:
            say(f"port {DEFAULT_PORT} is in use by another program; the API uses {ports.get('api')}")
    elif not running:
        _require_free_port(current)


def _require_free_port(port: int) -> None:
    if port < 1024 and os.geteuid() != 0:
        raise Problem(f"port {port} needs root; choose 1024 or higher with PORT=n")
    if not is_free(port):
        raise Problem(f"port {port} is in use by another program; choose another with `make up PORT=n`")


def _start_supervisor() -> None:
    SUPERVISOR_LOG.parent.mkdir(parents=True, exist_ok=True)
    supervisor.STATE.unlink(missing_ok=True)
    with open(SUPERVISOR_LOG, "wb") as log:
        subprocess.Popen(
            [str(ROOT / "scripts/fleet"), "supervise"],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )


def _state() -> dict:
    try:
        return json.loads(supervisor.STATE.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _wait(generation_before: int) -> None:
    """Shows on one line what is starting and what is not ready yet, until everything is ready."""
    began, line, seen_running = time.monotonic(), Line(every_s=10), False
    while (waited_s := time.monotonic() - began) < UP_PATIENCE_S:
        state = _state()
        answered = state.get("generation", 0) > generation_before
        if answered and state.get("problem"):
            line.end()
            raise Problem(state["problem"])
        if answered and state.get("phase") == "ready":
            line.show(f"  ready after {waited_s:.1f} s", at_once=True)
            line.end()
            return
        waiting = [name for name, process in state.get("processes", {}).items() if not process["ready"]]
        line.show(f"  {state.get('phase') or 'starting'}, {waited_s:.0f} s" + (f"; waiting for {', '.join(waiting)}" if waiting else ""))
        alive = supervisor.is_running() is not None
        last = _state()
        ended = seen_running and not alive and not (last.get("generation", 0) > generation_before and last.get("problem"))
        if ended or (waited_s > 15 and not (seen_running or alive)):
            line.end()
            raise Problem(f"the supervisor {'ended' if ended else 'did not start'}. Its log, {SUPERVISOR_LOG}:\n{last_lines(SUPERVISOR_LOG)}")
        seen_running = seen_running or alive
        time.sleep(0.1)
    line.end()
    raise Problem(f"not ready after {UP_PATIENCE_S:.0f} s; see `make logs`. Starting continues in the background.")


def _print_addresses(wanted: apps.Wanted) -> None:
    address = f"http://127.0.0.1:{Ports(RUN / 'ports.json').get('api')}"
    body = shlex.quote(json.dumps({"prompt": "a red ball rolls over green grass"}))
    server = "" if address.endswith(f":{DEFAULT_PORT}") else f" --server {address}"
    say(f"\nThe fleet is ready. Its page: {address} ({wanted.workers} worker{'s' if wanted.workers != 1 else ''})")
    if wanted.monitoring:
        say(f"Prometheus is at http://127.0.0.1:{Ports(RUN / 'ports.json').get('prometheus')}")
    say("\nRequest a video there, or from a shell:")
    say(f'  target/release/fleet generate "a red ball rolls over green grass" --wait -o video.mp4{server}')
    say("or with curl:")
    say(f"  curl -s {address}/api/generate -H 'content-type: application/json' -d {body}")
    say("The response has a job_id. Follow the job, and fetch the video when it is completed:")
    say(f"  curl -s {address}/api/jobs/JOB_ID")
    say(f"  curl -s {address}/api/videos/JOB_ID -o video.mp4")
    say("\n`make logs` follows the logs, `make status` shows the processes, `make down` stops it.")


def down() -> None:
    """Stops the stack; the data stay."""
    pid = supervisor.is_running()
    if pid is None:
        say("The fleet is not running.")
        return
    os.kill(pid, signal.SIGTERM)
    say("stopping ...")
    if poll(lambda: supervisor.is_running() is None, DOWN_PATIENCE_S):
        say("stopped; jobs and videos are kept in .run")
    else:
        os.kill(pid, signal.SIGKILL)
        say("The fleet did not stop in time, so its processes were killed.")


def status() -> int:
    """A table of the processes. Returns 0 when all are ready, 3 otherwise."""
    if supervisor.is_running() is None:
        problem = _state().get("problem")
        say("The fleet is not running." + (f" The last start failed: {problem}" if problem else ""))
        return 3
    state = _state()
    ports = Ports(RUN / "ports.json").by_name
    say(f"{'process':<12} {'pid':>8}  {'state':<9} {'restarts':>8}  {'port':>5}")
    ready = state.get("phase") == "ready"
    for name, process in state.get("processes", {}).items():
        word = "ready" if process["ready"] else "starting" if process["running"] else "stopped"
        ready = ready and process["ready"]
        say(f"{name:<12} {process['pid']:>8}  {word:<9} {process['restarts']:>8}  {ports.get(name, ''):>5}")
    if state.get("problem"):
        say(f"problem: {state['problem']}")
    say(f"address: http://127.0.0.1:{ports.get('api')}")
    return 0 if ready else 3


def logs(names: list[str], *, follow: bool) -> None:
    """Prints the ends of the logs, then follows them."""
    folder = RUN / "logs"
    files = [folder / f"{name}.log" for name in names] or sorted(
        file for file in folder.glob("*.log") if file.stem in ("api", "scheduler", "supervisor", "migrate") or file.stem.startswith("worker-")
    )
    missing = [str(file) for file in files if not file.exists()]
    if missing or not files:
        raise Problem(f"there is no log {', '.join(missing) or 'yet'}; existing logs: {', '.join(sorted(f.stem for f in folder.glob('*.log'))) or 'none'}")
    argv = ["tail", "-n", "40", *(["-F"] if follow else []), *map(str, files)]
    subprocess.run(argv)


def print_env() -> None:
    """For a shell: eval "$(scripts/fleet env)"."""
    ports = Ports(RUN / "ports.json")
    if "postgres" not in ports.by_name:
        raise Problem("this checkout has no fleet yet: run `make up` first")
    for key, value in apps.stack_env(ports).items():
        print(f"export {key}={shlex.quote(value)}")


def reset(*, sure: bool) -> None:
    """Deletes `.run`: all jobs and videos of this checkout."""
    if supervisor.is_running() is not None:
        raise Problem("the fleet is running: run `make down` first")
    if not sure and (not sys.stdin.isatty() or input(f"Delete all jobs and videos in {RUN}? Type yes: ").strip() != "yes"):
        raise Problem("nothing was deleted (--yes skips this question)")
    postgres.remove(RUN)
    shutil.rmtree(RUN, ignore_errors=True)
    say("deleted")
