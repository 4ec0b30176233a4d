"""The command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import build, commands, supervisor, testing, tools
from .console import Problem, run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/fleet", description="The stack of this checkout on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    setup = commands.add_parser("setup", help="install what running needs")
    setup.add_argument("--tests", action="store_true", help="also what only the tests need: a browser")
    commands.add_parser("build", help="fetch and build everything that is missing or has changed")
    up = commands.add_parser("up", help="start everything and wait until it is ready")
    up.add_argument("--build", action="store_true", help="first fetch and build everything that is missing or has changed")
    up.add_argument("--workers", type=int, default=None, help="number of workers (default: the last value, initially 1)")
    up.add_argument("--port", type=int, default=None, help="port of the API (default: the last value, initially 8000)")
    up.add_argument("--monitoring", action=argparse.BooleanOptionalAction, default=None, help="Prometheus beside the fleet")
    commands.add_parser("down", help="stop everything; data are kept")
    commands.add_parser("status", help="show which processes are running")
    logs = commands.add_parser("logs", help="follow the logs")
    logs.add_argument("names", nargs="*", help="only these processes, such as api or worker-1")
    logs.add_argument("--no-follow", action="store_true", help="print the end and stop")
    commands.add_parser("env", help="print the variables that our processes get, for a shell's eval")
    reset = commands.add_parser("reset", help="delete the data of this checkout's stack")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    services = commands.add_parser("services", help="run only the three services, for tests")
    services.add_argument("--dir", type=Path, required=True, help="folder of their data")
    services.add_argument("--only", nargs="+", choices=["postgres", "redis", "rabbitmq"], help="start only these")
    beside = commands.add_parser("with-services", help="run a command beside a throwaway stack")
    beside.add_argument("--only", help="start only these services: postgres,redis,rabbitmq")
    beside.add_argument("rest", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    commands.add_parser("node-path", help="print the folder that holds node and npm")
    commands.add_parser("supervise")
    return parser


def main() -> int:
    """Runs one command; returns the exit code."""
    asked = _parser().parse_args()
    run_it = {
        "setup": lambda: commands.set_up(tests=asked.tests),
        "build": build.build,
        "up": lambda: commands.up(asked.workers, asked.port, asked.monitoring, first=build.build if asked.build else lambda: None),
        "down": commands.down,
        "status": commands.status,
        "logs": lambda: commands.logs(asked.names, follow=not asked.no_follow),
        "env": commands.print_env,
        "reset": lambda: commands.reset(sure=asked.yes),
        "services": lambda: testing.serve(asked.dir.resolve(), asked.only),
        "with-services": lambda: _beside_services(asked.rest, asked.only),
        "node-path": lambda: print(tools.node_folder()),
        "supervise": supervisor.run,
    }
    return run_it[asked.command]() or 0


def _beside_services(rest: list[str], only: str | None) -> int:
    command = rest[1:] if rest[:1] == ["--"] else rest
    if not command:
        raise Problem("with-services needs a command: scripts/fleet with-services -- COMMAND")
    return testing.run_with(command, only.split(",") if only else None)


if __name__ == "__main__":
    run(main)
