"""Our own executables with the settings that the containers get."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fleet_stack import ports, tools
from fleet_stack.console import Problem
from fleet_stack.paths import ROOT, target_dir

from . import chart, compose
from .report import equal, expect, refuses, run, succeeds

PATIENCE_S = 120.0
DATABASE = "deploy"
SUBMITTED = 3


def check() -> None:
    """Everything that needs a running process."""
    _probe_tells_ready_from_not()
    _settings_are_understood(compose.process_environments() | chart.process_environments())
    _busy_pods_say_so()
    database = fresh_database(DATABASE)
    environment = _backend_environment(database)
    succeeds([program("api"), "migrate"], "api migrate with the settings of the compose file", env=environment, cwd=ROOT)
    _work_is_counted(database, environment)
    _published_without_a_key_is_refused(environment)


def program(name: str) -> Path:
    """A built executable."""
    path = target_dir() / name
    if not path.exists():
        raise Problem(f"{path} is missing: run `make build` first")
    return path


def settings_problem(variables: dict[str, str]) -> str | None:
    """What our settings say to these variables; None when they are understood.

    `api healthcheck` reads all settings, then asks a server on a port that nobody serves.
    """
    environment = {"PATH": os.environ["PATH"], "FLEET_CONFIG_DIR": str(ROOT / "configuration"), **variables}
    environment["FLEET__SERVER__PORT"] = "9"
    done = run([program("api"), "healthcheck"], env=environment, cwd=ROOT)
    return None if "connect to" in done.stderr else done.stderr.strip()


def _settings_are_understood(environments: dict[str, tuple[str, dict[str, str]]]) -> None:
    for name, (_, variables) in environments.items():
        problem = settings_problem(variables)
        expect(problem is None, f"{name}: {problem}")
    wrong = settings_problem({"FLEET__REDIS__HOTS": "redis"})
    expect(wrong is not None and "FLEET__REDIS__HOST" in wrong, f"a misspelt variable is not refused: {wrong}")


def fresh_database(name: str) -> str:
    """Makes a database in the services beside us; answers its address."""
    facts = services()
    base = facts["database_url"]
    address = base.rpartition("/")[0] + f"/{name}"
    for statement in (f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}"):
        succeeds([tools.need("psql"), base, "-qc", statement], f"psql: {statement}")
    return address


def services() -> dict:
    """Addresses of the services of `scripts/fleet with-services`."""
    told = os.environ.get("FLEET_TEST_SERVICES")
    if not told:
        raise Problem("run it as `scripts/fleet with-services -- scripts/check-deploy`")
    return json.loads(told)


def _backend_environment(database: str) -> dict[str, str]:
    """The backend's variables from the compose file, with the addresses of the services beside us."""
    variables = dict(compose.configuration()["services"]["backend"]["environment"])
    return {
        "PATH": os.environ["PATH"],
        "FLEET_CONFIG_DIR": str(ROOT / "configuration"),
        **variables,
        **addresses(database),
        "FLEET__ARTIFACTS__URL": str(Path(services()["dir"]) / "artifacts"),
        "FLEET__SERVER__PORT": str(free_port()),
        "FLEET__SERVER__METRICS_PORT": str(free_port()),
    }


def addresses(database: str) -> dict[str, str]:
    """Where the services beside us are, as settings."""
    facts = services()
    return {
        "FLEET__DATABASE__URL": database,
        "FLEET__BROKER__URL": facts["broker_url"],
        "REDIS_HOST": facts["redis_host"],
        "REDIS_PORT": str(facts["redis_port"]),
    }


def free_port() -> int:
    """A port that nobody listens on, below those of outgoing connections."""
    chosen = next((port for port in range(ports.LOWEST, ports.HIGHEST) if port not in _given and ports.is_free(port, "0.0.0.0")), None)
    if chosen is None:
        raise Problem("no free port")
    _given.add(chosen)
    return chosen


_given: set[int] = set()


def _work_is_counted(database: str, environment: dict[str, str]) -> None:
    """The chart's scaling queries before, and after jobs were submitted to the served backend."""
    queries = chart.work_queries()
    expect(queries != {}, "no set of values scales anything")
    psql = [tools.need("psql"), database, "-qtAXc"]
    for name, query in queries.items():
        equal(succeeds([*psql, query], f"the scaling query of {name}").stdout.strip(), "0", f"{name}: workers for no work")
        # Small tables are scanned whatever there is; told not to, Postgres must find an index for every part.
        explained = run([tools.need("psql"), database, "-qtAX", "-c", "SET enable_seqscan = off", "-c", f"EXPLAIN {query}"])
        expect("Seq Scan" not in explained.stdout, f"{name}: a part of the scaling query reads the whole table:\n{explained.stdout}")
    _backend_serves(environment)
    for name, query in queries.items():
        # Neither planned nor estimated yet, each counts as much as one worker is meant to have waiting.
        found = run([*psql, query.replace("'hunyuan-video'", "'default'")]).stdout.strip()
        equal(found, str(SUBMITTED), f"{name}: workers for {SUBMITTED} new jobs")


