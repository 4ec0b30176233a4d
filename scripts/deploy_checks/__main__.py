"""Checks everything that deploys the fleet: docker-compose.yml, docker/Dockerfile, .env.example and the chart in helm/.

Nothing here needs a Docker engine or a cluster: the real Compose, Helm and hadolint read the files, the schemas of
Kubernetes and of the operators judge what Helm renders, and our own executables are started with the very settings that
the containers get. Reading order: `tools` what is fetched, `compose`, `dockerfile`, `chart`, `live` with real processes.
"""

import sys
import time

from fleet_stack import console, fleet

from . import chart, compose, dockerfile, live, report, tools


def main() -> int:
    """Runs all checks and reports every failure; `--write` updates what the chart copies and generates instead, `--packages-only` fetches the programs."""
    tools.fetch()
    if "--write" in sys.argv[1:]:
        chart.write()
    if {"--write", "--packages-only"} & set(sys.argv[1:]):
        return 0
    fleet.beside_services()
    parts = (("compose", compose.check), ("Dockerfile", dockerfile.check), ("chart", chart.check), ("live", live.check))
    for name, check in parts:
        began, before = time.monotonic(), report.passed
        check()
        print(f"{name}: {report.passed - before} checks in {time.monotonic() - began:.1f} s", flush=True)
    print(f"{report.passed} passed, {len(report.failures)} failed")
    return 1 if report.failures else 0


console.run(main)
