"""One child process: started so that it cannot outlive us, watched, and stopped with a signal, then by SIGKILL.

The kernel sends a child its death signal when the thread that forked it ends, so children are started by the main
thread only. A process that is still running some time after the stop signal is killed.
"""

import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .console import Problem, poll

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
# A log larger than this is renamed when its process starts again.
LOG_LIMIT_BYTES = 50_000_000
FREEZE_PATIENCE_S = 10.0


def die_with_parent(signal_number: int) -> None:
    """Asks the kernel to signal this process when its parent ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


# The user that a child runs as.
User = pwd.struct_passwd


def identity(user: User | None) -> dict[str, object]:
    """The arguments with which `subprocess` runs a program as this user; none for ourselves."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": os.getgrouplist(user.pw_name, user.pw_gid)} if user else {}


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


class Child(subprocess.Popen):
    """A running (or ended) process of a spec."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.started_at = time.monotonic()
        self.was_ready = False
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        if spec.log.exists() and spec.log.stat().st_size > LOG_LIMIT_BYTES:
            spec.log.replace(spec.log.with_suffix(".old.log"))
        parent = os.getpid()

        def before_exec() -> None:
            # After the change of user, which clears it: subprocess calls this last.
            die_with_parent(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())

        with open(spec.log, "ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            try:
                # In a session of its own: a Ctrl-C in the terminal is ours to pass on in order.
                super().__init__(
                    spec.argv, env=spec.env, cwd=spec.cwd, start_new_session=True, preexec_fn=before_exec, **streams, **identity(spec.user)
                )
            except OSError as error:
                raise Problem(f"cannot start {spec.name} ({spec.argv[0]}): {error.strerror}") from error

    def is_ready(self) -> bool:
        """Runs, and its own readiness check passes."""
        if self.poll() is not None:
            return False
        ready = self.spec.ready()
        self.was_ready = self.was_ready or ready
        return ready

    def freeze(self) -> None:
        """Stops the process; a Problem when a thread still runs after some time.

        SIGSTOP reaches each thread at its next return to user space, so a busy server may reply once more after the signal
        was sent. Callers that rely on silence need all threads stopped.
        """
        self.send_signal(signal.SIGSTOP)
        if not poll(lambda: all(_is_stopped(task) for task in Path(f"/proc/{self.pid}").glob("task/*")), FREEZE_PATIENCE_S):
            raise Problem(f"{self.spec.name} does not stop")

    def stop(self) -> None:
        """Sends the stop signal, and kills the process if it does not exit in time."""
        stop_together([self])

    def kill(self) -> None:
        """Kills the process and its process group."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()


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
        child.send_signal(child.spec.stop_signal)
    deadline_s = time.monotonic() + max((c.spec.stop_patience_s for c in children), default=0)
    for child in children:
        try:
            child.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
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
