"""A private Redis with the limits that the fleet's cache runs under: 2 GB, oldest keys go first, append-only file."""

from __future__ import annotations

import socket
from pathlib import Path

from . import tools
from .ports import Ports
from .process import Spec


def spec(folder: Path, ports: Ports) -> Spec:
    """How to run the server."""
    data = folder / "redis"
    data.mkdir(parents=True, exist_ok=True)
    port = ports.ensure_free("redis")
    argv = [str(tools.need("redis-server")), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
    argv += ["--maxmemory", "2gb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes", "--appendfsync", "everysec"]
    argv += ["--save", "", "--daemonize", "no"]
    return Spec("redis", argv, tools.service_env(folder), data, folder / "logs/redis.log", lambda: answers(port))


def answers(port: int) -> bool:
    """True when it answers PING, which it refuses while it still loads its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def url(ports: Ports) -> str:
    """The address that a client uses."""
    return f"redis://127.0.0.1:{ports.get('redis')}"
