"""Real jobs with every ending, then: every query of every panel and rule has data, and nothing that is declared is silent."""

import itertools
import math
import re
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

from fleet_stack import prometheus, tools
from fleet_stack.console import Problem, say
from fleet_stack.fleet import PATIENCE_S, Api, Fleet, call, require, until
from fleet_stack.paths import ROOT
from fleet_stack.ports import Ports
from fleet_stack.receiver import Receiver

from . import static

METRICS = ROOT / "docs/metrics.md"
# Longer than the check, so that a rate sees all of it.
RATE_INTERVAL = "10m"
# Counted, and not brought about here: each is 0 and its series must be there all the same.
NOT_BROUGHT_ABOUT = {
    "fleet_leases_lost_total": "needs a worker that is cut off from Postgres while it works",
    "fleet_stale_writes_refused_total": "the same",
    "fleet_stale_claims_total": "needs a doubled message",
    "fleet_announce_failures_total": "needs RabbitMQ to refuse a publish",
    "fleet_jobs_reannounced_total": "needs a release that no worker claims for seconds",
    "fleet_orphans_removed_total": "needs objects older than a day",
    "fleet_embedding_cache_errors_total": "needs Redis to fail",
    "fleet_jobs_handed_back_total": "the worker that counts it ends before it is read; the row's count is looked at",
    "fleet_saved_seconds": "may be negative",
    "fleet_saved_usd": "may be negative",
    "fleet_optimization_saved_seconds": "may be negative",
    "fleet_gpu_utilisation_ratio": "0 without a GPU",
    "fleet_attention_flops_per_second": "0 without a GPU",
    "fleet_attention_backend": "0 without a GPU",
    "fleet_unreadable_rows_total": "needs a row of a later release",
    "fleet_learned_steps_lower": "0 until there is something to learn",
}
# A short video whose steps the fleet plans.
PLANNED = {"video_length": 33, "infer_steps": 0}


class Watched(Fleet):
    """A fleet that loses no time over a fault, and a Prometheus with the committed configuration that reads it every second."""

    def __init__(self) -> None:
        super().__init__("monitoring", {
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
            "FLEET__WEBHOOKS__ALLOWED_ADDRESSES": "127.0.0.1",
        })
        # Fails on demand: a fault that looks like a real one to the worker.
        self.ffmpeg_broken, ffmpeg = self.folder / "ffmpeg-is-broken", self.folder / "ffmpeg"
        ffmpeg.write_text(f'#!/bin/sh\n[ -e "{self.ffmpeg_broken}" ] && exit 1\nexec "{tools.need("ffmpeg")}" "$@"\n')
        ffmpeg.chmod(0o755)
        self.variables["FLEET__WORKER__FFMPEG"] = str(ffmpeg)

    def start_watching(self) -> None:
        """Starts Prometheus and waits until it has read every process."""
        shared = Ports(Path(self.facts["dir"]) / "ports.json")
        addresses = {name: [f"127.0.0.1:{self.ports.get(name)}"] for name in ("api", "scheduler", "worker")}
        addresses["rabbitmq"] = [f"127.0.0.1:{shared.get('rabbitmq_prometheus')}"]
        self.group.ensure(prometheus.spec(self.folder, self.ports, addresses, running=False, every="1s"))
        self.group.wait_ready(["prometheus"])
        jobs = {*addresses, "prometheus"}
        until("Prometheus reads all processes", lambda: {row["metric"]["job"] for row in self.query("up == 1")} == jobs)

    def until_step(self, job_id: str, step: int = 1) -> None:
        """Waits until the job runs and is beyond a step."""

        def look() -> bool:
            job = self.job(job_id)
            require(job["status"] not in ("completed", "failed", "cancelled"), f"the job still runs: {job}")
            return job["status"] == "running" and (job.get("progress") or {}).get("step", 0) >= step

        until(f"job {job_id} is at step {step}", look)

    def prometheus(self, path: str) -> dict:
        """Asks Prometheus."""
        return Api(f"http://127.0.0.1:{self.ports.get('prometheus')}").ask(f"/api/v1/{path}")["data"]

    def query(self, expr: str) -> list[dict]:
        """The series that an expression gives now."""
        result = self.prometheus(f"query?query={quote(expr, safe='')}")
        return [{"metric": {}, "value": result["result"]}] if result["resultType"] == "scalar" else result["result"]


