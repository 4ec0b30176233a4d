"""The stack from the command line: up, again up, status, down, faults. Real services; our three processes are stand-ins that
answer /readyz, because this is a test of the supervisor.

Run: scripts/python -m unittest discover -s scripts/tests
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest
import urllib.request
from pathlib import Path

from fleet_stack import apps, postgres
from fleet_stack.console import output, poll

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

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="stack-test-"))
        self.root.chmod(0o755)
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

    def remove(self) -> None:
        self.fleet("down")
        self.fleet("reset", "--yes")
        shutil.rmtree(self.root, ignore_errors=True)


class StackTest(unittest.TestCase):
    def setUp(self) -> None:
        self.checkout = Checkout()
        self.addCleanup(self.checkout.remove)

    def up(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        done = self.checkout.fleet("up", *words, **variables)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def test_a_life(self) -> None:
        """Up with two workers; again; fewer workers; a new build; a death; down; up with the data still there."""
        first = self.up("--workers", "2")
        address = f"http://127.0.0.1:{self.checkout.port('api')}"
        self.assertIn(address, first.stdout)
        self.assertIn("/api/generate", first.stdout)
        with urllib.request.urlopen(address) as answer:
            self.assertIn(str(self.checkout.port("postgres")), answer.read().decode())
        self.assertEqual(self.checkout.fleet("status").returncode, 0)
        self.checkout.psql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        pids = self.checkout.pids()
        self.assertEqual(set(pids), {"epmd", "rabbitmq", "redis", "postgres", "api", "scheduler", "worker-1", "worker-2"})

        self.up()
        self.assertEqual(self.checkout.pids(), pids, "a second run restarts nothing")

        self.up("--workers", "1")
        self.assertNotIn("worker-2", self.checkout.pids())
        eventually(lambda: not alive(pids["worker-2"]), "the surplus worker ends")

        self.checkout.write_program("scheduler", stand_in("scheduler") + "# rebuilt\n")
        self.up()
        rebuilt = self.checkout.pids()
        self.assertNotEqual(rebuilt["scheduler"], pids["scheduler"], "a new build is started")
        self.assertEqual({**rebuilt, "scheduler": 0}, {**{n: p for n, p in pids.items() if n != "worker-2"}, "scheduler": 0})

        os.kill(rebuilt["worker-1"], signal.SIGKILL)
        eventually(lambda: (p := self.checkout.state()["processes"]["worker-1"])["ready"] and p["pid"] != rebuilt["worker-1"], "a dead worker is restarted")

        down = self.checkout.fleet("down")
        self.assertEqual(down.returncode, 0, down.stderr)
        self.assertEqual([name for name, pid in rebuilt.items() if alive(pid)], [])
        self.assertEqual(self.checkout.fleet("status").returncode, 3)

        self.up()
        self.assertEqual(self.checkout.psql("SELECT n FROM kept"), "7")

    def test_prometheus_runs_beside_the_fleet_when_asked_for(self) -> None:
        """With the committed rules, pointed at this stack's processes; gone again when it is not wanted."""
        said = self.up("--monitoring", "--workers", "2").stdout
        address = f"http://127.0.0.1:{self.checkout.port('prometheus')}"
        self.assertIn(address, said)
        self.assertIn("prometheus", self.checkout.fleet("status").stdout)

        def ask(what: str) -> dict:
            with urllib.request.urlopen(f"{address}/api/v1/{what}") as answer:
                return json.load(answer)["data"]

        # The processes here are stand-ins without metrics, so only where Prometheus looks is asked.
        names = ("api", "scheduler", "worker-1", "worker-2", "rabbitmq_prometheus", "prometheus")
        wanted = {f"http://127.0.0.1:{self.checkout.port(name)}/metrics" for name in names}
        eventually(lambda: {target["scrapeUrl"] for target in ask("targets")["activeTargets"]} == wanted, "it scrapes every process")
        self.assertIn("FleetNoWorker", [rule["name"] for group in ask("rules")["groups"] for rule in group["rules"]])

        self.up("--no-monitoring")
        self.assertNotIn("prometheus", self.checkout.pids())

    def test_settings_of_the_caller_reach_the_processes_and_can_be_taken_back(self) -> None:
        self.up(ENABLE_CACHE="false")
        before = self.checkout.pids()
        self.assertIn(b"ENABLE_CACHE=false", Path(f"/proc/{before['api']}/environ").read_bytes())
        self.up()
        after = self.checkout.pids()
        self.assertNotIn(b"ENABLE_CACHE=", Path(f"/proc/{after['api']}/environ").read_bytes())
        self.assertEqual(before["postgres"], after["postgres"])

    def test_a_killed_supervisor_takes_everything_along(self) -> None:
        self.up()
        pids = self.checkout.pids()
        os.kill(self.checkout.state()["pid"], signal.SIGKILL)
        eventually(lambda: not any(alive(pid) for pid in pids.values()), "all children end with their parent")
        self.up()

    @unittest.skipUnless(os.geteuid() == 0, "only root's stack changes users")
    def test_works_in_a_folder_that_is_closed_to_others(self) -> None:
        self.checkout.root.chmod(0o700)
        self.up()
        self.assertEqual(self.checkout.psql("SELECT 1"), "1")
        self.assertTrue((self.checkout.root / ".run/postgres").is_symlink())

    def test_a_taken_port_is_named(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            done = self.checkout.fleet("up", "--port", str(port))
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"port {port} is in use", done.stderr)
        self.assertIn("PORT=n", done.stderr)

    def test_a_process_that_fails_shows_its_log_and_leaves_nothing_behind(self) -> None:
        self.checkout.write_program("scheduler", "#!/bin/sh\necho the scheduler is out of sorts\nexit 3\n")
        done = self.checkout.fleet("up")
        self.assertEqual(done.returncode, 1)
        self.assertIn("scheduler ended with code 3", done.stderr)
        self.assertIn("the scheduler is out of sorts", done.stderr)
        eventually(lambda: self.checkout.fleet("status").stdout.startswith("The fleet is not running"), "the stack is taken down")

    def test_a_failed_migration_is_shown(self) -> None:
        done = self.checkout.fleet("up", FLEET__TEST__MIGRATE="1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("migrating the database failed", done.stderr)

    def test_a_missing_program_is_named(self) -> None:
        (self.checkout.target / "worker").unlink()
        done = self.checkout.fleet("up")
        self.assertEqual(done.returncode, 1)
        self.assertIn("make build", done.stderr)


class ServicesTest(unittest.TestCase):
    """The throwaway stack of the tests."""

    def test_serves_obeys_and_ends_with_its_input(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="services-test-"))
        folder.chmod(0o755)
        self.addCleanup(shutil.rmtree, folder, True)
        argv = [str(SCRIPTS / "fleet"), "services", "--dir", str(folder)]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        facts = json.loads(process.stdout.readline())

        def ask(line: str) -> dict:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        def redis_says(text: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", facts["redis_port"])) as connection:
                connection.sendall(text)
                return connection.recv(100)

        self.assertEqual(redis_says(b"PING\r\n"), b"+PONG\r\n")
        self.assertEqual(ask("kill redis"), {"ok": True})
        with self.assertRaises(ConnectionRefusedError):
            redis_says(b"PING\r\n")
        self.assertTrue(ask("start redis")["ok"])
        self.assertEqual(redis_says(b"PING\r\n"), b"+PONG\r\n")
        self.assertIn("error", ask("start redis"))
        self.assertIn("error", ask("kill everything"))
        process.stdin.close()
        self.assertEqual(process.wait(DEADLINE_S), 0)
        process.stdout.close()
        eventually(lambda: not any(alive(pid) for pid in facts["pids"].values()), "the services end")

    def test_a_command_gets_the_addresses_and_its_exit_code_is_passed_on(self) -> None:
        script = textwrap.dedent("""
            import json, os, sys
            facts = json.loads(os.environ["FLEET_TEST_SERVICES"])
            sys.exit(0 if facts["database_url"].startswith("postgres://") else 1)
        """)
        argv = [str(SCRIPTS / "fleet"), "with-services", "--", sys.executable, "-c"]
        self.assertEqual(subprocess.run([*argv, script]).returncode, 0)
        failed = subprocess.run([*argv, "import sys; sys.exit(5)"], capture_output=True, text=True)
        self.assertEqual(failed.returncode, 5)
        logs = Path(failed.stderr.strip().rpartition(" ")[2])
        self.assertTrue((logs / "rabbitmq.log").exists(), failed.stderr)
        self.assertEqual([entry.name for entry in logs.parent.iterdir()], ["logs"], "the data are gone")
        shutil.rmtree(logs.parent)
