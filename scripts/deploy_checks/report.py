"""The results of the checks: every failure is reported, not only the first."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

failures: list[str] = []
passed = 0


def expect(holds: bool, otherwise: str) -> bool:
    """Records one check; `otherwise` states what is wrong and where."""
    global passed
    if holds:
        passed += 1
    else:
        failures.append(otherwise)
        print(f"  FAILED: {otherwise}", flush=True)
    return holds


def equal(found: object, wanted: object, what: str) -> bool:
    """Notes that two values are the same."""
    return expect(found == wanted, f"{what}: found {found!r}, wanted {wanted!r}")


def run(command: Iterable[str | Path], **more: object) -> subprocess.CompletedProcess[str]:
    """Runs a checker and captures its output."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)


def succeeds(command: Iterable[str | Path], what: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Notes that a checker is content."""
    done = run(command, **more)
    expect(done.returncode == 0, f"{what}:\n{done.stdout}{done.stderr}".rstrip())
    return done


def refuses(command: Iterable[str | Path], because: str, what: str, **more: object) -> None:
    """Notes that a checker refuses what is wrong, for the right reason: a checker that passes everything shows nothing."""
    done = run(command, **more)
    output = done.stdout + done.stderr
    expect(done.returncode != 0 and because in output, f"{what}: should be refused because of {because!r}, but:\n{output}".rstrip())
