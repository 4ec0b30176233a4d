"""Free ports, remembered: a checkout keeps its services' ports, and two checkouts never share one.

All are below 32768: above it the kernel hands ports to outgoing connections, and a service that restarts could find its
own port taken by a client.
"""

import json
import random
import socket
from collections.abc import Collection
from pathlib import Path

from .console import Problem, say
from .paths import write_whole

LOWEST = 20_000
HIGHEST = 31_999


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether `port` is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def reply(port: int, sent: bytes) -> bytes:
    """The first bytes that a server on the loopback address returns; none if it returns nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(sent)
            return connection.recv(200)
    except OSError:
        return b""


def free_port(taken: Collection[int] = ()) -> int:
    """A port that is free now."""
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
            self.set(name, free_port(self.by_name.values()))
        return self.by_name[name]

    def ensure_free(self, name: str) -> int:
        """The port of `name`, replaced if another program uses it. Call it before a start."""
        port = self.get(name)
        if not is_free(port):
            self.set(name, free_port(self.by_name.values()))
            say(f"port {port} of {name} is in use by another program; using {self.by_name[name]}")
        return self.by_name[name]

    def set(self, name: str, port: int) -> None:
        """Sets and remembers the port of `name`."""
        self.by_name[name] = port
        write_whole(self.file, json.dumps(self.by_name, indent=2, sort_keys=True) + "\n")
