"""The processor time of a render's stages, from outside: what the process has used, sampled while it runs.

The report at the end has wall times only. The end of each step is known from its line of progress, and the other stages lie directly
before and after the steps.
"""

import bisect
import os
import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

SAMPLE_S = 0.01


class Usage:
    """One run of `worker render` to its end."""

    def __init__(self, argv: list[str]) -> None:
        self.samples: list[tuple[float, float]] = []
        self.steps: list[float] = []
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            lines = threading.Thread(target=self._note_steps, args=(process,))
            lines.start()
            # The report is short enough to wait in the pipe.
            while process.poll() is None:
                self.samples.append((time.monotonic(), _used_s(process.pid)))
                time.sleep(SAMPLE_S)
            lines.join()
            self.text = process.stdout.read()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, argv)

    def _note_steps(self, process: subprocess.Popen) -> None:
        for line in process.stderr:
            if line.startswith("step "):
                self.steps.append(time.monotonic())

    def _at(self, moment: float) -> float:
        """Seconds of processor time until a moment, between the samples around it."""
        index = min(max(bisect.bisect(self.samples, (moment, 0.0)), 1), len(self.samples) - 1)
        (before, used), (after, more) = self.samples[index - 1 : index + 1]
        return used + (more - used) * min(max((moment - before) / (after - before), 0.0), 1.0)

    def of_stages(self, wall: dict) -> dict:
        """Seconds of processor time, by the names of the report; `wall` has its seconds."""
        used, end = {}, self.steps[-1] - wall["denoise"]
        for name in ("picture", "encode"):
            if name in wall:
                used[name] = self._at(end) - self._at(end - wall[name])
                end -= wall[name]
        used["step"] = median(self._at(after) - self._at(before) for before, after in pairwise(self.steps))
        used["decode"] = self._at(self.steps[-1] + wall["decode"]) - self._at(self.steps[-1])
        return used


def _used_s(pid: int) -> float:
    """What all threads of a process have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
