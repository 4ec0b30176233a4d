"""The stack from the command line: up, again up, status, down, faults. Real services; our three processes are stand-ins that
answer /readyz, because this is a test of the supervisor.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from fleet_stack import apps, postgres
from fleet_stack.console import output, poll
from fleet_stack.ports import Ports, free_port, reply

SCRIPTS = Path(__file__).resolve().parents[1]
DEADLINE_S = 120.0

STAND_IN = f"""#!{sys.executable}
import http.server, os, sys
if sys.argv[1:] == ["migrate"]:
    sys.exit(int(os.environ.get("FLEET__TEST__MIGRATE", "0")))
port = os.environ[PORT_NAME]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["FLEET__DATABASE__URL"].encode())
    def log_message(self, *_): pass
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


def stand_in(program: str) -> str:
    """The text of an executable that replaces one of ours."""
    return STAND_IN.replace("PORT_NAME", repr(*apps.own_port(program, 0)))


def eventually(condition, what: str):
    """Polls until `condition()` is true; the deadline only bounds a failure."""
    if not (value := poll(condition, DEADLINE_S)):
        raise AssertionError(f"never: {what}")
    return value


def alive(pid: int) -> bool:
    """Whether it runs and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Checkout:
    """A copy of the scripts in a separate folder, with stand-ins as executables."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(SCRIPTS, self.root / "scripts", ignore=shutil.ignore_patterns("node_modules"))
        shutil.copytree(SCRIPTS.parent / "monitoring/prometheus", self.root / "monitoring/prometheus")
        tools = SCRIPTS.parent / ".tools/root"
        if tools.exists():
            (self.root / ".tools").mkdir()
            (self.root / ".tools/root").symlink_to(tools)
        self.target = self.root / "target/release"
        self.target.mkdir(parents=True)
        for name in apps.PROGRAMS:
            self.write_program(name, stand_in(name))
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("FLEET", "CARGO_TARGET", "PYTHONPATH"))}

    def write_program(self, name: str, text: str) -> None:
        fresh = self.target / f"{name}.new"
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.replace(self.target / name)

    def fleet(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        argv = [str(self.root / "scripts/fleet"), *words]
        return subprocess.run(argv, env={**self.environment, **variables}, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def state(self) -> dict:
        return json.loads((self.root / ".run/state.json").read_text())

    def pids(self) -> dict[str, int]:
        return {name: process["pid"] for name, process in self.state()["processes"].items()}

    def port(self, name: str) -> int:
        return json.loads((self.root / ".run/ports.json").read_text())[name]

    def psql(self, sql: str) -> str:
        exported = self.fleet("env").stdout
        url = next(line.partition("=")[2] for line in exported.splitlines() if "DATABASE__URL" in line).strip("'")
        return output(postgres.psql(url, "-c", sql)).strip()

    def up(self, *words: str, **variables: str) -> str:
        """What it prints. It must succeed."""
        done = self.fleet("up", *words, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *words: str, **variables: str) -> str:
        """The message of `up`, which must fail."""
        done = self.fleet("up", *words, **variables)
        assert done.returncode == 1, done.stdout
        return done.stderr


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that Postgres' user can reach: those above it are root's own otherwise."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    return tmp_path


@pytest.fixture
def checkout(open_folder: Path, request):
    made = Checkout(open_folder)
    # Tests run side by side; one leaves the API's port to be chosen.
    if request.function is not test_a_life:
        Ports(made.root / ".run/ports.json").set("api", free_port())
    yield made
    made.fleet("down")
    made.fleet("reset", "--yes")


def test_a_life(checkout: Checkout) -> None:
    """Up with two workers; again; fewer workers; a new build; a death; down; up with the data still there."""
    first = checkout.up("--workers", "2")
    address = f"http://127.0.0.1:{checkout.port('api')}"
    assert address in first and "/api/generate" in first
    with urllib.request.urlopen(address) as answer:
        assert str(checkout.port("postgres")) in answer.read().decode()
    assert checkout.fleet("status").returncode == 0
    checkout.psql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    pids = checkout.pids()
    assert set(pids) == {"epmd", "rabbitmq", "redis", "postgres", "api", "scheduler", "worker-1", "worker-2"}

    checkout.up()
    assert checkout.pids() == pids, "a second run restarts nothing"

    checkout.up("--workers", "1")
    gone = pids.pop("worker-2")
    assert set(checkout.pids()) == set(pids)
    eventually(lambda: not alive(gone), "the surplus worker ends")

    checkout.write_program("scheduler", stand_in("scheduler") + "# rebuilt\n")
    checkout.up()
    rebuilt = checkout.pids()
    assert {name for name in pids if rebuilt[name] != pids[name]} == {"scheduler"}, "a new build is started"

    os.kill(rebuilt["worker-1"], signal.SIGKILL)
    eventually(lambda: (p := checkout.state()["processes"]["worker-1"])["ready"] and p["pid"] != rebuilt["worker-1"], "a dead worker is restarted")

    down = checkout.fleet("down")
    assert down.returncode == 0, down.stderr
    assert [name for name, pid in rebuilt.items() if alive(pid)] == []
    assert checkout.fleet("status").returncode == 3

    checkout.up()
    assert checkout.psql("SELECT n FROM kept") == "7"


def test_prometheus_runs_beside_the_fleet_when_asked_for(checkout: Checkout) -> None:
    """With the committed rules, pointed at this stack's processes; gone again when it is not wanted."""
    said = checkout.up("--monitoring", "--workers", "2")
    address = f"http://127.0.0.1:{checkout.port('prometheus')}"
    assert address in said
    assert "prometheus" in checkout.fleet("status").stdout

    def ask(what: str) -> dict:
        with urllib.request.urlopen(f"{address}/api/v1/{what}") as answer:
            return json.load(answer)["data"]

    # The processes here are stand-ins without metrics, so only where Prometheus looks is asked.
    names = ("api", "scheduler", "worker-1", "worker-2", "rabbitmq_prometheus", "prometheus")
    wanted = {f"http://127.0.0.1:{checkout.port(name)}/metrics" for name in names}
    eventually(lambda: {target["scrapeUrl"] for target in ask("targets")["activeTargets"]} == wanted, "it scrapes every process")
    assert "FleetNoWorker" in [rule["name"] for group in ask("rules")["groups"] for rule in group["rules"]]

    checkout.up("--no-monitoring")
    assert "prometheus" not in checkout.pids()


def test_settings_can_be_taken_back_and_a_killed_supervisor_takes_everything_along(checkout: Checkout) -> None:
    checkout.up(ENABLE_CACHE="false")
    before = checkout.pids()
    assert b"ENABLE_CACHE=false" in Path(f"/proc/{before['api']}/environ").read_bytes()
    checkout.up()
    after = checkout.pids()
    assert b"ENABLE_CACHE=" not in Path(f"/proc/{after['api']}/environ").read_bytes()
    assert before["postgres"] == after["postgres"]

    os.kill(checkout.state()["pid"], signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in after.values()), "all children end with their parent")
    checkout.up()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's stack changes users")
def test_works_in_a_folder_that_is_closed_to_others(checkout: Checkout) -> None:
    checkout.root.chmod(0o700)
    checkout.up()
    assert checkout.psql("SELECT 1") == "1"
    assert (checkout.root / ".run/postgres").is_symlink()


def test_failures_are_named_before_anything_runs_and_leave_nothing_behind(checkout: Checkout) -> None:
    """A port that is taken; a missing program; a failing migration; a process that fails."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = checkout.refused("--port", str(port))
    assert f"port {port} is in use" in said and "PORT=n" in said

    worker = checkout.target / "worker"
    worker.rename(checkout.target / "kept")
    assert "make build" in checkout.refused()
    (checkout.target / "kept").rename(worker)

    assert "migrating the database failed" in checkout.refused(FLEET__TEST__MIGRATE="1")

    checkout.write_program("scheduler", "#!/bin/sh\necho the scheduler is out of sorts\nexit 3\n")
    said = checkout.refused()
    assert "scheduler ended with code 3" in said and "the scheduler is out of sorts" in said
    eventually(lambda: checkout.fleet("status").stdout.startswith("The fleet is not running"), "the stack is taken down")


def test_throwaway_services_obey_and_end_with_their_input(open_folder: Path) -> None:
    argv = [str(SCRIPTS / "fleet"), "services", "--dir", str(open_folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        facts = json.loads(process.stdout.readline())

        def ask(line: str) -> dict:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        assert output(postgres.psql(facts["database_url"], "-c", "SHOW fsync")).strip() == "on", "killed services keep what was committed"
        assert reply(facts["redis_port"], b"PING\r\n") == b"+PONG\r\n"
        assert ask("kill redis") == {"ok": True}
        assert reply(facts["redis_port"], b"PING\r\n") == b""
        assert ask("start redis")["ok"]
        assert reply(facts["redis_port"], b"PING\r\n") == b"+PONG\r\n"
        assert "error" in ask("start redis")
        assert "error" in ask("kill everything")
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0
    eventually(lambda: not any(alive(pid) for pid in facts["pids"].values()), "the services end")


# Runs in a process of its own beside the services. Arguments: psql, and what it is asked with.
BESIDE = """
import json, os, subprocess, sys
services = os.environ["FLEET_TEST_SERVICES"]
psql, *words = sys.argv[1:]
settings = subprocess.run([psql, json.loads(services)["database_url"], *words], capture_output=True, text=True, check=True).stdout
print(services, settings, sep="\\n")
sys.exit(5)
"""


def test_a_command_gets_the_addresses_and_its_exit_code_is_passed_on() -> None:
    psql, _, *words = map(str, postgres.psql("", "-c", "SHOW fsync", "-c", "SHOW full_page_writes", "-c", "SHOW synchronous_commit"))
    argv = [str(SCRIPTS / "fleet"), "with-services", "--volatile", "--", sys.executable, "-c", BESIDE, psql, *words]
    failed = subprocess.run(argv, capture_output=True, text=True)
    assert failed.returncode == 5, failed.stderr
    services, *settings = failed.stdout.split("\n")
    assert json.loads(services)["database_url"].startswith("postgres://")
    assert [word for word in settings if word] == ["off", "off", "on"], "Postgres does not wait for the disk"
    logs = Path(failed.stderr.strip().rpartition(" ")[2])
    assert (logs / "rabbitmq.log").exists(), failed.stderr
    assert [entry.name for entry in logs.parent.iterdir()] == ["logs"], "the data are gone"
    shutil.rmtree(logs.parent)
