"""Configuration, rules and dashboards as Prometheus and Grafana read them; each alert has its tests and its page in the runbook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from fleet_stack import tools
from fleet_stack.console import Problem, output
from fleet_stack.paths import ROOT

PROMETHEUS = ROOT / "monitoring/prometheus"
GRAFANA = ROOT / "monitoring/grafana"
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
    # Panels are what Grafana's types allow, and the mistakes in broken.ts are refused.
    tools.npm(GRAFANA, "exec", "--", "tsc", "--noEmit")


def _promtool(*words: str | Path) -> None:
    output([tools.need("promtool"), *words], f"promtool {words[0]} {words[1]}", env=tools.service_env(ROOT), cwd=PROMETHEUS)


def alerts() -> list[str]:
    """Names of all alerts."""
    return re.findall(r"- alert: (\w+)", (PROMETHEUS / "rules/alerts.yml").read_text())


def _check_cases() -> None:
    """Each alert is seen to fire and seen not to."""
    cases = {(name, bool(empty)) for name, empty in re.findall(r"alertname: (\w+)\n\s+exp_alerts:( \[\])?", TESTS.read_text())}
    wanted = {(alert, silent) for alert in alerts() for silent in (False, True)}
    for alert, silent in sorted(wanted - cases):
        raise Problem(f"{TESTS.name} has no case in which {alert} {'does not fire' if silent else 'fires'}")
    if unknown := {name for name, _ in cases - wanted}:
        raise Problem(f"{TESTS.name} expects alerts that do not exist: {', '.join(sorted(unknown))}")


def _check_runbook() -> None:
    """Each alert names a section that is there, each section an alert, and each named dashboard and panel exists."""
    text = RUNBOOK.read_text()
    headings = re.findall(r"^## (\w+)$", text, re.M)
    if sorted(headings) != sorted(alerts()):
        raise Problem(f"{RUNBOOK.name} and the alerts differ: {', '.join(sorted(set(headings) ^ set(alerts())))}")
    links = re.findall(r"runbook_url: (\S+)", (PROMETHEUS / "rules/alerts.yml").read_text())
    expected = [f"docs/runbook.md#{alert.lower()}" for alert in alerts()]
    if links != expected:
        raise Problem(f"runbook_url must be docs/runbook.md#NAME in small letters: {', '.join(sorted(set(links) ^ set(expected)))}")
    titles = {board["title"]: {panel["title"] for panel in board["panels"]} for board in boards()}
    # Where it says `*Dashboard*, "Panel"`, both exist, up to the end of that paragraph or list item.
    for block in re.split(r"\n(?=- |\n)", text):
        for board, said in re.findall(r"(?<!\*)\*([A-Z][\w ]+)\*(?!\*)([^*]*)", block):
            if board not in titles:
                raise Problem(f"{RUNBOOK.name} names a dashboard {board}, which does not exist")
            if unknown := set(re.findall(r'"([^"]+)"', said)) - titles[board]:
                raise Problem(f"{RUNBOOK.name} names panels of {board} that do not exist: {', '.join(sorted(unknown))}")


def boards() -> list[dict]:
    """The written dashboards."""
    return [json.loads(file.read_text()) for file in sorted((GRAFANA / "dashboards").glob("*.json"))]


def queries() -> Iterator[tuple[str, str]]:
    """Every query of every panel: where it is, and what it asks."""
    for board in boards():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{board['title']} / {panel['title']} / {target['refId']}", target["expr"]
