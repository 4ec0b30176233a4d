"""A throwaway fleet for measurements: the real API, scheduler and worker with the default model, on services of its own.

Each fleet has a database of its own, so that neither estimates nor statistics know of another one's runs.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True

from fleet_stack import tools  # noqa: E402  (the path above comes first)
from fleet_stack.console import Problem, say  # noqa: E402
from fleet_stack.disk import require_free  # noqa: E402
from fleet_stack.group import Group  # noqa: E402
from fleet_stack.paths import RUN, TOOLS, target_dir  # noqa: E402
from fleet_stack.ports import Ports  # noqa: E402
from fleet_stack.process import Spec  # noqa: E402
from fleet_stack.prometheus import http_ok  # noqa: E402

SERVICES = "FLEET_TEST_SERVICES"
REQUIREMENTS = HERE / "requirements.txt"
# A video takes seconds; a machine that is busy with other things takes longer.
JOB_PATIENCE_S = 300.0
# What a plan said, what the run took, and what came of it, by job.
FACTS = """
SELECT json_object_agg(id, json_build_object('steps', final_steps, 'tier', tier, 'complexity', complexity, 'asked', quality_tier,
    'estimate_s', CASE WHEN record ->> 'cache_match' IN ('identical', 'similar') THEN estimate_cached_s ELSE estimate_s END,
    'record', record))
FROM jobs WHERE status = 'completed'"""


def inside(script: str) -> None:
    """Starts this script again where it can work: with the packages it needs, beside a throwaway stack."""
    interpreter = os.environ.get("BENCH_PYTHON") or _packages()
    if Path(sys.executable) != Path(interpreter):
        os.execv(interpreter, [interpreter, script, *sys.argv[1:]])
    if SERVICES not in os.environ and not os.environ.get("BENCH_REPORT"):
        command = [str(ROOT / "scripts/fleet"), "with-services", "--", interpreter, script, *sys.argv[1:]]
        sys.exit(subprocess.run(command).returncode)


def _packages() -> str:
    """A Python with numpy and matplotlib, at the pinned versions."""
    home = TOOLS / "bench-optimizations"
    stamp = home / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        require_free(TOOLS, 500_000_000, "The benchmark's Python packages")
        say("installing numpy and matplotlib")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(home / "bin/python"), "-m", "pip", "install", "--no-cache-dir", "-q", "-r", str(REQUIREMENTS)], check=True)
        stamp.write_text(REQUIREMENTS.read_text())
    return str(home / "bin/python")


@dataclass
class Run:
    """One finished job."""

    job_id: str
    request: dict
    facts: dict

    @property
    def seconds(self) -> float:
        """The whole run on the worker, without the queue."""
        return sum(self.facts["record"]["stages"].values())

    @property
    def record(self) -> dict:
        return self.facts["record"]


class Fleet:
    """A running fleet and what one can ask of it."""

    def __init__(self, name: str, number: int, workers: int, variables: dict[str, str]) -> None:
        self.services = json.loads(os.environ[SERVICES])
        self.folder = RUN / "bench" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.group = Group()
        self.workers = ("worker", *(f"worker-{n}" for n in range(2, workers + 1)))
        self.ports = Ports(self.folder / "ports.json")
        self.database = f"bench_{number}"
        self.psql("postgres", f"DROP DATABASE IF EXISTS {self.database}", f"CREATE DATABASE {self.database}")
        self._make_virtual_host()
        self.variables = {
            "FLEET_CONFIG_DIR": str(ROOT / "configuration"),
            "FLEET__DATABASE__URL": self._database_url(self.database),
            "FLEET__BROKER__URL": f"{self.services['broker_url'].rpartition('/')[0]}/{self.database}",
            "REDIS_HOST": self.services["redis_host"],
            "REDIS_PORT": str(self.services["redis_port"]),
            "FLEET__REDIS__DATABASE": str(number % 16),
            "FLEET__ARTIFACTS__URL": str(self.folder / "artifacts"),
            # Compression must not hide or add differences between videos.
            "FLEET__WORKER__VIDEO_CRF": "0",
            "FLEET__LOG__LEVEL": "warn",
            "FLEET__WORKER__THREADS": os.environ.get("BENCH_THREADS", "0"),
            **variables,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.get('api')}"

    def start(self, names: tuple[str, ...] = (), **changed: str) -> None:
        """Starts processes (all of them), or restarts those whose settings have changed."""
        self.variables.update(changed)
        for name in names or ("api", "scheduler", *self.workers):
            self.group.ensure(self._spec(name))
            self.group.wait_ready([name])

    def stop(self) -> None:
        """Workers go first, so that they can say goodbye."""
        self.group.stop_all(order=[list(self.workers), ["scheduler"]])

    def _spec(self, name: str) -> Spec:
        kind = "worker" if name in self.workers else name
        program = target_dir() / kind
        if not program.exists():
            raise Problem(f"{program} is missing: run `make build` first.")
        port = self.ports.get(name)
        where = {"FLEET__SERVER__PORT": str(port)} if name == "api" else {f"FLEET__{kind.upper()}__METRICS_PORT": str(port)}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("FLEET", "ENABLE_", "REDIS_"))}
        argv = [str(program), *(["run"] if kind == "worker" else [])]
        environment = {**inherited, **self.variables, **where}
        return Spec(name, argv, environment, ROOT, self.folder / f"{name}.log", lambda: http_ok(f"http://127.0.0.1:{port}/readyz"), start_patience_s=180.0)

    def _database_url(self, name: str) -> str:
        address, _, query = self.services["database_url"].partition("?")
        return f"{address.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")

    def _make_virtual_host(self) -> None:
        """Queues of its own, so that fleets side by side do not take each other's messages."""
        address = urllib.parse.urlsplit(self.services["broker_management_url"])
        login = base64.b64encode(f"{address.username}:{address.password}".encode()).decode()
        url = f"http://{address.hostname}:{address.port}/api/vhosts/{self.database}"
        headers = {"content-type": "application/json", "authorization": f"Basic {login}"}
        urllib.request.urlopen(urllib.request.Request(url, b"{}", headers, method="PUT"), timeout=30).close()

    def redis(self, *words: str | bytes) -> bytes | int | list | None:
        """One command to the fleet's own Redis database."""
        with socket.create_connection((self.services["redis_host"], self.services["redis_port"]), 30) as stream:
            file = stream.makefile("rb")
            answer = None
            for command in (("SELECT", self.variables["FLEET__REDIS__DATABASE"]), words):
                parts = [word if isinstance(word, bytes) else word.encode() for word in command]
                stream.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
                answer = _redis_answer(file)
            return answer

    def psql(self, database: str, *statements: str) -> str:
        """The last statement's answer."""
        argv = [str(tools.need("psql")), self._database_url(database), "-qAtX", "-v", "ON_ERROR_STOP=1"]
        for statement in statements:
            argv += ["-c", statement]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def ask(self, path: str, body: dict | None = None, method: str | None = None) -> dict:
        """One call of the API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Problem(f"{path}: {error.code} {error.read().decode()}") from error

    def video(self, job_id: str) -> bytes:
        """The MP4 of a finished job."""
        with urllib.request.urlopen(f"{self.url}/api/videos/{job_id}", timeout=60) as answer:
            return answer.read()

    def render(self, requests: list[dict], in_flight: int = 1) -> list[Run]:
        """Renders all requests, a few at a time, and gives them back in order."""
        waiting, running, done = list(enumerate(requests)), {}, {}
        deadline = time.monotonic() + JOB_PATIENCE_S
        while waiting or running:
            while waiting and len(running) < in_flight:
                index, request = waiting.pop(0)
                running[index] = self.ask("/api/generate", request)["job_id"]
            for index, job_id in list(running.items()):
                status = self.ask(f"/api/jobs/{job_id}")["status"]
                if status == "completed":
                    done[index] = running.pop(index)
                    deadline = time.monotonic() + JOB_PATIENCE_S
                elif status in ("failed", "cancelled"):
                    raise Problem(f"job {job_id} {status}; see {self.folder}/worker.log")
            if time.monotonic() > deadline:
                raise Problem(f"nothing was finished for {JOB_PATIENCE_S:.0f} s; see {self.folder}")
            # Often enough for jobs that take seconds, and seldom enough not to slow them.
            time.sleep(0.1)
        facts = json.loads(self.psql(self.database, FACTS) or "{}")
        return [Run(done[index], request, facts[done[index]]) for index, request in enumerate(requests)]

    def all_runs(self) -> list[Run]:
        """Every finished job of this fleet, oldest first."""
        facts = json.loads(self.psql(self.database, FACTS) or "{}")
        return [Run(job_id, {}, facts[job_id]) for job_id in sorted(facts)]


class Watch:
    """The machine and how busy it was since this was made."""

    def __init__(self) -> None:
        self.began, self.waited_us = time.monotonic(), self._waited_us()

    @staticmethod
    def _waited_us() -> int | None:
        """Microseconds since the machine's start in which something that could run had no core."""
        path = Path("/proc/pressure/cpu")
        return int(path.read_text().split("total=")[1].split()[0]) if path.exists() else None

    def minutes(self) -> float:
        return (time.monotonic() - self.began) / 60

    def machine(self) -> str:
        """In words."""
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
        threads = os.environ.get("BENCH_THREADS", "0")
        used = f"{os.cpu_count()} cores" + ("" if threads == "0" else f", workers of {threads} thread{'s' * (threads != '1')}")
        if self.waited_us is None:
            return f"{model}, {used}, load {os.getloadavg()[2]:.1f}"
        share = (self._waited_us() - self.waited_us) / 1e6 / (time.monotonic() - self.began)
        return f"{model}, {used}; in {100 * share:.0f} % of the time something waited for a core"


