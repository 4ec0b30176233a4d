"""A fleet for a check or a benchmark: our processes beside throwaway services, and calls to their API.

The services are those of `scripts/fleet with-services`. Each fleet has its own database, virtual host and Redis
database, so that several can run side by side. Everything ends with the `with` block; the logs stay after a failure.
"""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from . import apps, postgres, tools
from .console import Found, Problem, output, poll, warn
from .group import Group
from .paths import ROOT, RUN
from .ports import Ports, reply
from .process import Spec, last_lines
from .prometheus import http_ok

VARIABLE = "FLEET_TEST_SERVICES"
# Bounds a failure: nothing here takes as long when it works, even with the embedded model on a slow machine.
PATIENCE_S = 300.0
# A small job that the embedded model can draw.
SMALL_JOB = {"prompt": "a large red ball moves to the right on the snow", "infer_steps": 4}

_numbers = itertools.count(1)


def services() -> dict:
    """Addresses of the services beside which this program runs."""
    if VARIABLE not in os.environ:
        raise Problem("no services are running here: use `scripts/fleet with-services -- COMMAND`")
    return json.loads(os.environ[VARIABLE])


def beside_services() -> None:
    """Starts this program again beside throwaway services, unless they already run."""
    if VARIABLE not in os.environ:
        path = Path(sys.argv[0]).resolve()
        program = ["-m", path.parent.name] if path.name == "__main__.py" else [str(path)]
        command = [str(ROOT / "scripts/fleet"), "with-services", "--", sys.executable, *program, *sys.argv[1:]]
        os.execv(command[0], command)


def until(what: str, look: Callable[[], Found | None], patience_s: float = PATIENCE_S) -> Found:
    """Polls until the result is true, and returns it."""
    if not (found := poll(look, patience_s)):
        raise Problem(f"gave up after {patience_s:.0f} s waiting until {what}")
    return found


def require(holds: bool, what: str) -> None:
    """Raises a Problem if a checked fact does not hold."""
    if not holds:
        raise Problem(f"not true: {what}")


