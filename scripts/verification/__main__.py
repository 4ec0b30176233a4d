"""`make verify`: runs its parts, and keeps the record of what each printed. `scripts/run-verify` documents its use.

The record is docs/verification.md, a file to commit: `record` reads and writes it, `parts` knows what there is and runs it.
"""

import sys

from fleet_stack import console
from fleet_stack.console import Problem, say

from . import parts, record


def main() -> int:
    """Runs the parts that are named, or all; returns how many failed."""
    words = sys.argv[1:]
    write, names = "--write" in words, [word for word in words if word != "--write"]
    known = {part.name: part for part in parts.all_parts()}
    if unknown := [name for name in names if name not in known]:
        raise Problem(f"no part is called {', '.join(unknown)}; the parts are: {', '.join(known)}")
    abouts = {name: part.about() for name, part in known.items()}
    failed = []
    for name in names or [name for name, part in known.items() if not part.inside_test]:
        say(f"\n== {name}: {abouts[name]}")
        passed, seconds, section = known[name].run()
        say(f"{seconds} s  {name}{'' if passed else ' FAILED'}")
        if write:
            record.keep(abouts, name, section)
        if not passed:
            failed.append(name)
    say(f"\nFAILED: {', '.join(failed)}" if failed else "\nall parts passed")
    return min(len(failed), 100)


console.run(main)
