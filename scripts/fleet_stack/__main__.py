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
    if asked.command == "setup":
        commands.set_up(tests=asked.tests)
    elif asked.command == "build":
        build.build()
    elif asked.command == "up":
        commands.up(asked.workers, asked.port, asked.monitoring, first=build.build if asked.build else lambda: None)
    elif asked.command == "down":
        commands.down()
    elif asked.command == "status":
        return commands.status()
    elif asked.command == "logs":
        commands.logs(asked.names, follow=not asked.no_follow)
    elif asked.command == "env":
        commands.print_env()
    elif asked.command == "reset":
        commands.reset(sure=asked.yes)
    elif asked.command == "services":
        testing.serve(asked.dir.resolve(), asked.only)
    elif asked.command == "with-services":
        rest = asked.rest[1:] if asked.rest[:1] == ["--"] else asked.rest
        if not rest:
            raise Problem("with-services needs a command: scripts/fleet with-services -- COMMAND")
        return testing.run_with(rest, asked.only.split(",") if asked.only else None)
    elif asked.command == "node-path":
        print(tools.node_folder())
    elif asked.command == "supervise":
        supervisor.run()
    return 0


if __name__ == "__main__":
    run(main)