def call(method: str, url: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, dict]:
    """One request; returns status and JSON. A body that is not JSON is returned as {"text": ...}."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text[:1] == b"{" else {"text": text.decode(errors="replace")}


class Api:
    """Calls to the API of a running fleet."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.headers: dict[str, str] = {}

    def ask(self, path: str, body: object = None, method: str | None = None) -> dict:
        """One request, which must succeed; POST when there is a body."""
        status, answer = call(method or ("GET" if body is None else "POST"), self.url + path, body, self.headers)
        if status >= 300:
            raise Problem(f"{path}: {status} {answer}")
        return answer

    def submit(self, **fields: object) -> str:
        """Submits a small job, with these fields changed; returns its id."""
        return self.ask("/api/generate", {**SMALL_JOB, **fields})["job_id"]

    def job(self, job_id: str) -> dict:
        """The job as the API shows it."""
        return self.ask(f"/api/jobs/{job_id}")

    def until_status(self, job_id: str, wanted: str = "completed") -> dict:
        """Waits for this final status; any other is a Problem."""

        def look() -> dict | None:
            job = self.job(job_id)
            if job["status"] in ("completed", "failed", "cancelled") and job["status"] != wanted:
                raise Problem(f"the job is not {wanted}: {json.dumps(job)}")
            return job if job["status"] == wanted else None

        return until(f"job {job_id} is {wanted}", look)

    def fetch(self, path: str) -> bytes:
        """What a GET of this path returns."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def video(self, job_id: str) -> bytes:
        """The MP4 of a finished job."""
        found = self.fetch(f"/api/videos/{job_id}")
        require(found[4:8] == b"ftyp" and len(found) > 1000, f"the video is an MP4: {len(found)} bytes, {found[:12]!r}")
        return found


class Fleet(Api):
    """Processes by name: api, scheduler, worker, worker-2, ..."""

    def __init__(self, name: str, variables: dict[str, str] | None = None, facts: dict | None = None) -> None:
        self.facts = facts or services()
        parent = RUN / "tests"
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        self.group, self.ports = Group(), Ports(self.folder / "ports.json")
        super().__init__(f"http://127.0.0.1:{self.ports.get('api')}")
        number = next(_numbers)
        self.name = f"{name}_{os.getpid()}_{number}"
        self.manage("PUT", f"vhosts/{self.name}", {})
        # An earlier program may have used this database of the same Redis.
        reply(self.facts["redis_port"], f"SELECT {number % 16}\r\nFLUSHDB\r\n".encode())
        self.variables = {
            **apps.common_env(
                postgres.create_database(self.facts["database_url"], self.name),
                f"{self.facts['broker_url'].rpartition('/')[0]}/{self.name}",
                self.facts["redis_port"],
            ),
            "FLEET__REDIS__DATABASE": str(number % 16),
            "FLEET__ARTIFACTS__URL": str(self.folder / "artifacts"),
            **(variables or {}),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, _value: object, _trace: object) -> None:
        self.group.kill_all()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            logs = sorted((self.folder / "logs").glob("*.log"))
            warn(f"logs are in {self.folder}/logs; they end:\n" + "\n".join(f"  {log.stem}:\n{last_lines(log, 8)}" for log in logs))

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """The caller's environment without its settings, then those of this fleet."""
        return {**apps.inherited(), "PATH": apps.path(), **self.variables, **(extra or {})}

    def start(self, *names: str, wait: bool = True, **changed: str) -> None:
        """Starts these processes, or one of each kind, and waits until they are ready. A changed setting restarts them.

        A worker that finds a job at start is ready only after that job: `wait=False` returns earlier.
        """
        self.variables.update(changed)
        for name in names or ("api", "scheduler", "worker"):
            kind, port = name.partition("-")[0], self.ports.get(name)
            argv = [str(apps.program(kind)), *apps.SUBCOMMAND[kind]]
            self.run(name, argv, self.environment(apps.own_port(kind, port)), f"http://127.0.0.1:{port}/readyz" if wait else "")

    def run(self, name: str, argv: list[str], environment: dict[str, str], ready_url: str = "") -> None:
        """Starts any program and waits until its address is ready, if it has one."""
        ready = (lambda: http_ok(ready_url)) if ready_url else (lambda: True)
        log = self.folder / f"logs/{name}.log"
        self.group.ensure(Spec(name, argv, environment, ROOT, log, ready, start_patience_s=PATIENCE_S))
        self.group.wait_ready([name])

    def api_command(self, *words: str) -> str:
        """What a command of the `api` program prints."""
        return output([apps.program("api"), *words], env=self.environment(), cwd=ROOT)

    def take_key(self) -> str:
        """Issues an admin key and uses it from then on."""
        key = self.api_command("keys", "issue", "--role", "admin").strip().splitlines()[-1]
        self.headers["authorization"] = f"Bearer {key}"
        return key

    def metric(self, process: str, name: str) -> float:
        """The value of a process's metric that has no labels."""
        text = Api(f"http://127.0.0.1:{self.ports.get(process)}").fetch("/metrics").decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    def psql(self, statement: str, url: str = "") -> subprocess.CompletedProcess[str]:
        """Runs SQL in this fleet's database, or another."""
        argv = postgres.psql(url or self.variables["FLEET__DATABASE__URL"], "-c", statement)
        return subprocess.run(argv, env=tools.service_env(self.folder), capture_output=True, text=True)

    def manage(self, method: str, path: str, body: dict) -> None:
        """Calls RabbitMQ's management API."""
        at = urlsplit(self.facts["broker_management_url"])
        credentials = base64.b64encode(f"{at.username}:{at.password}".encode()).decode()
        status, answer = call(method, f"http://{at.hostname}:{at.port}/api/{path}", body, {"authorization": f"Basic {credentials}"})
        if status >= 300 or answer.get("routed") is False:
            raise Problem(f"RabbitMQ's management API: {method} {path}: {status} {answer}")
