"""The command line."""

import argparse
from collections.abc import Callable
from pathlib import Path

from . import build, commands, supervisor, testing, tools
from .console import Problem, run


def _parser() -> argparse.ArgumentParser:
    """The commands; each sets `run`, which takes the parsed options and returns an exit code or nothing."""
    parser = argparse.ArgumentParser(prog="scripts/fleet", description="The stack of this checkout on this machine.")
    found = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], **more: str) -> argparse.ArgumentParser:
        added = found.add_parser(name, **more)
        added.set_defaults(run=run)
        return added

    setup = command("setup", lambda asked: commands.set_up(tests=asked.tests), help="install what running needs")
    setup.add_argument("--tests", action="store_true", help="also what only the tests need: a browser")
    command("build", lambda _: build.build(), help="fetch and build everything that is missing or has changed")
    up = command("up", _up, help="start everything and wait until it is ready")
    up.add_argument("--build", action="store_true", help="first fetch and build everything that is missing or has changed")
    up.add_argument("--workers", type=int, default=None, help="number of workers (default: the last value, initially 1)")
    up.add_argument("--port", type=int, default=None, help="port of the API (default: the last value, initially 8000)")
    up.add_argument("--monitoring", action=argparse.BooleanOptionalAction, default=None, help="Prometheus beside the fleet")
    command("down", lambda _: commands.down(), help="stop everything; data are kept")
    command("status", lambda _: commands.status(), help="show which processes are running")
    logs = command("logs", lambda asked: commands.logs(asked.names, follow=not asked.no_follow), help="follow the logs")
    logs.add_argument("names", nargs="*", help="only these processes, such as api or worker-1")
    logs.add_argument("--no-follow", action="store_true", help="print the end and stop")
    command("env", lambda _: commands.print_env(), help="print the variables that our processes get, for a shell's eval")
    reset = command("reset", lambda asked: commands.reset(sure=asked.yes), help="delete the data of this checkout's stack")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    services = command("services", lambda asked: testing.serve(asked.dir.resolve(), asked.only), help="run only the three services, for tests")
    services.add_argument("--dir", type=Path, required=True, help="folder of their data")
    services.add_argument("--only", nargs="+", choices=["postgres", "redis", "rabbitmq"], help="start only these")
    beside = command("with-services", _beside_services, help="run a command beside a throwaway stack")
    beside.add_argument(
        "--volatile", action="store_true",
        help="Postgres never waits for the disk (fsync and full_page_writes are off): faster, but its data do not survive a crash of the "
        "machine; for tests only",
    )
    beside.add_argument("rest", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    command("node-path", lambda _: print(tools.node_folder()), help="print the folder that holds node and npm")
    command("supervise", lambda _: supervisor.run())
    return parser


def _up(asked: argparse.Namespace) -> None:
    commands.up(asked.workers, asked.port, asked.monitoring, first=build.build if asked.build else lambda: None)


def _beside_services(asked: argparse.Namespace) -> int:
    command = asked.rest[1:] if asked.rest[:1] == ["--"] else asked.rest
    if not command:
        raise Problem("with-services needs a command: scripts/fleet with-services -- COMMAND")
    return testing.run_with(command, volatile=asked.volatile)


def main() -> int:
    """Runs one command; returns the exit code."""
    asked = _parser().parse_args()
    return asked.run(asked) or 0


run(main)
