"""A Prometheus beside the fleet, with the project's own configuration pointed at this stack's ports.

The committed configuration names the targets as in containers (`backend:8000`); here each becomes a loopback address.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from . import tools
from .console import Problem
from .paths import ROOT
from .ports import Ports
from .process import Spec

CONFIGURATION = ROOT / "monitoring/prometheus.yml"


def spec(folder: Path, ports: Ports, targets: dict[str, list[str]], running: bool) -> Spec:
    """How to run it. `targets` gives the addresses of each job name in the configuration."""
    if not CONFIGURATION.exists():
        raise Problem(f"MONITORING=1 needs {CONFIGURATION}, which is not there.")
    home = folder / "prometheus"
    home.mkdir(parents=True, exist_ok=True)
    _write_configuration(home, targets)
    port = ports.get("prometheus") if running else ports.ensure_free("prometheus")
    argv = [str(tools.need("prometheus")), f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=15d"]
    # A change of the targets is a change of the spec.
    env = tools.service_env(home) | {"FLEET_TARGETS": json.dumps(targets, sort_keys=True)}
    return Spec("prometheus", argv, env, home, folder / "logs/prometheus.log", lambda: http_ok(f"http://127.0.0.1:{port}/-/ready"))


def _write_configuration(home: Path, targets: dict[str, list[str]]) -> None:
    """Copies the configuration with each job's static targets replaced, and the rule files beside it."""
    lines, job = [], ""
    for line in CONFIGURATION.read_text().splitlines():
        named = re.match(r"\s*-\s*job_name:\s*[\"']?([\w-]+)", line)
        job = named.group(1) if named else job
        listed = re.match(r"(\s*(?:-\s*)?)targets:\s*\[.*\]", line)
        if listed and job in targets:
            line = f"{listed.group(1)}targets: {json.dumps(targets[job])}"
        lines.append(line)
    (home / "prometheus.yml").write_text("\n".join(lines) + "\n")
    for entry in CONFIGURATION.parent.iterdir():
        if entry.is_dir() and "rules" in entry.name:
            shutil.copytree(entry, home / entry.name, dirs_exist_ok=True)
        elif entry.suffix in (".yml", ".yaml") and entry != CONFIGURATION:
            shutil.copy(entry, home / entry.name)


def http_ok(url: str) -> bool:
    """True when a GET answers with a 2xx status."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return 200 <= answer.status < 300
    except (urllib.error.URLError, OSError, ValueError):
        return False
