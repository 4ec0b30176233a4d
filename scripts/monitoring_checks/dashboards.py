"""The dashboards that Grafana gets: their types, their queries, and the runbook's references to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from fleet_stack import tools
from fleet_stack.console import Problem
from fleet_stack.paths import ROOT

GRAFANA = ROOT / "monitoring/grafana"


def boards() -> list[dict]:
    """The written dashboards."""
    return [json.loads(file.read_text()) for file in sorted((GRAFANA / "dashboards").glob("*.json"))]


def queries() -> Iterator[tuple[str, str]]:
    """Every query of every panel: where it is, and what it asks."""
    for board in boards():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{board['title']} / {panel['title']} / {target['refId']}", target["expr"]


def check_named(document: Path) -> None:
    """Where a page says `*Dashboard*, "Panel"`, both exist, up to the end of that paragraph or list item."""
    titles = {board["title"]: {panel["title"] for panel in board["panels"]} for board in boards()}
    for block in re.split(r"\n(?=- |\n)", document.read_text()):
        for board, said in re.findall(r"(?<!\*)\*([A-Z][\w ]+)\*(?!\*)([^*]*)", block):
            if board not in titles:
                raise Problem(f"{document.name} names a dashboard {board}, which does not exist")
            if unknown := set(re.findall(r'"([^"]+)"', said)) - titles[board]:
                raise Problem(f"{document.name} names panels of {board} that do not exist: {', '.join(sorted(unknown))}")


def install_packages() -> None:
    """Grafana's types and the compiler, at the locked versions."""
    tools.npm_packages(GRAFANA)


def check_types() -> None:
    """Panels are what Grafana's types allow, and the mistakes in broken.ts are refused."""
    tools.npm(GRAFANA, "exec", "--", "tsc", "--noEmit")