def check() -> None:
    """Starts a fleet, has it work, asks Prometheus."""
    began = time.monotonic()
    with Watched() as fleet:
        fleet.start()
        fleet.start_watching()
        say(f"  the fleet and Prometheus run after {time.monotonic() - began:.0f} s")
        # Stays open while the check runs, so that there is an event stream to count.
        # The receiver fails once, so that a delivery fails and is then repeated.
        responses = itertools.chain([(500, b"")], itertools.repeat((204, b"")))
        with urllib.request.urlopen(f"{fleet.url}/api/events", timeout=PATIENCE_S), Receiver(lambda _: next(responses)) as receiver:
            work(fleet, receiver)
            say(f"  the jobs are done after {time.monotonic() - began:.0f} s")
            ask(fleet)


def work(fleet: Watched, receiver: Receiver) -> None:
    """Jobs that are made, drafted, found in the cache, refused, repeated, failed, retried, cancelled, handed back, lost, preempted."""
    prompt = "a large red circle moves to the right on the snow"
    budget = {"tenant": "default", "period": "month", "unit": "usd", "amount": 1000}
    status, answer = call("PUT", f"{fleet.url}/api/budgets", budget)
    require(status == 200, f"a budget is set: {status} {answer}")
    draft = fleet.submit(**PLANNED, prompt=prompt, mode="draft", webhook=f"{receiver.url}/")
    fleet.until_status(draft, "drafted")
    fleet.ask(f"/api/jobs/{draft}/continue", method="POST")
    fleet.until_status(draft)
    first = fleet.submit(**PLANNED, prompt=prompt)
    for _ in range(2):
        body = {"prompt": prompt, "quality_tier": "preview", "seed": 1, "video_length": 33}
        status, again = call("POST", f"{fleet.url}/api/generate", body, {"Idempotency-Key": "the same"})
        require(status == 202, f"a request with a key is accepted twice: {status} {again}")
    require(call("POST", f"{fleet.url}/api/generate", {"prompt": ""})[0] == 422, "an empty prompt is refused")
    rubbish = {"properties": {}, "routing_key": "submitted", "payload": "rubbish", "payload_encoding": "string"}
    fleet.manage("POST", f"exchanges/{fleet.name}/amq.default/publish", rubbish)
    premium = fleet.submit(**PLANNED, prompt=prompt, quality_tier="premium", progressive="fast")
    for job in (first, again["job_id"], premium):
        fleet.until_status(job)

    fleet.ffmpeg_broken.touch()
    failing = fleet.submit(prompt="a green square stays", video_length=33)
    fleet.until_status(failing, "failed")
    fleet.ffmpeg_broken.unlink()
    fleet.ask(f"/api/jobs/{failing}/retry", method="POST")
    until("the failed job is retried and completed", lambda: fleet.job(failing)["status"] == "completed")

    long = {"infer_steps": 100, "step_cache": "off"}
    cancelled = fleet.submit(prompt="a blue square rotates on the sand", **long)
    fleet.until_step(cancelled)
    fleet.ask(f"/api/jobs/{cancelled}/cancel", method="POST")
    fleet.until_status(cancelled, "cancelled")

    lost = fleet.submit(prompt="a blue square rotates on the sand", **long)
    fleet.until_step(lost, 10)
    # SIGTERM: the worker hands its job back.
    fleet.group.children["worker"].stop()
    until("the job was handed back", lambda: fleet.job(lost)["status"] != "running")
    fleet.start("worker", wait=False)
    fleet.until_step(lost, 20)
    # SIGKILL: its lease has to run out.
    fleet.group.children["worker"].kill()
    until("the dead worker is given up", lambda: value(fleet, "fleet_workers_silent_total") > 0)
    until("its lease ran out", lambda: value(fleet, "fleet_leases_expired_total") > 0)
    fleet.start("worker", wait=False)
    fleet.until_status(lost)

    # Seconds of work also on a fast machine, so that a worker that lives on has stored checkpoints.
    twice = {"negative_prompt": "grass", "true_cfg_scale": 2.0}
    preempted = fleet.submit(prompt="a blue square rotates on the sand", **long, **twice)
    fleet.until_step(preempted, 2)
    # As if the model was large: no slot becomes free before the deadline of the next job.
    changed = fleet.psql(f"UPDATE jobs SET estimate_s = 3600 WHERE id = '{preempted}'")
    require(changed.returncode == 0, f"the estimate is changed: {changed.stderr}")
    fleet.until_status(fleet.submit(prompt="a green square stays", deadline_s=20))
    until("the job was preempted", lambda: value(fleet, "sum(fleet_preemptions_total)") > 0)
    fleet.until_status(preempted)
    fleet.until_status(fleet.submit(prompt="a green star moves to the left at night", **long, **twice))


