"""Dashboards against the panels they are written from, and against Grafana's own types."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet_stack import tools
from fleet_stack.console import Problem, say
from fleet_stack.paths import ROOT

GRAFANA = ROOT / "monitoring/grafana"
FOLDER = GRAFANA / "dashboards"
TYPES = {"timeseries": "LinesPanel", "stat": "StatPanel", "row": "Row"}


@dataclass(frozen=True)
class Query:
    """One query of one panel."""

    where: str
    expr: str


def check_written() -> None:
    """The files are what `monitoring/grafana/build` writes."""
    done = subprocess.run([str(GRAFANA / "build"), "--check"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(done.stderr.strip())


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for file in sorted(FOLDER.glob("*.json")):
        board = _read(file)
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield Query(f"{board['title']} / {panel['title']} / {target['refId']}", target["expr"])


def check_named(document: Path) -> None:
    """Where a page says `*Dashboard*, "Panel"`, both are there, up to the end of that paragraph or point."""
    titles = {board["title"]: {panel["title"] for panel in board["panels"]} for board in map(_read, sorted(FOLDER.glob("*.json")))}
    for block in re.split(r"\n(?=- |\n)", document.read_text()):
        for board, said in re.findall(r"(?<!\*)\*([A-Z][\w ]+)\*(?!\*)([^*]*)", block):
            if board not in titles:
                raise Problem(f"{document.name} names a dashboard {board}, which is not there")
            if unknown := set(re.findall(r'"([^"]+)"', said)) - titles[board]:
                raise Problem(f"{document.name} names panels of {board} that are not there: {', '.join(sorted(unknown))}")


def _read(file: Path) -> dict:
    return json.loads(file.read_text())


def install_packages() -> None:
    """Grafana's types and the compiler, as the lock file says."""
    lock, installed = GRAFANA / "package-lock.json", GRAFANA / "node_modules/.package-lock.installed"
    if installed.exists() and installed.read_text() == lock.read_text():
        return
    say("installing Grafana's types")
    npm = [str(tools.node_folder() / "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(npm, cwd=GRAFANA, env=_node_env(), capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(f"npm ci in {GRAFANA} failed:\n{done.stdout}{done.stderr}")
    installed.write_text(lock.read_text())


def _node_env() -> dict[str, str]:
    env = tools.service_env(Path.home())
    return {**env, "PATH": f"{tools.node_folder()}:{env['PATH']}"}


def check_types() -> None:
    """Each board and panel is a literal of its type; a broken one must be refused, or the check checks nothing."""
    install_packages()
    with tempfile.TemporaryDirectory(prefix=".check-", dir=GRAFANA) as folder:
        for file in sorted(FOLDER.glob("*.json")):
            text, where = _as_typescript(_read(file))
            (Path(folder) / f"{file.stem}.ts").write_text(text)
            if found := _compile(Path(folder) / f"{file.stem}.ts", where):
                raise Problem(f"{file.name} is not what Grafana understands:\n{found}")
        for wrong in _broken(_read(sorted(FOLDER.glob("*.json"))[0])):
            text, where = _as_typescript(wrong)
            (Path(folder) / "broken.ts").write_text(text)
            if not _compile(Path(folder) / "broken.ts", where):
                raise Problem("the check of the dashboards accepts a broken one")


def _as_typescript(board: dict) -> tuple[str, list[str]]:
    """A constant for the board and one for each panel, each on one line; the second answer names the lines."""
    board = dict(board)
    panels = board.pop("panels")
    lines = [f"import type {{ Board, {', '.join(TYPES.values())} }} from '../types.ts';"]
    where = ["imports", "the dashboard itself"]
    lines.append(f"export const board: Board = {json.dumps(board)};")
    for panel in panels:
        lines.append(f"export const panel{panel['id']}: {TYPES.get(panel['type'], 'never')} = {json.dumps(panel)};")
        where.append(f"panel '{panel.get('title', panel['id'])}'")
    return "\n".join(lines) + "\n", where


def _broken(board: dict) -> Iterator[dict]:
    """The board with one mistake each, of kinds that Grafana would accept and draw wrongly."""
    number = next(n for n, panel in enumerate(board["panels"]) if panel["type"] == "timeseries")
    for spoil in (
        lambda panel: panel.update(titel=panel.pop("title")),
        lambda panel: panel["options"]["tooltip"].update(mode="many"),
        lambda panel: panel["fieldConfig"]["defaults"]["custom"].update(drawStyle="lines"),
        lambda panel: panel["targets"][0].pop("expr"),
    ):
        wrong = json.loads(json.dumps(board))
        spoil(wrong["panels"][number])
        yield wrong


def _compile(file: Path, where: list[str]) -> str:
    """What the compiler finds, with the names of panels for lines; empty when nothing."""
    compiler = GRAFANA / "node_modules/.bin/tsc"
    argv = [str(compiler), "--noEmit", "--strict", "--skipLibCheck", "--allowImportingTsExtensions", "--target", "es2022"]
    argv += ["--module", "esnext", "--moduleResolution", "bundler", "--types", "", str(file)]
    done = subprocess.run(argv, cwd=GRAFANA, env=_node_env(), capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    found = []
    for line in (done.stdout + done.stderr).splitlines():
        place, _, message = line.partition(": ")
        number = place.rpartition("(")[2].partition(",")[0]
        named = where[int(number) - 1] if file.name in place and number.isdigit() else place
        found.append(f"  {named}: {message}")
    return "\n".join(found) or f"  tsc ended with {done.returncode}"