def weights() -> str:
    """The default model's weights by the beginning of their fingerprint, so that a reader sees whether they are today's."""
    return tomllib.loads((ROOT / "models/default/fleet.toml").read_text())["fingerprint"]["weights"][:8]


def save(name: str, found: dict) -> None:
    """Keeps what was measured under `.run/bench`, so that a report can be made again."""
    path = RUN / "bench" / f"{name}.json"
    path.write_text(json.dumps(found, default=lambda run: {"__run__": vars(run)}))


def saved(name: str) -> dict:
    """What was kept last."""
    path = RUN / "bench" / f"{name}.json"
    if not path.exists():
        raise Problem(f"{path.relative_to(ROOT)} is missing: nothing was measured yet.")
    return json.loads(path.read_text(), object_hook=lambda item: Run(**item["__run__"]) if "__run__" in item else item)


def _redis_answer(file) -> bytes | int | list | None:
    kind, rest = (line := file.readline().rstrip(b"\r\n"))[:1], line[1:]
    if kind == b"$":
        return None if int(rest) < 0 else file.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [_redis_answer(file) for _ in range(int(rest))]
    if kind == b"-":
        raise Problem(f"Redis: {rest.decode()}")
    return int(rest) if kind == b":" else rest


@contextmanager
def fleet(name: str, number: int, workers: int = 1, **variables: str) -> Iterator[Fleet]:
    """A fleet for the time of a block."""
    started = Fleet(name, number, workers, variables)
    try:
        started.start()
        yield started
    finally:
        started.stop()
