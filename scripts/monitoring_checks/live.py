"""Real jobs with every ending, then: every query of every panel and rule has data, and nothing that is declared is silent."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
import time
from pathlib import Path

from fleet_stack.console import Problem, say
from fleet_stack.paths import ROOT, RUN

from . import dashboards
from .fleet import Fleet, until

METRICS = ROOT / "docs/metrics.md"
# Longer than the check, so that a rate sees all of it.
RATE_INTERVAL = "10m"
# Counted, and not brought about here: each is 0 and its series must be there all the same.
NOT_BROUGHT_ABOUT = {
    "fleet_leases_lost_total": "needs a worker that is cut off from Postgres while it works",
    "fleet_stale_writes_refused_total": "the same",
    "fleet_stale_claims_total": "needs a doubled message",
    "fleet_announce_failures_total": "needs RabbitMQ to refuse a publish",
    "fleet_jobs_reannounced_total": "needs a release that nobody claims for seconds",
    "fleet_orphans_removed_total": "needs objects older than a day",
    "fleet_embedding_cache_errors_total": "needs Redis to fail",
    "fleet_jobs_handed_back_total": "the worker that counts it ends before it is read; the row's count is looked at",
    "fleet_saved_seconds": "may be negative",
    "fleet_saved_usd": "may be negative",
    "fleet_gpu_utilisation_ratio": "0 without a GPU",
    "fleet_attention_flops_per_second": "0 without a GPU",
    "fleet_attention_backend": "0 without a GPU",
    "fleet_unreadable_rows_total": "needs a row of a later release",
    "fleet_learned_steps_lower": "0 until there is something to learn",
}
SMALL = {"video_length": 33}


def check() -> None:
    """Starts a fleet, has it work, asks Prometheus."""
    given = os.environ.get("FLEET_TEST_SERVICES")
    if not given:
        raise Problem("run it beside services: scripts/fleet with-services -- scripts/check-monitoring")
    (RUN / "tests").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="monitoring-", dir=RUN / "tests"))
    fleet = Fleet(json.loads(given), folder)
    try:
        began = time.monotonic()
        fleet.start()
        say(f"  the fleet and Prometheus run after {time.monotonic() - began:.0f} s")
        work(fleet)
        say(f"  the jobs are done after {time.monotonic() - began:.0f} s")
        ask(fleet)
    except Problem as problem:
        raise Problem(f"{problem}\n{fleet.logs()}") from problem
    finally:
        fleet.end()
    fleet.remove()


def work(fleet: Fleet) -> None:
    """Jobs that are made, found in the cache, refused, repeated, failed, tried again, cancelled, handed back, lost."""
    fleet.listen()
    prompt = "a large red circle moves to the right on the snow"
    first = fleet.submit(prompt, **SMALL)
    key = {"Idempotency-Key": "the same"}
    for _ in range(2):
        body = {"prompt": prompt, "quality_tier": "preview", "seed": 1, **SMALL}
        status, again = fleet.call("POST", "/api/generate", body, key)
        if status != 202:
            raise Problem(f"not accepted: {status} {again}")
    if fleet.call("POST", "/api/generate", {"prompt": ""})[0] != 422:
        raise Problem("an empty prompt is accepted")
    fleet.publish_rubbish("submitted")
    premium = fleet.submit(prompt, quality_tier="premium", **SMALL)
    for job in (first, again["job_id"], premium):
        fleet.until_status(job, "completed")

    fleet.ffmpeg_broken.touch()
    failing = fleet.submit("a green square stays", infer_steps=4, **SMALL)
    fleet.until_status(failing, "failed")
    fleet.ffmpeg_broken.unlink()
    fleet.call("POST", f"/api/jobs/{failing}/retry")
    until("the failed job is tried again and completed", lambda: fleet.job(failing)["status"] == "completed")

    cancelled = fleet.submit("a blue square rotates on the sand", infer_steps=100, step_cache="off")
    fleet.until_step(cancelled)
    fleet.call("POST", f"/api/jobs/{cancelled}/cancel")
    fleet.until_status(cancelled, "cancelled")

    lost = fleet.submit("a blue square rotates on the sand", infer_steps=100, step_cache="off")
    fleet.until_step(lost, 10)
    fleet.stop_worker()
    until("the job was handed back", lambda: fleet.job(lost)["status"] != "running")
    fleet.start_process("worker")
    fleet.until_step(lost, 20)
    fleet.kill_worker()
    until("the dead worker is given up", lambda: value(fleet, "fleet_workers_silent_total") > 0)
    until("its lease ran out", lambda: value(fleet, "fleet_leases_expired_total") > 0)
    fleet.start_process("worker")
    fleet.group.wait_ready(["worker"])
    fleet.until_status(lost, "completed")

    # Seconds of work also on a fast machine, so that a worker that lives on has stored checkpoints.
    twice = {"negative_prompt": "grass", "true_cfg_scale": 2.0}
    kept = fleet.submit("a green star moves to the left at night", infer_steps=100, step_cache="off", **twice)
    fleet.until_status(kept, "completed")


def value(fleet: Fleet, expr: str) -> float:
    """One number; 0 when there is none."""
    return max((float(row["value"][1]) for row in fleet.query(expr)), default=0.0)


def has_data(fleet: Fleet, expr: str) -> bool:
    """At least one series with a number."""
    return any(math.isfinite(float(row["value"][1])) for row in fleet.query(expr))


def ask(fleet: Fleet) -> None:
    """Waits until everything that is asked has an answer, and names what has none."""
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
            if rule["health"] != "ok":
                raise Problem(f"rule {rule['name']}: {rule['health']} {rule.get('lastError', '')}")
    say(f"  {len(questions)} queries have data")


def panels() -> dict[str, str]:
    """Every panel's queries, with Grafana's variable filled in."""
    found = {}
    for query in dashboards.queries():
        expr = query.expr.replace("$__rate_interval", RATE_INTERVAL)
        if "$" in expr:
            raise Problem(f"{query.where}: unknown variable in {query.expr}")
        found[f"panel {query.where}"] = expr
    return found


def rules(fleet: Fleet) -> dict[str, str]:
    """What each recording rule records; of alerts, which are silent when all is well, every series that they look at."""
    found = {}
    for group in fleet.prometheus("rules")["groups"]:
        for rule in group["rules"]:
            if rule["type"] == "recording":
                found[f"rule {rule['name']}"] = rule["name"]
                continue
            selectors = re.findall(r"\b(?:fleet[\w:]+|up)\b(?:\{[^}]*\})?", rule["query"])
            if not selectors:
                raise Problem(f"alert {rule['name']} looks at nothing: {rule['query']}")
            for selector in selectors:
                found[f"alert {rule['name']}: {selector}"] = selector
    return found


def metrics() -> dict[str, str]:
    """Every documented metric, and that it was not 0 all the time, unless that is not to be had here."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS.read_text(), re.M)
    if not rows:
        raise Problem(f"{METRICS} lists no metrics")
    found = {}
    for name, kind in rows:
        series = f"{name}_count" if kind == "histogram" else name
        quiet = name in NOT_BROUGHT_ABOUT
        found[f"metric {name}"] = series if quiet else f"max_over_time({series}[{RATE_INTERVAL}]) > 0"
    if unknown := set(NOT_BROUGHT_ABOUT) - {name for name, _ in rows}:
        raise Problem(f"there is no metric {', '.join(sorted(unknown))}")
    return found
