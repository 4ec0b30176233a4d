"""Checks monitoring/: rules, dashboards, and both against a fleet that works. `scripts/check-monitoring` starts it."""

from __future__ import annotations

import sys
import time

from fleet_stack import console, fleet, tools
from fleet_stack.console import say

from . import dashboards, live, rules


def main() -> None:
    """Runs the parts, cheapest first."""
    words = sys.argv[1:]
    tools.install_missing(["prometheus", "promtool"])
    dashboards.install_packages()
    if words == ["--packages-only"]:
        return
    if words != ["--static"]:
        fleet.beside_services()
    began = time.monotonic()
    rules.check()
    dashboards.check_named(rules.RUNBOOK)
    dashboards.check_types()
    say(f"rules and dashboards are well formed ({time.monotonic() - began:.0f} s)")
    if words != ["--static"]:
        began = time.monotonic()
        live.check()
        say(f"every query has data from a fleet that works ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    console.run(main)
