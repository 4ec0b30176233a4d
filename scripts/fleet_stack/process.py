"""One child process: started so that it cannot outlive us, watched, and stopped with a signal, then by SIGKILL.

The kernel sends a child its death signal when the thread that forked it ends, so children are started by the main
thread only. A process that is still running some time after the stop signal is killed.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .console import Problem

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
# A log larger than this is renamed when its process starts again.
LOG_LIMIT_BYTES = 50_000_000


def die_with_parent(signal_number: int) -> None:
    """Asks the kernel to signal this process when its parent ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


@dataclass(frozen=True)
class User:
    """The user that a child runs as."""

    name: str
    uid: int
    gid: int

    @staticmethod
    def named(name: str) -> User | None:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


@dataclass
class Spec:
    """A program to run. A changed spec causes a restart."""

    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: Path
    log: Path
    # Whether the process works, not only whether it runs.
    ready: Callable[[], bool] = field(compare=False)
    user: User | None = None
    stop_signal: int = signal.SIGTERM
    # Seconds between the stop signal and SIGKILL.
    stop_patience_s: float = 15.0
    # How long a start may take before it counts as failed.
    start_patience_s: float = 60.0
    # Identity of the executable: a new build is a different spec.
    build: str = ""


class Child:
    """A running (or ended) process of a spec."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.started_at = time.monotonic()
        self.was_ready = False
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        spec = self.spec
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        if spec.log.exists() and spec.log.stat().st_size > LOG_LIMIT_BYTES:
            spec.log.replace(spec.log.with_suffix(".old.log"))
        parent = os.getpid()

        def before_exec() -> None:
            if spec.user:
                os.initgroups(spec.user.name, spec.user.gid)
                os.setgid(spec.user.gid)
                os.setuid(spec.user.uid)
            # After the change of user, which clears it.
            die_with_parent(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())

        with open(spec.log, "ab") as log:
            try:
                return subprocess.Popen(
                    spec.argv,
                    env=spec.env,
                    cwd=spec.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Its own group: a Ctrl-C in the terminal is ours to pass on in order.
                    start_new_session=True,
                    preexec_fn=before_exec,
                )
            except OSError as error:
                raise Problem(f"cannot start {spec.name} ({spec.argv[0]}): {error.strerror}") from error

    @property
    def pid(self) -> int:
        return self.process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def is_ready(self) -> bool:
        """Runs, and its own readiness check passes."""
        if self.exit_code() is not None:
            return False
        ready = self.spec.ready()
        self.was_ready = self.was_ready or ready
        return ready

    def send(self, signal_number: int) -> None:
        """Signals the process if it still runs."""
        if self.exit_code() is None:
            self.process.send_signal(signal_number)

    def freeze(self, patience_s: float = 10.0) -> bool:
        """Stops the process; False when a thread still runs after `patience_s`.

        SIGSTOP reaches each thread at its next return to user space, so a busy server may reply once more after the signal
        was sent. Callers that rely on silence need all threads stopped.
        """
        self.send(signal.SIGSTOP)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if all(_is_stopped(task) for task in Path(f"/proc/{self.pid}/task").iterdir()):
                return True
            time.sleep(0.005)
        return False

    def wait_until_gone(self, patience_s: float) -> bool:
        """False when it still runs after `patience_s`."""
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Sends the stop signal, and kills the process if it does not exit in time."""
        self.send(self.spec.stop_signal)
        if not self.wait_until_gone(self.spec.stop_patience_s):
            self.kill()

    def kill(self) -> None:
        """Kills the process and its process group."""
        if self.exit_code() is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()


def _is_stopped(task: Path) -> bool:
    """Whether this thread, a folder of `/proc/PID/task`, is stopped or has ended."""
    try:
        # The state follows the program's name, which is in brackets and may itself contain brackets.
        return (task / "stat").read_text().rpartition(") ")[2].startswith("T")
    except FileNotFoundError:
        return True


def stop_together(children: list[Child]) -> None:
    """Signals all, then waits for each: the patience of the slowest, not the sum."""
    for child in children:
        child.send(child.spec.stop_signal)
    deadline_s = time.monotonic() + max((c.spec.stop_patience_s for c in children), default=0)
    for child in children:
        if not child.wait_until_gone(max(0.0, deadline_s - time.monotonic())):
            child.kill()


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for an error message."""
    if not log.exists():
        return "(no log)"
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 16_000))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join("    " + line for line in lines[-count:]) or "    (the log is empty)"
