"""Training state on disk, the time that a stage may take, and running averages.

States are written aside and renamed, so that a stop at any moment leaves one to resume from.
"""

import logging
import os
import time

import torch

SAVE_EVERY_S = 90.0
log = logging.getLogger(__name__)


def save(path, **state):
    """Writes `state` to `path` in one step."""
    torch.save(state, f"{path}.part")
    os.replace(f"{path}.part", path)


def load(path):
    """The saved state, or None when there is none yet."""
    return torch.load(path, map_location="cpu", weights_only=False) if os.path.exists(path) else None


class Clock:
    """How far a stage is, of its planned steps or else of its planned seconds, over all the pieces in which it runs."""

    def __init__(self, training, planned_s, planned_steps, end_s):
        self.training, self.planned_s, self.planned_steps, self.end_s = training, planned_s, planned_steps, end_s
        self.started_s = time.monotonic() - training.spent_s
        self.saved_s = self.logged_s = time.monotonic()

    @property
    def spent_s(self):
        """Seconds spent on the stage so far."""
        return time.monotonic() - self.started_s

    @property
    def part(self):
        """The part of the stage that is done, 0 to 1; learning rates follow it."""
        done = self.training.step / self.planned_steps if self.planned_steps else self.spent_s / max(self.planned_s, 1e-6)
        return min(1.0, done)

    @property
    def over(self):
        """Whether the stage is done or this piece has to end."""
        return self.part >= 1 or time.monotonic() >= self.end_s

    def save_is_due(self):
        """Whether it is time to save; true at most once in `SAVE_EVERY_S`."""
        due = time.monotonic() - self.saved_s > SAVE_EVERY_S
        if due:
            self.saved_s = time.monotonic()
        return due

    def log_is_due(self, seconds=10.0):
        """Whether it is time for a line in the log."""
        due = time.monotonic() - self.logged_s > seconds
        if due:
            self.logged_s = time.monotonic()
        return due


class Average:
    """A running average of a module's parameters; it is what gets exported and judged."""

    def __init__(self, module, decay):
        self.decay, self.updates = decay, 0
        self.values = [p.detach().float().clone() for p in module.parameters()]

    @torch.no_grad()
    def update(self, module):
        """Moves the average towards the module; faster while there have been few updates."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.values, [p.detach() for p in module.parameters()], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module):
        """Puts the average into `module`."""
        for value, parameter in zip(self.values, module.parameters()):
            parameter.copy_(value)


class Training:
    """A module, its running average and its optimizers as one thing that steps, saves and resumes."""

    def __init__(self, module, pair, decay, path):
        self.module, self.pair, self.path = module, pair, path
        self.average = Average(module, decay)
        self.step, self.spent_s, self.losses = 0, 0.0, []

    def resume(self):
        """Goes on from the saved state, if there is one."""
        if saved := load(self.path):
            device = next(self.module.parameters()).device
            self.module.load_state_dict(saved["module"])
            self.average.values = [value.to(device) for value in saved["average"]]
            self.average.updates = saved["updates"]
            for optimizer, state in zip(self.pair, saved["optimizers"]):
                optimizer.load_state_dict(state)
            self.step, self.spent_s = saved["step"], saved["spent_s"]
        return self

    def save(self, clock, **more):
        """Writes the state to resume from."""
        optimizers = [optimizer.state_dict() for optimizer in self.pair]
        save(
            self.path, module=self.module.state_dict(), average=self.average.values, updates=self.average.updates,
            optimizers=optimizers, step=self.step, spent_s=clock.spent_s, **more,
        )  # fmt: skip

    def update(self, loss, factor):
        """One step of the optimizers with `factor` of the peak rates, and of the average."""
        for optimizer in self.pair:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for optimizer in self.pair:
            optimizer.step()
            optimizer.zero_grad()
        self.average.update(self.module)
        self.losses.append(loss.detach())
        self.step += 1

    def report(self, name, clock):
        """A line in the log now and then, and the state in the file; returns whether it was written."""
        if clock.log_is_due():
            mean = float(torch.stack(self.losses).mean())
            log.info("%s step %d loss %.4f, %.0f s, %.0f %% done", name, self.step, mean, clock.spent_s, 100 * clock.part)
            self.losses = []
        due = clock.save_is_due()
        if due:
            self.save(clock)
        return due


def averaged(path, module):
    """`module` with the averaged weights of a saved state, for use only."""
    saved = load(path)
    if saved is None:
        raise FileNotFoundError(f"{path} is missing: run the stage that writes it first")
    with torch.no_grad():
        for value, parameter in zip(saved["average"], module.parameters()):
            parameter.copy_(value)
    return module.eval().requires_grad_(False)
