"""Postgres, RabbitMQ and Redis together, in one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import postgres, rabbitmq, redis, tools
from .disk import require_free
from .group import Group
from .ports import Ports
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
            self._ensure(group, "epmd", lambda: rabbitmq.mapper_spec(self.folder, self.ports))
            group.wait_ready(["epmd"])
            self._ensure(group, "rabbitmq", lambda: rabbitmq.spec(self.folder, self.ports))
        if "redis" in only:
            self._ensure(group, "redis", lambda: redis.spec(self.folder, self.ports))
        if "postgres" in only:
            self._ensure(group, "postgres", lambda: postgres.spec(self.folder, self.ports))
        group.wait_ready([name for name in only if await_broker or name != "rabbitmq"], tell)

    def _ensure(self, group: Group, name: str, make: Callable[[], Spec]) -> None:
        """A running service keeps its spec: asking for a free port would find its own port taken."""
        child = group.children.get(name)
        if child is None or child.exit_code() is not None:
            self._specs[name] = make()
            self._adapt(self._specs[name])
        group.ensure(self._specs[name])

    def facts(self) -> dict[str, object]:
        """Everything a client needs to connect."""
        return {
            "database_url": postgres.url(self.folder, self.ports, "postgres"),
            "broker_url": rabbitmq.url(self.folder, self.ports),
            "broker_management_url": rabbitmq.management_url(self.folder, self.ports),
            "redis_url": redis.url(self.ports),
            "redis_host": "127.0.0.1",
            "redis_port": self.ports.get("redis"),
            "dir": str(self.folder),
        }
