"""Our own processes: their programs, settings and readiness checks."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import postgres, rabbitmq, tools
from .console import Problem
from .paths import ROOT, RUN, target_dir, write_whole
from .ports import Ports
from .process import Spec
from .prometheus import http_ok

PROGRAMS = ["api", "scheduler", "worker"]
WANTED = RUN / "wanted.json"
SUBCOMMAND: dict[str, list[str]] = {"api": [], "scheduler": [], "worker": ["run"]}
# A worker loads its model before it is ready; a large one takes minutes.
START_PATIENCE_S = {"api": 60.0, "scheduler": 60.0, "worker": 900.0}
# Longer than the time in which a process hands back its work on SIGTERM.
STOP_PATIENCE_S = 20.0


# Settings that `make up` accepts as variables; kept until the next `make up`.
PASSED_ON = ("FLEET__", "ENABLE_", "FLEET_ENV", "RUST_LOG", "RUST_BACKTRACE", "AWS_", "CUDA_VISIBLE_DEVICES")


@dataclass
class Wanted:
    """The options of the last `make up`."""

    workers: int = 1
    monitoring: bool = False
    variables: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def load() -> "Wanted":
        return Wanted(**json.loads(WANTED.read_text())) if WANTED.exists() else Wanted()

    def save(self) -> None:
        """Remembers the options and the caller's settings; those of an earlier call are dropped."""
        self.variables = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
        # They may contain secrets.
        write_whole(WANTED, json.dumps(asdict(self), indent=2) + "\n", mode=0o600)


def common_env(database_url: str, broker_url: str, redis_port: int) -> dict[str, str]:
    """Where the services and folders are, as settings of our processes."""
    return {
        "FLEET_CONFIG_DIR": str(ROOT / "configuration"),
        "FLEET__DATABASE__URL": database_url,
        "FLEET__BROKER__URL": broker_url,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_port),
    }


def stack_env(ports: Ports) -> dict[str, str]:
    """The same for the stack of this checkout."""
    return common_env(postgres.url(RUN, ports), rabbitmq.url(RUN, ports), ports.get("redis"))


def env(ports: Ports, wanted: Wanted, extra: dict[str, str]) -> dict[str, str]:
    """Defaults of a private stack, overridden by the caller's settings, overridden by what this stack requires."""
    return {**inherited(), "FLEET__ARTIFACTS__URL": str(RUN / "artifacts"), **wanted.variables, **stack_env(ports), **extra, "PATH": path()}


def inherited() -> dict[str, str]:
    """The caller's environment without its settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith((*PASSED_ON, "FLEET", "REDIS_", "CARGO", "MAKE", "MFLAGS"))}


def path() -> str:
    """The folders on PATH, after the one with ffmpeg if that is in the checkout's own prefix."""
    ffmpeg = tools.find("ffmpeg")
    return ":".join(dict.fromkeys([*([str(ffmpeg.parent)] if ffmpeg else []), *os.environ.get("PATH", "/usr/bin:/bin").split(":")]))


def program(name: str) -> Path:
    """The executable, which must have been built."""
    path = target_dir() / name
    if not path.exists():
        raise Problem(f"{path} is missing: run `make build` first.")
    return path


def own_port(kind: str, port: int) -> dict[str, str]:
    """The setting of the port on which a process serves `/readyz`."""
    return {"FLEET__SERVER__PORT" if kind == "api" else f"FLEET__{kind.upper()}__METRICS_PORT": str(port)}


def spec(name: str, ports: Ports, wanted: Wanted) -> Spec:
    """One of `api`, `scheduler`, `worker-N`."""
    kind = name.partition("-")[0]
    file, port = program(kind), ports.get(name)
    # Changes with every build, so that a new build causes a restart.
    build = f"{file.stat().st_ino}-{file.stat().st_mtime_ns}-{file.stat().st_size}"
    extra = own_port(kind, port)
    if kind == "worker":
        extra["FLEET__WORKER__NAME"] = wanted.variables.get("FLEET__WORKER__NAME", name)
    return Spec(
        name, [str(file), *SUBCOMMAND[kind]], env(ports, wanted, extra), ROOT, RUN / f"logs/{name}.log",
        lambda: http_ok(f"http://127.0.0.1:{port}/readyz"),
        stop_patience_s=STOP_PATIENCE_S, start_patience_s=START_PATIENCE_S[kind], build=build,
    )


def targets(ports: Ports, workers: int) -> dict[str, list[str]]:
    """The addresses of each job in Prometheus' configuration."""
    return {
        "api": [f"127.0.0.1:{ports.get('api')}"],
        "scheduler": [f"127.0.0.1:{ports.get('scheduler')}"],
        "worker": [f"127.0.0.1:{ports.get(f'worker-{n}')}" for n in range(1, workers + 1)],
        "rabbitmq": [f"127.0.0.1:{ports.get('rabbitmq_prometheus')}"],
    }
