"""Our processes on a throwaway stack (`with-services`), for checks and benchmarks that talk to a running API."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

from . import process, tools
from .apps import SUBCOMMAND, program
from .console import Problem
from .paths import ROOT
from .ports import HIGHEST, LOWEST, is_free
from .prometheus import http_ok

PATIENCE_S = 180.0


def services() -> dict:
    """The stack that `scripts/fleet with-services` started for this process."""
    facts = os.environ.get("FLEET_TEST_SERVICES")
    if not facts:
        raise Problem("there are no services here: run it through `scripts/fleet with-services -- COMMAND`")
    return json.loads(facts)


def free_port() -> int:
    """A port that nobody listens on now; every process looks from elsewhere on."""
    return next(port for port in range(LOWEST + os.getpid() % (HIGHEST - LOWEST - 1000), HIGHEST) if is_free(port))


def create_database(facts: dict, name: str) -> str:
    """Makes an empty database; answers its address."""
    done = subprocess.run(
        [str(tools.need("psql")), facts["database_url"], "-X", "-q", "-c", f'CREATE DATABASE "{name}"'],
        env={**tools.service_env(Path(facts["dir"]))}, capture_output=True, text=True,
    )
    if done.returncode != 0:
        raise Problem(f"cannot create the database {name}: {done.stderr.strip()}")
    return facts["database_url"].rpartition("/")[0] + "/" + name


class Guest:
    """A fleet with a database of its own, whose processes are started one by one."""

    def __init__(self, name: str, folder: Path, variables: dict[str, str]) -> None:
        facts = services()
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.running: dict[str, process.Child] = {}
        self.headers = {"Content-Type": "application/json"}
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.env = {
            **os.environ,
            "PATH": ":".join(str(entry) for entry in dict.fromkeys([*tools_path(), *os.environ.get("PATH", "").split(":")])),
            "FLEET_CONFIG_DIR": str(ROOT / "configuration"),
            "FLEET__DATABASE__URL": create_database(facts, name),
            "FLEET__BROKER__URL": facts["broker_url"],
            "REDIS_HOST": facts["redis_host"],
            "REDIS_PORT": str(facts["redis_port"]),
            "FLEET__ARTIFACTS__URL": str(self.folder / "artifacts"),
            "FLEET__SERVER__PORT": str(port),
            "FLEET__SCHEDULER__METRICS_PORT": "0",
            "FLEET__WORKER__METRICS_PORT": "0",
            "FLEET__WORKER__THREADS": "1",
            **variables,
        }

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(self, name: str) -> None:
        """Starts a process; waits for the API only, the others show by what they do."""
        ready = (lambda: http_ok(f"{self.address}/readyz")) if name == "api" else (lambda: True)
        spec = process.Spec(name, [str(program(name)), *SUBCOMMAND[name]], self.env, ROOT, self.log(name), ready)
        child = self.running[name] = process.Child(spec)
        deadline = time.monotonic() + PATIENCE_S
        while not child.is_ready():
            if child.exit_code() is not None or time.monotonic() > deadline:
                raise Problem(f"{name} does not start:\n{process.last_lines(spec.log)}")
            time.sleep(0.1)

    def stop(self, *names: str) -> None:
        """Stops these processes, or all."""
        process.stop_together([self.running.pop(name) for name in names or list(self.running)])

    def take_key(self) -> str:
        """Issues an admin's key and uses it from now on."""
        argv = [str(program("api")), "keys", "issue", "--role", "admin"]
        issued = subprocess.run(argv, env=self.env, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        key = issued.stdout.strip().splitlines()[-1]
        self.headers["Authorization"] = f"Bearer {key}"
        return key

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, self.headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def until_completed(self, job_id: str) -> dict:
        """Waits for a job's end, which must be a video."""
        deadline = time.monotonic() + PATIENCE_S
        while (job := self.call("GET", f"/api/jobs/{job_id}"))["status"] != "completed":
            if job["status"] in ("failed", "cancelled") or time.monotonic() > deadline:
                raise Problem(f"the job is not rendered: {job}\n{process.last_lines(self.log('worker'))}")
            time.sleep(0.05)
        return job


def tools_path() -> list[Path]:
    """The folder of ffmpeg, which workers start by its name."""
    ffmpeg = tools.find("ffmpeg")
    return [ffmpeg.parent] if ffmpeg else []
