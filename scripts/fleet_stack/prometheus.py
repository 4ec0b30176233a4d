"""A Prometheus beside the fleet, with the project's own configuration pointed at this stack's ports.

The committed configuration names the targets as in containers (`backend:9100`); here each job gets loopback addresses.
"""

import hashlib
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

FOLDER = ROOT / "monitoring/prometheus"
CONFIGURATION = FOLDER / "prometheus.yml"


def spec(folder: Path, ports: Ports, targets: dict[str, list[str]], running: bool, every: str | None = None) -> Spec:
    """How to run it. `targets` holds the addresses of each job in the configuration; `every` overrides the scrape interval."""
    home = folder / "prometheus"
    home.mkdir(parents=True, exist_ok=True)
    port = ports.get("prometheus") if running else ports.ensure_free("prometheus")
    text = configuration({**targets, "prometheus": [f"127.0.0.1:{port}"]}, every)
    (home / "prometheus.yml").write_text(text)
    rules = home / "rules"
    shutil.rmtree(rules, ignore_errors=True)
    shutil.copytree(FOLDER / "rules", rules)
    argv = [str(tools.need("prometheus")), f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=15d"]
    # A change of the configuration is a change of the spec.
    written = text + "".join(file.read_text() for file in sorted(rules.iterdir()))
    env = tools.service_env(home) | {"FLEET_CONFIGURATION": hashlib.sha256(written.encode()).hexdigest()}
    return Spec("prometheus", argv, env, home, folder / "logs/prometheus.log", lambda: http_ok(f"http://127.0.0.1:{port}/-/ready"))


def configuration(targets: dict[str, list[str]], every: str | None = None) -> str:
    """The committed configuration with each job's way to its targets replaced by these addresses, and, if `every` is given,
    scraped and evaluated that often. A job without addresses here is a Problem: it would silently not be scraped."""
    text, found = CONFIGURATION.read_text(), set()

    def addressed(match: re.Match[str]) -> str:
        found.add(match["job"])
        addresses = json.dumps(targets.get(match["job"], []))
        return f"{match['head']}    static_configs:\n      - targets: {addresses}\n"

    # From the key to the next line that is indented no deeper; lines between a job's name and its key are kept.
    jobs = r"(?P<head>  - job_name: *[\"']?(?P<job>[\w-]+).*\n(?:    .*\n)*?)    (?:static_configs|dns_sd_configs):.*\n(?:(?: {5,}.*)?\n)*"
    text = re.sub(jobs, addressed, text)
    if differing := found ^ set(targets):
        raise Problem(f"{CONFIGURATION}: its jobs and those whose address is known here differ: {', '.join(sorted(differing))}")
    return re.sub(r"(?m)^(  (?:scrape_interval|scrape_timeout|evaluation_interval):).*", rf"\1 {every}", text) if every else text


def http_ok(url: str) -> bool:
    """Whether a GET returns a 2xx status."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return 200 <= answer.status < 300
    except (urllib.error.URLError, OSError, ValueError):
        return False
