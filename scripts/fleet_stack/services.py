"""Postgres, RabbitMQ and Redis together, in one folder."""

from collections.abc import Callable
from pathlib import Path

from . import postgres, rabbitmq, tools
from .group import Group
from .paths import require_free
from .ports import Ports, reply
from .process import Spec


class Services:
    """The three services of one folder; their ports and passwords stay the same from start to start."""

    def __init__(self, folder: Path, adapt: Callable[[Spec], None] = lambda spec: None) -> None:
        """`adapt` may change the spec of a service before it starts."""
        self.folder = folder
        self._adapt = adapt
        self.ports = Ports(folder / "ports.json")
        self._specs: dict[str, Spec] = {}

    def start(
        self, group: Group, tell: Callable[[str, float], None] = lambda name, seconds: None,
        only: tuple[str, ...] = ("redis", "postgres", "rabbitmq"), await_broker: bool = True,
    ) -> None:
        """Starts what is not running and returns when the services in `only` are ready, RabbitMQ only with `await_broker`."""
        require_free(self.folder, 1_000_000_000, "The stack's data")
        self.folder.mkdir(parents=True, exist_ok=True)
        for program in tools.SERVICES:
            tools.need(program)
        # RabbitMQ takes by far the longest, so it starts first; it needs its port mapper.
        if "rabbitmq" in only:
            self._ensure(group, "epmd", rabbitmq.mapper_spec)
            group.wait_ready(["epmd"])
        for name, make in (("rabbitmq", rabbitmq.spec), ("redis", redis_spec), ("postgres", postgres.spec)):
            if name in only:
                self._ensure(group, name, make)
        group.wait_ready([name for name in only if await_broker or name != "rabbitmq"], tell)

    def _ensure(self, group: Group, name: str, make: Callable[[Path, Ports], Spec]) -> None:
        """A running service keeps its spec: asking for a free port would find its own port taken."""
        child = group.children.get(name)
        if child is None or child.poll() is not None:
            self._specs[name] = make(self.folder, self.ports)
            self._adapt(self._specs[name])
        group.ensure(self._specs[name])

    def facts(self) -> dict[str, object]:
        """Everything a client needs to connect."""
        redis_port = self.ports.get("redis")
        return {
            "database_url": postgres.url(self.folder, self.ports, "postgres"),
            "broker_url": rabbitmq.url(self.folder, self.ports),
            "broker_management_url": rabbitmq.management_url(self.folder, self.ports),
            "redis_url": f"redis://127.0.0.1:{redis_port}",
            "redis_host": "127.0.0.1",
            "redis_port": redis_port,
            "dir": str(self.folder),
        }


def redis_spec(folder: Path, ports: Ports) -> Spec:
    """How to run Redis with the limits of the fleet's cache: 2 GB, least recently used keys are evicted, append-only file."""
    data = folder / "redis"
    data.mkdir(parents=True, exist_ok=True)
    port = ports.ensure_free("redis")
    argv = [str(tools.need("redis-server")), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
    argv += ["--maxmemory", "2gb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes", "--appendfsync", "everysec"]
    argv += ["--save", "", "--daemonize", "no"]
    # Redis refuses PING while it loads its data.
    ready = lambda: reply(port, b"PING\r\n").startswith(b"+PONG")  # noqa: E731
    return Spec("redis", argv, tools.service_env(folder), data, folder / "logs/redis.log", ready)
