"""Our own executables with the settings that the containers get."""

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from fleet_stack import apps
from fleet_stack.fleet import PATIENCE_S, Fleet, until
from fleet_stack.paths import ROOT
from fleet_stack.ports import free_port
from fleet_stack.receiver import Receiver, Request

from . import chart, compose
from .report import equal, expect, refuses, run, succeeds

SUBMITTED = 3


def check() -> None:
    """Everything that needs a running process."""
    _probe_tells_ready_from_not()
    _settings_are_understood(compose.process_environments() | chart.process_environments())
    _busy_pods_say_so()
    with Fleet("deploy") as fleet:
        # The backend's variables from the compose file, with the addresses of the services beside us.
        fleet.variables = {**compose.configuration()["services"]["backend"]["environment"], **fleet.variables}
        fleet.variables["FLEET__SERVER__METRICS_PORT"] = str(fleet.ports.get("metrics"))
        api = apps.program("api")
        succeeds([api, "migrate"], "api migrate with the settings of the compose file", env=fleet.environment(), cwd=ROOT)
        _work_is_counted(fleet)
        public = fleet.environment({"FLEET_ENV": "compose-public"})
        refuses([api, "serve"], "there is no API key yet", "publishing the API without a key", env=public, cwd=ROOT)


def settings_problem(variables: dict[str, str]) -> str | None:
    """What our settings say to these variables; None when they are understood.

    `api healthcheck` reads all settings, then asks a server on an unused port.
    """
    environment = {"PATH": os.environ["PATH"], "FLEET_CONFIG_DIR": str(ROOT / "configuration"), **variables}
    environment["FLEET__SERVER__PORT"] = "9"
    done = run([apps.program("api"), "healthcheck"], env=environment, cwd=ROOT)
    return None if "connect to" in done.stderr else done.stderr.strip()


def _settings_are_understood(environments: dict[str, dict[str, str]]) -> None:
    for name, variables in environments.items():
        problem = settings_problem(variables)
        expect(problem is None, f"{name}: {problem}")
    wrong = settings_problem({"FLEET__REDIS__HOTS": "redis"})
    expect(wrong is not None and "FLEET__REDIS__HOST" in wrong, f"a misspelt variable is not refused: {wrong}")


def _work_is_counted(fleet: Fleet) -> None:
    """The chart's scaling queries before, and after jobs were submitted to the served backend."""
    queries = chart.work_queries()
    expect(queries != {}, "no set of values scales anything")
    for name, query in queries.items():
        equal(fleet.psql(query).stdout.strip(), "0", f"{name}: workers for no work")
        # Small tables are scanned whatever there is; without that choice Postgres must find an index for every part.
        explained = fleet.psql(f"SET enable_seqscan = off; EXPLAIN {query}")
        expect(explained.returncode == 0 and "Seq Scan" not in explained.stdout, f"{name}: a part of the scaling query reads the whole table:\n{explained.stdout}")
    _backend_serves(fleet)
    for name, query in queries.items():
        # Neither planned nor estimated yet, each counts as much as one worker is meant to have waiting.
        found = fleet.psql(query.replace("'hunyuan-video'", "'default'")).stdout.strip()
        equal(found, str(SUBMITTED), f"{name}: workers for {SUBMITTED} new jobs")


def _backend_serves(fleet: Fleet) -> None:
    fleet.start("api")
    healthcheck = {"env": fleet.environment(apps.own_port("api", fleet.ports.get("api"))), "cwd": ROOT}
    succeeds([apps.program("api"), "healthcheck"], "api healthcheck", **healthcheck)
    # The API connects to RabbitMQ while it serves already.
    until("/api/health is ok", lambda: fleet.ask("/api/health")["status"] == "ok")
    optimization = fleet.ask("/api/stats")["optimization"]
    equal((optimization["cache_enabled"], optimization["adaptive_enabled"]), (True, True), "/api/stats, .optimization")
    fleet.ask("/api/optimization/analyze?prompt=a%20red%20ball")
    for _ in range(SUBMITTED):
        fleet.submit(prompt="a red ball", infer_steps=0)
    with urllib.request.urlopen(f"http://127.0.0.1:{fleet.ports.get('metrics')}/metrics", timeout=10) as answer:
        expect(b"# TYPE" in answer.read(), "no metrics on their own port")
    backend = fleet.group.children["api"]
    backend.send_signal(signal.SIGTERM)
    equal(backend.wait(PATIENCE_S), 0, "exit status after SIGTERM")
    text = backend.spec.log.read_text()
    expect(any("Cache" in line for line in text.splitlines()), f'no line matches grep -E "Cache|Optimization":\n{text}')
    expect("Optimization: prompt analysed" in text, f"the analysis of a prompt is not in the log:\n{text}")


def _probe_tells_ready_from_not() -> None:
    """docker/probe against a server of each kind, and against none."""
    for status, wanted in ((200, True), (503, False)):
        with Receiver(lambda request, status=status: (status if request.path == "/readyz" else 404, b"")) as server:
            done = run([ROOT / "docker/probe", str(server.server_port)])
            equal(done.returncode == 0, wanted, f"docker/probe when /readyz returns {status}")
    equal(run([ROOT / "docker/probe", str(free_port())]).returncode == 0, False, "docker/probe on an unused port")


def _busy_pods_say_so() -> None:
    """The chart's sidecar between a worker's metrics and the cluster's API, both played here."""
    if not shutil.which("curl"):
        print("not checked: helm/files/deletion-cost.sh, since this machine has no curl")
        return
    received: queue.Queue[tuple[str, dict]] = queue.Queue()
    slots = {"used": 0}

    def respond(request: Request) -> tuple[int, bytes]:
        if request.method == "PATCH":
            received.put((request.headers["Authorization"], json.loads(request.body)["metadata"]["annotations"]))
        return 200, f'fleet_slots{{state="free"}} 9\nfleet_slots{{state="used"}} {slots["used"]}\n'.encode()

    with tempfile.TemporaryDirectory() as credentials, Receiver(respond) as server:
        (Path(credentials) / "token").write_text("secret")
        (Path(credentials) / "ca.crt").write_text("")
        urls = {"METRICS_URL": f"{server.url}/metrics", "POD_URL": f"{server.url}/pod"}
        environment = {"PATH": os.environ["PATH"], **urls, "EVERY_S": "0.1", "CREDENTIALS": credentials}
        sidecar = subprocess.Popen(["sh", ROOT / "helm/files/deletion-cost.sh"], env=environment, stdout=subprocess.DEVNULL)
        try:
            for used, cost in ((0, "0"), (1, "1000"), (0, "0")):
                slots["used"] = used
                wanted = ("Bearer secret", {"controller.kubernetes.io/pod-deletion-cost": cost})
                equal(received.get(timeout=PATIENCE_S), wanted, f"what the sidecar writes with {used} slots in use")
            sidecar.send_signal(signal.SIGTERM)
            equal(sidecar.wait(PATIENCE_S), 0, "exit status of the sidecar after SIGTERM")
            expect(received.empty(), "the sidecar wrote something twice")
        finally:
            sidecar.kill()
            sidecar.wait()
