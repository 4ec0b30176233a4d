"""A private Redis with the limits that the fleet's cache runs under: 2 GB, least recently used keys are evicted, append-only file."""

from __future__ import annotations

from pathlib import Path

from . import tools
from .ports import Ports, reply
from .process import Spec


def spec(folder: Path, ports: Ports) -> Spec:
    """How to run the server."""
    data = folder / "redis"
    data.mkdir(parents=True, exist_ok=True)
    port = ports.ensure_free("redis")
    argv = [str(tools.need("redis-server")), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
    argv += ["--maxmemory", "2gb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes", "--appendfsync", "everysec"]
    argv += ["--save", "", "--daemonize", "no"]
    return Spec("redis", argv, tools.service_env(folder), data, folder / "logs/redis.log", lambda: is_ready(port))


def is_ready(port: int) -> bool:
    """Whether PING succeeds; Redis refuses it while it loads its data."""
    return reply(port, b"PING\r\n").startswith(b"+PONG")


def url(ports: Ports) -> str:
    """The address that a client uses."""
    return f"redis://127.0.0.1:{ports.get('redis')}"
