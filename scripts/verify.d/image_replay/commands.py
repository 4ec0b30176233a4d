"""The commands of docs/docker.md by which a person looks at the fleet, run as they are written.

Only what an engine would do is played: an `exec` into the cache is the same command on the Redis beside us, one into our
containers runs in their place, `logs` are the files that they wrote. Pipes go through the real shell.
"""

import re
import shlex
from collections.abc import Callable

from deploy_checks.report import expect, run
from fleet_stack import tools
from fleet_stack.console import Problem
from fleet_stack.fleet import Fleet
from fleet_stack.paths import ROOT

from .sandbox import Place

DOCUMENT = ROOT / "docs/docker.md"
# Part of a command -> expected output of a fleet that has rendered a video.
ANSWERS = {
    "redis-cli ping": r"^PONG$",
    "INFO stats": r"^keyspace_hits:\d+",
    'KEYS "embed:*"': r"^embed:",
    "FLUSHALL": r"^OK$",
    "hunyuan-api env": r"(?s)(?=.*^REDIS_HOST=)(?=.*^REDIS_PORT=)(?=.*^ENABLE_CACHE=true$)",
    "compose logs": r"(?s)(?=.*Cache MISS)(?=.*Optimization: jobs planned)",
    "/api/health": r'"status": ?"ok"',
    "/api/stats": r'"avg_steps": ?\d',
    "probe": r"^",
}


def check(place: Callable[[str], Place], fleet: Fleet) -> None:
    """Every documented command prints what is expected, and none is missing."""
    lines = documented()
    for part in ANSWERS:
        expect(any(part in line for line in lines), f"{DOCUMENT.name} does not show how to ask `{part}`")
    for line in lines:
        known = line.replace("localhost:8000", f"localhost:{fleet.ports.get('api')}").replace("scheduler:9101", f"127.0.0.1:{fleet.ports.get('scheduler')}")
        status, said = _run(known, place, fleet)
        wanted = next((answer for part, answer in ANSWERS.items() if part in line), None)
        expect(wanted is not None, f"no expected output is known for `{line}`")
        expect(status == 0 and re.search(wanted or "", said, re.M) is not None, f"`{line}` ended with {status}:\n{said[-2000:]}")


def documented() -> list[str]:
    """The commands under "Inspecting a running fleet", without their comments."""
    found = re.search(r"^## Inspecting a running fleet\n.*?^```sh\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    if not found:
        raise Problem(f"{DOCUMENT.name} has no commands under 'Inspecting a running fleet'")
    return [re.sub(r"\s+# .*", "", line) for line in found[1].splitlines()]


def _run(line: str, place: Callable[[str], Place], fleet: Fleet) -> tuple[int, str]:
    first, piped, rest = line.partition(" | ")
    match shlex.split(first):
        case ["docker", "exec", "hunyuan-cache", "redis-cli", *words]:
            address = ["-h", fleet.facts["redis_host"], "-p", str(fleet.facts["redis_port"]), "-n", fleet.variables["FLEET__REDIS__DATABASE"]]
            done = run([tools.need("redis-cli"), *address, *words])
        case ["docker", "exec", "hunyuan-api", *words] | ["docker", "compose", "exec", "backend", *words]:
            done = place("backend").run(words)
        case ["docker", "compose", "logs", *names]:
            done = run(["cat", *(fleet.folder / f"{name}.log" for name in names)])
        case ["curl", *words]:
            done = run(["curl", *words])
        case words:
            raise Problem(f"the replay does not know `{' '.join(words)}`")
    if done.returncode == 0 and piped:
        done = run(["bash", "-c", rest], input=done.stdout)
    return done.returncode, done.stdout + (done.stderr or "")
