"""A throwaway fleet for measurements: the real API, scheduler and workers with the default model.

Each fleet has a database of its own, so that neither estimates nor statistics know of another one's runs.
"""

import json
import os
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fleet_stack import bench, fleet, pip
from fleet_stack.console import Problem
from fleet_stack.fleet import PATIENCE_S, Fleet
from fleet_stack.paths import ROOT, RUN

REPORT_ONLY = bool(os.environ.get("BENCH_REPORT"))
# What a plan said, what the run took, and what came of it, by job.
FACTS = """
SELECT json_object_agg(id, json_build_object('steps', final_steps, 'tier', tier, 'complexity', complexity, 'asked', quality_tier,
    'estimate_s', CASE WHEN record ->> 'cache_match' IN ('identical', 'similar') THEN estimate_cached_s ELSE estimate_s END,
    'record', record))
FROM jobs WHERE status = 'completed'"""


def inside() -> None:
    """Starts this program again where it can work: with numpy and matplotlib, beside throwaway services."""
    if "BENCH_READY" not in os.environ:
        variables = {"BENCH_READY": "1", "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
        interpreter = os.environ.get("BENCH_PYTHON")
        if not interpreter:
            packages = pip.packages("bench-optimizations", Path(__file__).with_name("requirements.txt"))["PYTHONPATH"]
            interpreter, variables["PYTHONPATH"] = sys.executable, f"{Path(__file__).parent}:{packages}"
        os.execve(interpreter, [interpreter, *sys.argv], {**os.environ, **variables})
    if not REPORT_ONLY:
        fleet.beside_services()


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


class Lab(Fleet):
    """A running fleet whose jobs are measured."""

    def __init__(self, name: str, workers: int = 1, **variables: str) -> None:
        # One of the packages that `inside` provides.
        import redis

        super().__init__(name, {
            # Compression must not hide or add differences between videos.
            "FLEET__WORKER__VIDEO_CRF": "0",
            "FLEET__LOG__LEVEL": "warn",
            "FLEET__WORKER__THREADS": bench.setting("THREADS", "0"),
            **variables,
        })
        self.redis = redis.Redis(self.facts["redis_host"], self.facts["redis_port"], self.variables["FLEET__REDIS__DATABASE"])
        self.workers = ["worker", *(f"worker-{n}" for n in range(2, workers + 1))]

    def __enter__(self) -> Self:
        self.start("api", "scheduler", *self.workers)
        return self

    def render(self, requests: list[dict], in_flight: int = 1) -> list[Run]:
        """Renders all requests, a few at a time, and gives them back in order."""
        waiting, running, done = list(enumerate(requests)), {}, {}
        deadline = time.monotonic() + PATIENCE_S
        while waiting or running:
            while waiting and len(running) < in_flight:
                index, request = waiting.pop(0)
                running[index] = self.ask("/api/generate", request)["job_id"]
            for index, job_id in list(running.items()):
                status = self.job(job_id)["status"]
                if status == "completed":
                    done[index] = running.pop(index)
                    deadline = time.monotonic() + PATIENCE_S
                elif status in ("failed", "cancelled"):
                    raise Problem(f"job {job_id} {status}")
            if time.monotonic() > deadline:
                raise Problem(f"no job was finished for {PATIENCE_S:.0f} s")
            # Often enough for jobs that take seconds, and seldom enough not to slow them.
            time.sleep(0.1)
        facts = self._facts()
        return [Run(done[index], request, facts[done[index]]) for index, request in enumerate(requests)]

    def all_runs(self) -> list[Run]:
        """Every finished job of this fleet, oldest first."""
        return [Run(job_id, {}, facts) for job_id, facts in sorted(self._facts().items())]

    def _facts(self) -> dict[str, dict]:
        return json.loads(self.psql(FACTS).stdout.strip() or "{}")


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
        threads = bench.setting("THREADS", "0")
        used = f"{os.cpu_count()} cores" + ("" if threads == "0" else f", workers of {threads} thread{'s' * (threads != '1')}")
        if self.waited_us is None:
            return f"{bench.processor()}, {used}, load {os.getloadavg()[2]:.1f}"
        share = (self._waited_us() - self.waited_us) / 1e6 / (time.monotonic() - self.began)
        return f"{bench.processor()}, {used}; in {100 * share:.0f} % of the time something waited for a core"


def weights() -> str:
    """The default model's weights by the beginning of their fingerprint, so that a reader sees whether they are today's."""
    return tomllib.loads((ROOT / "models/default/fleet.toml").read_text())["fingerprint"]["weights"][:8]


def save(name: str, found: dict) -> None:
    """Keeps what was measured under `.run/bench`, so that a report can be made again."""
    path = RUN / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, default=lambda run: {"__run__": vars(run)}))


def saved(name: str) -> dict:
    """What was kept last."""
    path = RUN / "bench" / f"{name}.json"
    if not path.exists():
        raise Problem(f"{path.relative_to(ROOT)} is missing: nothing was measured yet")
    return json.loads(path.read_text(), object_hook=lambda item: Run(**item["__run__"]) if "__run__" in item else item)