def _submit(base: str) -> None:
    body = json.dumps({"prompt": "a red ball"}).encode()
    request = urllib.request.Request(f"{base}/api/generate", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        equal(answer.status, 202, "POST /api/generate")


def _backend_serves(environment: dict[str, str]) -> None:
    log = Path(services()["dir"]) / "backend.log"
    with open(log, "wb") as sink:
        backend = subprocess.Popen([program("api"), "serve"], env=environment, cwd=ROOT, stderr=sink, stdout=sink)
    try:
        ready = _wait(lambda: run([program("api"), "healthcheck"], env=environment, cwd=ROOT).returncode == 0, backend)
        expect(ready, f"the backend does not get ready:\n{log.read_text()}")
        base = f"http://127.0.0.1:{environment['FLEET__SERVER__PORT']}"
        # RabbitMQ is connected to beside serving.
        well = _wait(lambda: _get(f"{base}/api/health")["status"] == "ok", backend)
        expect(well, f"/api/health: {_get(f'{base}/api/health')}")
        optimization = _get(f"{base}/api/stats")["optimization"]
        equal((optimization["cache_enabled"], optimization["adaptive_enabled"]), (True, True), "/api/stats, .optimization")
        _get(f"{base}/api/optimization/analyze?prompt=a%20red%20ball")
        for _ in range(SUBMITTED):
            _submit(base)
        with urllib.request.urlopen(f"http://127.0.0.1:{environment['FLEET__SERVER__METRICS_PORT']}/metrics", timeout=10) as answer:
            expect(b"# TYPE" in answer.read(), "no metrics on the port of their own")
        backend.send_signal(signal.SIGTERM)
        equal(backend.wait(PATIENCE_S), 0, "exit status after SIGTERM")
    finally:
        backend.kill()
        backend.wait()
    text = log.read_text()
    expect(any("Cache" in line for line in text.splitlines()), f'no line answers grep -E "Cache|Optimization":\n{text}')
    expect("Optimization: prompt analysed" in text, f"the analysis of a prompt is not in the log:\n{text}")


def _published_without_a_key_is_refused(environment: dict[str, str]) -> None:
    public = {**environment, "FLEET_ENV": "compose-public"}
    refuses([program("api"), "serve"], "there is no API key yet", "publishing the API without a key", env=public, cwd=ROOT)


def _probe_tells_ready_from_not() -> None:
    """docker/probe against a server of each kind, and against none."""
    for status, wanted in ((200, True), (503, False)):
        with _answering(status) as port:
            done = run([ROOT / "docker/probe", str(port)])
            equal(done.returncode == 0, wanted, f"docker/probe when /readyz answers {status}")
    equal(run([ROOT / "docker/probe", str(free_port())]).returncode == 0, False, "docker/probe when nobody listens")


def _busy_pods_say_so() -> None:
    """The chart's sidecar between a worker's metrics and the cluster's API, both played here."""
    if not shutil.which("curl"):
        print("not checked: helm/files/deletion-cost.sh, since this machine has no curl")
        return
    told: queue.Queue[tuple[str, dict]] = queue.Queue()
    slots = {"used": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f'fleet_slots{{state="free"}} 9\nfleet_slots{{state="used"}} {slots["used"]}\n'.encode())

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.put((self.headers["authorization"], body["metadata"]["annotations"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with tempfile.TemporaryDirectory() as credentials, _serving(Handler) as port:
        (Path(credentials) / "token").write_text("secret")
        (Path(credentials) / "ca.crt").write_text("")
        base = f"http://127.0.0.1:{port}"
        environment = {"PATH": os.environ["PATH"], "METRICS_URL": f"{base}/metrics", "POD_URL": f"{base}/pod", "EVERY_S": "0.1", "CREDENTIALS": credentials}
        sidecar = subprocess.Popen(["sh", ROOT / "helm/files/deletion-cost.sh"], env=environment, stdout=subprocess.DEVNULL)
        try:
            for used, cost in ((0, "0"), (1, "1000"), (0, "0")):
                slots["used"] = used
                wanted = ("Bearer secret", {"controller.kubernetes.io/pod-deletion-cost": cost})
                equal(told.get(timeout=PATIENCE_S), wanted, f"what the sidecar tells with {used} slots in use")
            sidecar.send_signal(signal.SIGTERM)
            equal(sidecar.wait(PATIENCE_S), 0, "exit status of the sidecar after SIGTERM")
            expect(told.empty(), "the sidecar told something twice")
        finally:
            sidecar.kill()
            sidecar.wait()


@contextmanager
def _answering(status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Handler) as port:
        yield port


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _wait(condition, process: subprocess.Popen) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return True
        time.sleep(0.2)
    return False


def _get(url: str) -> dict:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
