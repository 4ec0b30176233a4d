"""A fleet of its own for a check of `make verify`: services in a throwaway folder, our processes beside them, and calls to the API.

Everything ends with the `with` block. The folder stays when the check failed, and says where it is.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import apps, postgres, rabbitmq
from .console import Problem, warn
from .group import Group
from .paths import ROOT, RUN
from .ports import Ports
from .process import Spec
from .prometheus import http_ok
from .services import Services

# Longest wait for a job of the embedded model on a slow machine.
PATIENCE_S = 300.0
PROMPT = "a large red ball moves to the right on the snow"


class Trial:
    """Services and processes of one check."""

    def __init__(self, name: str) -> None:
        parent = RUN / "verify"
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        self.folder.chmod(0o755)
        self.group = Group()
        self.services = Services(self.folder)

    @property
    def ports(self) -> Ports:
        return self.services.ports

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, kind: object, _value: object, _trace: object) -> None:
        self.group.kill_all()
        if kind is not None:
            warn(f"what it left is in {self.folder}")
            return
        data = self.folder / "postgres"
        if data.is_symlink():
            shutil.rmtree(data.resolve(), ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_services(self) -> None:
        """Postgres, RabbitMQ, Redis and an empty database."""
        self.services.start(self.group)
        postgres.create_database(self.folder, self.ports, postgres.DATABASE)

    def variables(self, database: str = postgres.DATABASE) -> dict[str, str]:
        """Settings of our processes."""
        return {
            "FLEET_CONFIG_DIR": str(ROOT / "configuration"),
            "FLEET__DATABASE__URL": postgres.url(self.folder, self.ports, database),
            "FLEET__BROKER__URL": rabbitmq.url(self.folder, self.ports),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.ports.get("redis")),
            "FLEET__ARTIFACTS__URL": str(self.folder / "artifacts"),
        }

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        """The caller's environment without settings of its own, then these."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(apps.PASSED_ON)}
        return {**inherited, "PATH": ":".join(apps.tool_folders()), **variables}

    def start(self, name: str, variables: dict[str, str]) -> str:
        """Starts `api`, `scheduler` or `worker` and waits until it is ready; answers its address."""
        kind = name.partition("-")[0]
        port = self.ports.ensure_free(name)
        own = {"FLEET__SERVER__PORT": str(port)} if kind == "api" else {f"FLEET__{kind.upper()}__METRICS_PORT": str(port)}
        address = f"http://127.0.0.1:{port}"
        self.run(name, [str(apps.program(kind)), *apps.SUBCOMMAND[kind]], {**variables, **own}, f"{address}/readyz")
        return address

    def run(self, name: str, argv: list[str], variables: dict[str, str], ready_url: str | None) -> None:
        """Starts any program and waits for its address, if it has one."""
        ready = (lambda: http_ok(ready_url)) if ready_url else (lambda: True)
        log = self.folder / f"logs/{name}.log"
        self.group.ensure(Spec(name, argv, self.environment(variables), ROOT, log, ready, start_patience_s=300.0))
        self.group.wait_ready([name])


def call(url: str, body: object = None) -> dict:
    """One request to the API; POST when there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Problem(f"{url}: {error.code} {error.read().decode(errors='replace')}") from error


def video(api: str, job_id: str) -> bytes:
    """The bytes of a finished video."""
    with urllib.request.urlopen(f"{api}/api/videos/{job_id}", timeout=60) as answer:
        return answer.read()


def submit(api: str, seed: int) -> str:
    """A small job; answers its id."""
    return call(f"{api}/api/generate", {"prompt": PROMPT, "seed": seed, "infer_steps": 4})["job_id"]


def until_completed(api: str, job_id: str) -> dict:
    """Waits for the job's end, which has to be a video."""
    return until(f"job {job_id} is completed", lambda: ended(api, job_id))


def ended(api: str, job_id: str) -> dict | None:
    """The job once it is completed; one that failed is a Problem."""
    job = call(f"{api}/api/jobs/{job_id}")
    if job["status"] in ("failed", "cancelled"):
        raise Problem(f"the job ended without a video: {job}")
    return job if job["status"] == "completed" else None


def until(what: str, look, patience_s: float = PATIENCE_S):
    """Looks until there is something to see."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    raise Problem(f"waited {patience_s:.0f} s in vain: {what}")


def require(holds: bool, what: str) -> None:
    """A fact that the check is about."""
    if not holds:
        raise Problem(f"does not hold: {what}")
