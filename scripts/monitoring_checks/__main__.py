"""Checks monitoring/: rules, dashboards, and both against a fleet that works. `scripts/check-monitoring` starts it."""

import sys
import time

from fleet_stack import console, fleet, tools
from fleet_stack.console import say

from . import live, static


def main() -> None:
    """Runs the parts, cheapest first."""
    words = sys.argv[1:]
    tools.install_missing(["prometheus", "promtool"])
    # Grafana's types and the compiler, at the locked versions.
    tools.npm_packages(static.GRAFANA)
    if words == ["--packages-only"]:
        return
    if words != ["--static"]:
        fleet.beside_services()
    began = time.monotonic()
    static.check()
    say(f"rules and dashboards are well formed ({time.monotonic() - began:.0f} s)")
    if words != ["--static"]:
        began = time.monotonic()
        live.check()
        say(f"every query has data from a fleet that works ({time.monotonic() - began:.0f} s)")


console.run(main)
