"""Free ports, remembered: the same checkout finds its services where they were, two checkouts never meet.

All are below 32768: above it the kernel hands ports to outgoing connections, and a service that restarts could find its
own port taken by a client.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Collection
from pathlib import Path

from .console import Problem, say

LOWEST = 20_000
HIGHEST = 31_999


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when somebody could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(taken: Collection[int] = ()) -> int:
    """A port on which nobody listens now."""
    for _ in range(500):
        port = random.randint(LOWEST, HIGHEST)
        if port not in taken and is_free(port):
            return port
    raise Problem(f"no port between {LOWEST} and {HIGHEST} is free on 127.0.0.1")


class Ports:
    """The ports of one stack, kept in a JSON file by name."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.by_name: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, name: str) -> int:
        """The port of `name`, chosen now if it has none yet."""
        if name not in self.by_name:
            self.by_name[name] = free_port(self.by_name.values())
            self._save()
        return self.by_name[name]

    def ensure_free(self, name: str) -> int:
        """The port of `name`, exchanged if another program has taken it meanwhile. Call it before a start."""
        port = self.get(name)
        if not is_free(port):
            self.by_name[name] = free_port(self.by_name.values())
            self._save()
            say(f"port {port} of {name} is in use by another program; using {self.by_name[name]}")
        return self.by_name[name]

    def set(self, name: str, port: int) -> None:
        """Fixes a port that a person asked for."""
        if self.by_name.get(name) != port:
            self.by_name[name] = port
            self._save()

    def _save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.by_name, indent=2, sort_keys=True) + "\n")
        fresh.replace(self.file)
