"""Configuration and rules as Prometheus reads them; each alert has its tests and its page in the runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from fleet_stack import tools
from fleet_stack.console import Problem
from fleet_stack.paths import ROOT

PROMETHEUS = ROOT / "monitoring/prometheus"
TESTS = PROMETHEUS / "tests/alerts_test.yml"
RUNBOOK = ROOT / "docs/runbook.md"


def check() -> None:
    """Everything that needs no running Prometheus."""
    rules = sorted((PROMETHEUS / "rules").glob("*.yml"))
    _promtool("check", "config", PROMETHEUS / "prometheus.yml")
    _promtool("check", "rules", "--lint=all", "--lint-fatal", *rules)
    _promtool("test", "rules", TESTS)
    _check_cases()
    _check_runbook()


def _promtool(*words: str | Path) -> None:
    argv = [str(tools.need("promtool")), *map(str, words)]
    done = subprocess.run(argv, env=tools.service_env(ROOT), cwd=PROMETHEUS, capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(f"promtool {' '.join(argv[1:3])}:\n{done.stdout}{done.stderr}")


def alerts() -> list[str]:
    """Names of all alerts."""
    return re.findall(r"- alert: (\w+)", (PROMETHEUS / "rules/alerts.yml").read_text())


def _check_cases() -> None:
    """Each alert is seen to fire and seen not to."""
    cases = re.findall(r"alertname: (\w+)\n\s+exp_alerts:( \[\])?", TESTS.read_text())
    for alert in alerts():
        if not any(name == alert and not empty for name, empty in cases):
            raise Problem(f"{TESTS.name} has no case in which {alert} fires")
        if not any(name == alert and empty for name, empty in cases):
            raise Problem(f"{TESTS.name} has no case in which {alert} does not fire")
    if unknown := {name for name, _ in cases} - set(alerts()):
        raise Problem(f"{TESTS.name} expects alerts that do not exist: {', '.join(sorted(unknown))}")


def _check_runbook() -> None:
    """Each alert names a section that is there, and each section an alert."""
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.M)
    if sorted(headings) != sorted(alerts()):
        raise Problem(f"{RUNBOOK.name} and the alerts differ: {', '.join(sorted(set(headings) ^ set(alerts())))}")
    links = re.findall(r"runbook_url: (\S+)", (PROMETHEUS / "rules/alerts.yml").read_text())
    expected = [f"docs/runbook.md#{alert.lower()}" for alert in alerts()]
    if links != expected:
        raise Problem(f"runbook_url must be docs/runbook.md#NAME in small letters: {', '.join(sorted(set(links) ^ set(expected)))}")