def value(fleet: Watched, expr: str) -> float:
    """One number; 0 when there is none."""
    return max((float(row["value"][1]) for row in fleet.query(expr)), default=0.0)


def has_data(fleet: Watched, expr: str) -> bool:
    """At least one series with a number."""
    return any(math.isfinite(float(row["value"][1])) for row in fleet.query(expr))


def ask(fleet: Watched) -> None:
    """Waits until every query has data, and names those without."""
    questions = {**panels(), **rules(fleet), **metrics()}
    missing = dict(questions)

    def answered() -> bool:
        for where, expr in list(missing.items()):
            if has_data(fleet, expr):
                del missing[where]
        return not missing

    try:
        until("all queries have data", answered)
    except Problem:
        lines = [f"  {where}: {expr}" for where, expr in missing.items()]
        raise Problem(f"{len(missing)} of {len(questions)} queries have no data:\n" + "\n".join(lines)) from None
    firing = 'ALERTS{alertname="FleetWorkerSilent", alertstate="firing"}'
    until("the alert about the killed worker fires", lambda: has_data(fleet, firing))
    for group in fleet.prometheus("rules")["groups"]:
        for rule in group["rules"]:
            require(rule["health"] == "ok", f"the rule {rule['name']} is healthy: {rule['health']} {rule.get('lastError', '')}")
    say(f"  {len(questions)} queries have data")


def panels() -> dict[str, str]:
    """Every panel's queries, with Grafana's variable filled in."""
    found = {}
    for where, asked in static.queries():
        expr = asked.replace("$__rate_interval", RATE_INTERVAL)
        require("$" not in expr, f"{where} has no other variable: {asked}")
        found[f"panel {where}"] = expr
    return found


def rules(fleet: Watched) -> dict[str, str]:
    """What each recording rule records; of alerts, which are silent when all is well, every series that they look at."""
    found = {}
    for group in fleet.prometheus("rules")["groups"]:
        for rule in group["rules"]:
            if rule["type"] == "recording":
                found[f"rule {rule['name']}"] = rule["name"]
                continue
            selectors = re.findall(r"\b(?:fleet[\w:]+|up)\b(?:\{[^}]*\})?", rule["query"])
            require(bool(selectors), f"alert {rule['name']} looks at a series: {rule['query']}")
            for selector in selectors:
                found[f"alert {rule['name']}: {selector}"] = selector
    return found


def metrics() -> dict[str, str]:
    """Every documented metric, and that it was not 0 all the time, unless that is not to be had here."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS.read_text(), re.M)
    require(bool(rows), f"{METRICS} lists metrics")
    found = {}
    for name, kind in rows:
        series = f"{name}_count" if kind == "histogram" else name
        quiet = name in NOT_BROUGHT_ABOUT
        found[f"metric {name}"] = series if quiet else f"max_over_time({series}[{RATE_INTERVAL}]) > 0"
    unknown = set(NOT_BROUGHT_ABOUT) - {name for name, _ in rows}
    require(not unknown, f"every metric of NOT_BROUGHT_ABOUT exists: {', '.join(sorted(unknown))}")
    return found
