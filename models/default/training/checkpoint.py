"""Training state on disk: written aside and renamed, so that a stop at any moment leaves a state to resume from."""

import os

import torch


def save(path, **state):
    """Writes `state` to `path` in one step."""
    torch.save(state, f"{path}.part")
    os.replace(f"{path}.part", path)


def load(path):
    """The saved state, or None when there is none yet."""
    if not os.path.exists(path):
        return None
    return torch.load(path, map_location="cpu", weights_only=False)


class Average:
    """A running average of a module's parameters; it is what gets exported and judged."""

    def __init__(self, module, decay):
        self.decay = decay
        self.values = {name: p.detach().float().clone() for name, p in module.named_parameters()}
        self.updates = 0

    @torch.no_grad()
    def update(self, module):
        """Moves the average towards the module; faster while there have been few updates."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in module.named_parameters():
            self.values[name].lerp_(parameter.detach().float(), 1 - decay)

    def state(self):
        """What `restore` needs."""
        return {"values": self.values, "updates": self.updates}

    def restore(self, state, device):
        """Continues from a saved average."""
        self.values = {name: value.to(device) for name, value in state["values"].items()}
        self.updates = state["updates"]

    @torch.no_grad()
    def copy_to(self, module):
        """Puts the average into `module`."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.values[name])
