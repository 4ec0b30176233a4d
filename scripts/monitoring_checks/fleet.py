"""A fleet of its own for the check: the built executables on a database and virtual host of the shared services, and a
Prometheus with the committed configuration, scraping every second.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from fleet_stack import apps, postgres, prometheus, tools
from fleet_stack.console import Problem
from fleet_stack.group import Group
from fleet_stack.paths import ROOT
from fleet_stack.ports import Ports
from fleet_stack.process import Spec, last_lines

# Bounds a failure; nothing here takes long when it works.
DEADLINE_S = 240.0
POLL_S = 0.2

Found = TypeVar("Found")


def until(what: str, look: Callable[[], Found | None]) -> Found:
    """Looks until there is something to see."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise Problem(f"never: {what}")
        time.sleep(POLL_S)


class Fleet:
    """Processes by name: api, scheduler, worker, prometheus."""

    def __init__(self, services: dict, folder: Path) -> None:
        self.folder = folder
        self.group = Group()
        self.ports = Ports(folder / "ports.json")
        self.shared = Ports(Path(services["dir"]) / "ports.json")
        self.management = urlsplit(services["broker_management_url"])
        self.vhost = f"monitoring-{os.getpid()}"
        self._manage("PUT", f"vhosts/{self.vhost}", {})
        postgres.create_database(Path(services["dir"]), self.shared, self.vhost)
        self.ffmpeg_broken = folder / "ffmpeg-is-broken"
        self.env = self._environment(services)
        self.stream: http.client.HTTPConnection | None = None

    def _environment(self, services: dict) -> dict[str, str]:
        ffmpeg = self.folder / "ffmpeg"
        # Fails on demand: a fault that the worker cannot tell from a real one.
        ffmpeg.write_text(f'#!/bin/sh\n[ -e "{self.ffmpeg_broken}" ] && exit 1\nexec "{tools.need("ffmpeg")}" "$@"\n')
        ffmpeg.chmod(0o755)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith((*apps.PASSED_ON, "FLEET", "CARGO", "MAKE"))}
        return {
            **inherited,
            "FLEET_CONFIG_DIR": str(ROOT / "configuration"),
            "FLEET__DATABASE__URL": postgres.url(Path(services["dir"]), self.shared, self.vhost),
            "FLEET__BROKER__URL": services["broker_url"].rpartition("/")[0] + f"/{self.vhost}",
            "REDIS_HOST": services["redis_host"],
            "REDIS_PORT": str(services["redis_port"]),
            "FLEET__ARTIFACTS__URL": str(self.folder / "artifacts"),
            "FLEET__WORKER__FFMPEG": str(ffmpeg),
            "FLEET__WORKER__THREADS": "1",
            # A dead worker is noticed within seconds.
            "FLEET__WORKER__LEASE_S": "6",
            "FLEET__WORKER__HEARTBEAT_S": "1",
            "FLEET__WORKER__CHECKPOINT_EVERY_S": "1",
            "FLEET__WORKER__PROGRESS_MS": "50",
            "FLEET__SCHEDULER__SWEEP_MS": "500",
            "FLEET__SCHEDULER__WORKER_GONE_S": "8",
            "FLEET__SCHEDULER__BACKOFF_MIN_S": "1",
            "FLEET__SCHEDULER__BACKOFF_MAX_S": "1",
            "FLEET__COST__BUDGET_DAY_USD": "100",
        }

    def start(self) -> None:
        """Everything, and waits until Prometheus has read every process."""
        for name in ("api", "scheduler", "worker"):
            self.start_process(name)
        addresses = {name: [f"127.0.0.1:{self.ports.get(name)}"] for name in ("api", "scheduler", "worker")}
        addresses["rabbitmq"] = [f"127.0.0.1:{self.shared.get('rabbitmq_prometheus')}"]
        self.group.ensure(prometheus.spec(self.folder, self.ports, addresses, running=False, every="1s"))
        self.group.wait_ready(["api", "scheduler", "prometheus", "worker"])
        jobs = {*addresses, "prometheus"}
        until("Prometheus reads all processes", lambda: {row["metric"]["job"] for row in self.query("up == 1")} == jobs)

    def start_process(self, name: str) -> None:
        """Starts one of our processes; the same port every time."""
        port = self.ports.get(name)
        key = "FLEET__SERVER__PORT" if name == "api" else f"FLEET__{name.upper()}__METRICS_PORT"
        argv = [str(apps.program(name)), *apps.SUBCOMMAND[name]]
        self.group.ensure(Spec(
            name, argv, {**self.env, key: str(port)}, ROOT, self.folder / f"logs/{name}.log",
            lambda: prometheus.http_ok(f"http://127.0.0.1:{port}/readyz"), start_patience_s=DEADLINE_S,
        ))

    def kill_worker(self) -> None:
        """SIGKILL: its lease has to run out."""
        self.group.children["worker"].kill()

    def stop_worker(self) -> None:
        """SIGTERM: it hands its job back."""
        self.group.children["worker"].send(signal.SIGTERM)
        if not self.group.children["worker"].wait_until_gone(DEADLINE_S):
            raise Problem("the worker does not stop")

    def end(self) -> None:
        """Kills everything; what the services keep for us goes with them."""
        if self.stream:
            self.stream.close()
        self.group.kill_all()

    def logs(self) -> str:
        """The ends of all logs, for a failure."""
        logs = sorted((self.folder / "logs").glob("*.log"))
        return "\n".join(f"  {log.stem}:\n{last_lines(log, 8)}" for log in logs)

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method: str, path: str, body: dict | None = None, headers: dict[str, str] | None = None) -> tuple[int, dict]:
        """Asks the API; answers status and JSON."""
        return _http(method, f"http://127.0.0.1:{self.ports.get('api')}{path}", body, headers or {})

    def submit(self, prompt: str, **fields: object) -> str:
        """Submits; answers the job's id."""
        status, job = self.call("POST", "/api/generate", {"prompt": prompt, **fields})
        if status != 202:
            raise Problem(f"not accepted: {status} {job}")
        return job["job_id"]

    def job(self, job_id: str) -> dict:
        """The job as the API shows it."""
        return self.call("GET", f"/api/jobs/{job_id}")[1]

    def until_status(self, job_id: str, wanted: str) -> None:
        """Waits for one way to end, and fails at once when it is another."""
        def look() -> bool:
            job = self.job(job_id)
            if job["status"] in ("completed", "failed", "cancelled") and job["status"] != wanted:
                raise Problem(f"the job is not {wanted}: {json.dumps(job)}")
            return job["status"] == wanted

        until(f"job {job_id} is {wanted}", look)

    def until_step(self, job_id: str, step: int = 1) -> None:
        """Waits until the job runs and is beyond a step."""
        def look() -> bool:
            job = self.job(job_id)
            if job["status"] in ("completed", "failed", "cancelled"):
                raise Problem(f"the job ended before it was looked at: {json.dumps(job)}")
            return job["status"] == "running" and (job.get("progress") or {}).get("step", 0) >= step

        until(f"job {job_id} is at step {step}", look)

    def listen(self) -> None:
        """Opens an event stream and leaves it open."""
        self.stream = http.client.HTTPConnection("127.0.0.1", self.ports.get("api"), timeout=DEADLINE_S)
        self.stream.request("GET", "/api/events", headers={"Accept": "text/event-stream"})
        if (answer := self.stream.getresponse()).status != 200:
            raise Problem(f"no event stream: {answer.status}")

    def publish_rubbish(self, queue: str) -> None:
        """Puts a message into a queue that nobody can read."""
        body = {"properties": {}, "routing_key": queue, "payload": "rubbish", "payload_encoding": "string"}
        self._manage("POST", f"exchanges/{self.vhost}/amq.default/publish", body)

    def _manage(self, method: str, path: str, body: dict) -> None:
        at = self.management
        credentials = base64.b64encode(f"{at.username}:{at.password}".encode()).decode()
        status, answer = _http(method, f"http://{at.hostname}:{at.port}/api/{path}", body, {"Authorization": f"Basic {credentials}"})
        if status >= 300 or answer.get("routed") is False:
            raise Problem(f"RabbitMQ's management: {method} {path}: {status} {answer}")

    def prometheus(self, path: str) -> dict:
        """Asks Prometheus."""
        status, answer = _http("GET", f"http://127.0.0.1:{self.ports.get('prometheus')}/api/v1/{path}", None, {})
        if answer.get("status") != "success":
            raise Problem(f"Prometheus: {path}: {status} {answer}")
        return answer["data"]

    def query(self, expr: str) -> list[dict]:
        """The series that an expression gives now."""
        result = self.prometheus(f"query?query={quote(expr, safe='')}")
        if result["resultType"] == "scalar":
            return [{"metric": {}, "value": result["result"]}]
        return result["result"]


def _http(method: str, url: str, body: dict | None, headers: dict[str, str]) -> tuple[int, dict]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {**headers, "Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text[:1] == b"{" else {"text": text.decode(errors="replace")}
