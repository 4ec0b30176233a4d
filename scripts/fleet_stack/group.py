"""A set of child processes kept as specified: missing ones are started, changed and dead ones restarted.

The pause before a restart doubles while a child keeps exiting; its log shows the reason.
"""

import time
from collections.abc import Callable

from .console import Problem
from .process import Child, Spec, last_lines, stop_together

# Between two starts of a child that dies: doubles from the first to the last.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
# A child that ran this long starts with the first pause again.
STEADY_AFTER_S = 60.0
POLL_S = 0.05


class Group:
    """Children by name, in the order in which they were started."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}
        self.restarts: dict[str, int] = {}
        self._pause_s: dict[str, float] = {}
        self._next_start: dict[str, float] = {}

    def ensure(self, spec: Spec) -> Child:
        """Starts `spec`, or restarts it if what runs under its name was started from another spec."""
        child = self.children.get(spec.name)
        if child and child.poll() is None:
            if child.spec == spec:
                return child
            child.stop()
        self.children[spec.name] = Child(spec)
        self._pause_s.pop(spec.name, None)
        return self.children[spec.name]

    def remove(self, names: list[str]) -> None:
        """Stops and removes these children."""
        stop_together([self.children.pop(name) for name in names if name in self.children])

    def wait_ready(self, names: list[str], tell: Callable[[str, float], None] = lambda name, seconds: None) -> None:
        """Returns when all are ready. A child that ends or takes too long is a Problem with the end of its log."""
        waiting = list(names)
        while waiting:
            for name in list(waiting):
                child = self.children[name]
                code = child.poll()
                age_s = time.monotonic() - child.started_at
                if code is not None:
                    raise Problem(f"{name} ended with code {code} while starting. Its log, {child.spec.log}:\n{last_lines(child.spec.log)}")
                if child.is_ready():
                    tell(name, age_s)
                    waiting.remove(name)
                elif age_s > child.spec.start_patience_s:
                    raise Problem(f"{name} is not ready after {age_s:.0f} s. Its log, {child.spec.log}:\n{last_lines(child.spec.log)}")
            time.sleep(POLL_S)

    def tend(self) -> list[str]:
        """Restarts dead children when their pause is over; returns a line for each event."""
        lines = []
        now = time.monotonic()
        for name, child in list(self.children.items()):
            code = child.poll()
            if code is None:
                continue
            if name not in self._next_start:
                steady = now - child.started_at > STEADY_AFTER_S
                pause_s = FIRST_PAUSE_S if steady else self._pause_s.get(name, FIRST_PAUSE_S)
                self._next_start[name] = now + pause_s
                self._pause_s[name] = min(2 * pause_s, LONGEST_PAUSE_S)
                lines.append(f"{name} ended with code {code}; restarting in {pause_s:.0f} s (log: {child.spec.log})")
            elif now >= self._next_start[name]:
                del self._next_start[name]
                self.restarts[name] = self.restarts.get(name, 0) + 1
                self.children[name] = Child(child.spec)
        return lines

    def stop_all(self) -> None:
        """Stops all at once."""
        self.remove(list(self.children))

    def kill_all(self) -> None:
        """For throwaway stacks, whose data are not needed."""
        for child in self.children.values():
            child.kill()
        self.children.clear()
