"""The command line of the programs that write fixtures: a folder, and the names of those to write; without names all."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch

torch.set_num_threads(1)  # the order of sums, and so the last bits, depend on the number of threads


def write(models: dict, build: Callable, cases: list, record: Callable, others: dict[str, Callable[[Path], None]]) -> None:
    """Builds the checkpoints, records the cases, and calls the others with the folder of their name."""
    target = Path(sys.argv[1])
    parts = [(name, lambda name=name, spec=spec: build(spec, target / name / "model")) for name, spec in models.items()]
    parts += [(case.name, lambda case=case: record(target / case.name, case)) for case in cases]
    parts += [(name, lambda name=name, other=other: other(target / name)) for name, other in others.items()]
    for name, part in parts:
        if name in (sys.argv[2:] or [name]):
            part()
