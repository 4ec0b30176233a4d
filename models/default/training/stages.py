"""The stages in their order, and what they share: preset, folder, device and time."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from . import config, export, figures, flow, judge, state, text, vae

STAGES = {"vae": vae.train, "text": text.train, "judge": judge.train, "transformer": flow.train, "distil": flow.distil}
BESIDE = ("text", "judge")  # on a GPU these train while the autoencoder does: neither fills it
RESERVE = 0.12  # part of a piece's time that is kept for exporting and judging
PART_BYTES = 15 * 2**20  # largest file that is written beside a model
log = logging.getLogger(__name__)


@dataclass
class Run:
    """One piece of training."""

    name: str
    work: Path
    device: torch.device
    plan_s: float  # planned for all pieces together
    deadline_s: float  # monotonic: when this piece has to be over
    reserve_s: float  # of it, for exporting and judging
    compile: bool = False
    keep: Callable = lambda: None  # called when the transformer's state has been written

    @property
    def preset(self):
        """What is trained, and how."""
        return config.PRESETS[self.name]

    def clock(self, stage, training):
        """The stage's time, or its steps where the preset counts these."""
        return state.Clock(training, self.plan_s * self.preset.shares[stage], self.preset.steps.get(stage), self.deadline_s - self.reserve_s)


def run_from(wanted):
    """A run as the command line describes it."""
    preset = config.PRESETS[wanted.preset]
    minutes = wanted.minutes or wanted.plan or preset.minutes
    plan = wanted.plan or (minutes if wanted.device.startswith("cuda") else preset.minutes)
    deadline_s = wanted.deadline or time.monotonic() + 60 * minutes
    wanted.work.mkdir(parents=True, exist_ok=True)
    if wanted.device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cuda.enable_cudnn_sdp(False)  # compiles a kernel for every shape, at run time
    return Run(wanted.preset, wanted.work, torch.device(wanted.device), 60 * plan, deadline_s, RESERVE * 60 * minutes, wanted.compile)


def train(run, wanted):
    """Every stage that is wanted, then an export and its judgement in `wanted.out`."""
    names = wanted.stage or [name for name in STAGES if name != "distil"]
    alone = run.device.type != "cuda" or len(names) == 1
    beside = {} if alone else {name: start_beside(run, name) for name in names if name in BESIDE}
    if wanted.parts:
        run.keep = lambda: export_parts(run, wanted, "transformer")
    for name in names:
        if name in beside:
            continue
        if name == "transformer" and "text" in beside:
            wait_for(beside, "text")
        log.info("stage %s on %s", name, run.device)
        STAGES[name](run)
    for name in list(beside):
        wait_for(beside, name)
    if all((run.work / f"{name}.pt").exists() for name in ("vae", "text", "transformer", "statistics")):
        finish(run, wanted, "twin" if "distil" in names else "transformer")


def start_beside(run, name):
    """Trains one stage in a process of its own, until the same moment."""
    words = ["stage", name, "--preset", run.name, "--work", run.work, "--device", run.device, "--plan", run.plan_s / 60]
    return subprocess.Popen([sys.executable, "-m", "training", *map(str, words), "--deadline", str(run.deadline_s)])


def wait_for(beside, name):
    """Waits for a stage in another process. Without encoders there is no model; without a reader only its judgement is missing."""
    status = beside.pop(name).wait()
    if status != 0 and name == "text":
        raise RuntimeError(f"the stage {name} failed in its own process (status {status}): see the log above")
    if status != 0:
        log.error("the stage %s failed in its own process (status %d): the model will not be judged", name, status)


def finish(run, wanted, network):
    """Exports and judges what there is."""
    model = export_parts(run, wanted, network) if wanted.parts else wanted.out / "model"
    if not wanted.parts:
        log.info("exported %.1f MB", export.export(run, model, network) / 1e6)
    if not run.preset.world.simple and judge.is_there(run):
        judge.write_weights(run, wanted.out / "reader.safetensors")
    if judge.is_there(run):
        figures.report(run, model, wanted.out, steps=flow.FEW_STEPS if network == "twin" else None)


def export_parts(run, wanted, network):
    """Exports into the work folder, and the export into `wanted.out` as a few files; returns its folder."""
    model = run.work / "model"
    log.info("exported %.1f MB", export.export(run, model, network) / 1e6)
    write_parts(model, wanted.out)
    return model


def write_parts(model, out):
    """The model as `model.tar.0`, `model.tar.1` and so on, none too large to be fetched: `cat model.tar.? | tar x` joins them."""
    archive = out.resolve() / "model.tar"
    subprocess.run(["tar", "cf", archive, "-C", model.parent, model.name], check=True)
    whole = archive.read_bytes()
    archive.unlink()
    for number, first in enumerate(range(0, len(whole), PART_BYTES)):
        (out / f"model.tar.{number}").write_bytes(whole[first : first + PART_BYTES])
