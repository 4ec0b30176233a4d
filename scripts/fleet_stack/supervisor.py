"""The process behind `make up`: parent of everything that runs in this checkout's stack.

One supervisor per checkout, guarded by a locked file. It writes its state to `.run/state.json`; SIGHUP makes it reload
the options, SIGTERM stops everything in order: workers first, so that they hand their jobs back while the
database and the broker still run. If it is killed, the kernel kills its children.
"""

import fcntl
import json
import os
import signal
import subprocess
import time

from . import apps, postgres, prometheus
from .console import Problem, say
from .group import Group
from .paths import ROOT, RUN, write_whole
from .ports import is_free
from .process import last_lines
from .services import Services

LOCK = RUN / "supervisor.lock"
STATE = RUN / "state.json"
TICK_S = 0.5
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


class Supervisor:
    """The running stack."""

    def __init__(self) -> None:
        self.group = Group()
        self.services = Services(RUN)
        self.problem = ""
        self.phase = "starting"
        # Counts completed requests, so that `up` sees when its own is done.
        self.generation = 0

    def reconcile(self) -> None:
        """Applies the current options to the stack."""
        wanted = apps.Wanted.load()
        self.note("starting Postgres, RabbitMQ and Redis")
        # RabbitMQ takes longest by far, and only workers need it from their start on.
        self.services.start(self.group, self._tell, await_broker=False)
        postgres.create_database(postgres.url(RUN, self.services.ports, "postgres"), postgres.DATABASE)
        self.note("migrating the database")
        migrate(self.services, wanted)
        ports = self.services.ports
        names = ["api", "scheduler", *(f"worker-{n}" for n in range(1, wanted.workers + 1))]
        self._drop_unwanted(names, wanted)
        for name in names:
            self._choose_port(name)
        front, workers = names[:2], names[2:]
        # Workers need the queues that the others declare, and none needs the workers.
        for batch in (front, workers):
            self.note(f"starting {', '.join(batch)}")
            for name in batch:
                self.group.ensure(apps.spec(name, ports, wanted))
            self.group.wait_ready(["rabbitmq", *batch], self._tell)
        if wanted.monitoring:
            self.note("starting Prometheus")
            running = "prometheus" in self.group.children
            self.group.ensure(prometheus.spec(RUN, ports, apps.targets(ports, wanted.workers), running))
            self.group.wait_ready(["prometheus"], self._tell)
        self.note("ready")

    def _drop_unwanted(self, names: list[str], wanted: apps.Wanted) -> None:
        surplus = [name for name in self.group.children if name.startswith("worker-") and name not in names]
        if not wanted.monitoring and "prometheus" in self.group.children:
            surplus.append("prometheus")
        self.group.remove(surplus)

    def _choose_port(self, name: str) -> None:
        """A process that runs keeps its port; the API's was settled by `up`."""
        child = self.group.children.get(name)
        running = child is not None and child.poll() is None
        if name == "api":
            port = self.services.ports.get(name)
            keeps = running and child.spec.env["FLEET__SERVER__PORT"] == str(port)
            if not keeps and not is_free(port):
                raise Problem(f"port {port} is in use by another program; choose one with PORT=n")
        elif not running:
            self.services.ports.ensure_free(name)

    def _tell(self, name: str, seconds: float) -> None:
        say(f"{name} is ready after {seconds:.1f} s")
        self.write_state()

    def note(self, phase: str) -> None:
        """Records and logs the current phase."""
        if phase != self.phase:
            say(phase)
        self.phase = phase
        self.write_state()

    def write_state(self) -> None:
        """For `up`, `status` and debugging."""
        processes = {
            name: {
                "pid": child.pid,
                "running": child.poll() is None,
                "ready": child.was_ready and child.poll() is None,
                "restarts": self.group.restarts.get(name, 0),
                "log": str(child.spec.log),
            }
            for name, child in self.group.children.items()
        }
        state = {"pid": os.getpid(), "phase": self.phase, "problem": self.problem, "generation": self.generation, "processes": processes}
        write_whole(STATE, json.dumps(state, indent=2) + "\n")

    def attempt(self) -> bool:
        """Reconciles; `up` shows a Problem. Returns False on failure."""
        self.problem = ""
        try:
            self.reconcile()
        except Problem as problem:
            self.problem = str(problem)
            say(f"problem: {problem}")
        self.generation += 1
        self.write_state()
        return not self.problem

    def stop(self) -> None:
        """Workers, then scheduler and API, then the services."""
        self.note("stopping")
        workers = [name for name in self.group.children if name.startswith("worker-")]
        for names in (workers, ["scheduler", "api", "prometheus"], ["rabbitmq", "redis", "postgres"]):
            self.group.remove(names)
        self.group.stop_all()
        STATE.unlink(missing_ok=True)
        say("stopped")


def migrate(services: Services, wanted: apps.Wanted) -> None:
    """Brings the schema up to date; quick when it is."""
    argv = [str(apps.program("api")), "migrate"]
    log = RUN / "logs/migrate.log"
    with open(log, "ab") as sink:
        done = subprocess.run(argv, env=apps.env(services.ports, wanted, {}), cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Problem(f"migrating the database failed. Its log, {log}:\n{last_lines(log)}")


def lock() -> object | None:
    """The held lock, or None when another supervisor has it."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    handle = open(LOCK, "a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def is_running() -> int | None:
    """The supervisor's pid, or None. The lock decides, not the number in the file."""
    if not LOCK.exists():
        return None
    with open(LOCK) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = handle.read().strip()
            return int(text) if text else None
    return None


def run() -> None:
    """Runs the supervisor until a signal stops it."""
    held = lock()
    if held is None:
        raise Problem("this checkout's supervisor is already running")
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    this = Supervisor()
    if not this.attempt():
        # A stack that failed to start is stopped; `up` shows the reason.
        problem = this.problem
        this.stop()
        this.problem, this.phase = problem, "failed"
        this.write_state()
        return
    while True:
        arrived = signal.sigtimedwait(_SIGNALS, TICK_S)
        if arrived and arrived.si_signo in (signal.SIGTERM, signal.SIGINT):
            this.stop()
            return
        if arrived and arrived.si_signo == signal.SIGHUP:
            this.attempt()
        events = this.group.tend()
        for line in events:
            say(f"{time.strftime('%H:%M:%S')} {line}")
        for child in this.group.children.values():
            if not child.was_ready:
                child.is_ready()
        this.write_state()
