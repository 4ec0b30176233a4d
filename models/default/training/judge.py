"""Reads from the pixels what a clip shows: a small convolutional network that has seen nothing but drawn clips.

It reads every property of a scene at 64 pixels, whatever the size of the clip. Noise, blur and coarser pixels in training
keep it from leaning on details that an autoencoder does not reproduce.
"""

import logging
import random

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from . import muon, state
from .draw import FRAMES, Painter
from .match import Matcher
from .world import FIELDS, Scene, sample

SIDE = 64
PEAK_RATE = 2e-3
READ = {  # what is reported, and the fields that must all be right for it
    "subject": ("subject",), "color": ("color",), "motion": ("motion", "direction"), "place": ("place",), "camera": ("camera",),
    "light": ("light",), "second": ("second",), "size": ("size",),
}  # fmt: skip
TARGETS = ("subject", "color", "motion", "place", "camera")
log = logging.getLogger(__name__)


class Reader(nn.Module):
    """Five convolutions over space and time, then one linear head for each field."""

    def __init__(self, width):
        super().__init__()
        sizes = [(5, width, (1, 5, 5), (1, 2, 2)), (width, 2 * width, (3, 3, 3), (1, 2, 2)), (2 * width, 4 * width, (3, 3, 3), (2, 2, 2)),
                 (4 * width, 4 * width, (3, 3, 3), (1, 1, 1)), (4 * width, 4 * width, (3, 3, 3), (2, 2, 2))]  # fmt: skip
        layers = []
        for ins, outs, kernel, stride in sizes:
            padding = tuple(side // 2 for side in kernel)
            layers += [nn.Conv3d(ins, outs, kernel, stride, padding), nn.GroupNorm(4, outs), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Conv3d(4 * width, 2 * width, 1))
        cells = ((FRAMES + 1) // 2 + 1) // 2 * (SIDE // 16) ** 2
        self.inside = nn.Linear(2 * width * cells, 8 * width)
        self.heads = nn.ModuleDict({field: nn.Linear(8 * width, len(names)) for field, names in FIELDS.items()})

    def forward(self, clips):
        """Logits for each field from clips (B, 3, T, H, W) in 0..1."""
        if clips.shape[-1] != SIDE:
            clips = F.interpolate(clips, size=(clips.shape[2], SIDE, SIDE), mode="area")
        line = torch.linspace(-1, 1, SIDE, device=clips.device)
        where = torch.stack(torch.meshgrid(line, line, indexing="ij"))[None, :, None].expand(len(clips), -1, clips.shape[2], -1, -1)
        inside = F.silu(self.inside(self.layers(torch.cat([clips * 2 - 1, where], 1)).flatten(1)))
        return {field: head(inside) for field, head in self.heads.items()}


def labels_of(scenes, device):
    """The number of each field's value, for each scene."""
    return {field: torch.tensor([names.index(getattr(scene, field)) for scene in scenes], device=device) for field, names in FIELDS.items()}


def roughened(clips, chooser):
    """Clips as an autoencoder might give them back: a little blur, noise, another brightness."""
    count = len(clips)
    if chooser.random() < 0.5:
        side = round(clips.shape[-1] * chooser.choice((0.5, 0.66, 0.8)))
        small = F.interpolate(clips, size=(clips.shape[2], side, side), mode="area")
        coarse = F.interpolate(small, size=clips.shape[2:], mode="trilinear")
        clips = torch.lerp(clips, coarse, torch.rand(count, 1, 1, 1, 1, device=clips.device))
    noise = 0.06 * torch.rand(count, 1, 1, 1, 1, device=clips.device) * torch.randn_like(clips)
    shade = 1 + 0.16 * (torch.rand(count, 3, 1, 1, 1, device=clips.device) - 0.5)
    return (clips * shade + noise).clamp(0, 1)


def train(run):
    """Trains the reader within the stage's time, resuming from `judge.pt`. A simple world is read without learning."""
    if run.preset.world.simple:
        return
    torch.manual_seed(3)
    preset = run.preset
    reader = Reader(preset.reader_width).to(run.device)
    inside = lambda name, p: p.ndim > 1 and not name.startswith(("heads", "layers.0"))  # noqa: E731
    pair = muon.optimizers(reader.named_parameters(), PEAK_RATE, PEAK_RATE / 2, inside)
    training = state.Training(reader, pair, 0.995, run.work / "judge.pt").resume()
    chooser, clock = random.Random(training.step + 7), run.clock("judge", training)
    painters = [Painter(side, run.device, preset.world) for side in preset.sides]
    while not clock.over:
        scenes = [sample(chooser, preset.world) for _ in range(preset.reader_batch)]
        clips = chooser.choice(painters).clips(scenes, chooser)[0]
        labels = labels_of(scenes, run.device)
        with torch.autocast(run.device.type, torch.bfloat16):
            logits = reader(roughened(clips, chooser))
        loss = sum(F.cross_entropy(logits[field].float(), labels[field]) for field in FIELDS)
        training.update(loss, min(1.0, (training.step + 1) / 50, max(0.02, 1.5 * (1 - clock.part))))
        training.report("judge", clock)
    training.save(clock)
    log.info("judge: %d steps, on unseen drawn clips: %s", training.step, on_drawn_clips(run, reader_of(run), min(600, 10 * preset.judged)))


def trained(run, weights=None):
    """The averaged reader of the last saved state, or the one in a file that `write_weights` wrote."""
    reader = Reader(run.preset.reader_width).to(run.device)
    if weights is None:
        return state.averaged(run.work / "judge.pt", reader)
    reader.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    return reader.eval().requires_grad_(False)


def write_weights(run, path):
    """The reader in half precision, a small file."""
    save_file({name: value.half().contiguous().cpu() for name, value in trained(run).state_dict().items()}, path)


def is_there(run):
    """Whether clips can be judged: without learning, or with a trained reader."""
    return run.preset.world.simple or (run.work / "judge.pt").exists()


def reader_of(run, weights=None):
    """A function that gives the scenes which clips (B, 3, T, H, W) in 0..1 show."""
    if run.preset.world.simple:
        matcher = Matcher(run.preset.side, run.preset.world, run.device)
        return lambda clips: [matcher.read(clip) for clip in clips]
    network = trained(run, weights)
    return lambda clips: _read(network, clips)


@torch.no_grad()
def _read(network, clips):
    numbers = {field: logits.argmax(1).tolist() for field, logits in network(clips).items()}
    return [Scene(**{field: names[numbers[field][place]] for field, names in FIELDS.items()}) for place in range(len(clips))]


def score(pairs):
    """Share of (scene, reading) pairs that agree in each property, in the five that count, and in all."""
    agree = {name: [all(getattr(a, f) == getattr(b, f) for f in fields) for a, b in pairs] for name, fields in READ.items()}
    agree["five"] = [all(agree[name][place] for name in TARGETS) for place in range(len(pairs))]
    agree["all"] = [all(agree[name][place] for name in READ) for place in range(len(pairs))]
    return {name: floor(sum(values) / max(1, len(values))) for name, values in agree.items()}


def floor(value):
    """Three decimals, never rounded up."""
    return int(value * 1000 + 1e-9) / 1000


def drawn(run, count, chooser, batch=20):
    """Unseen drawn clips, in batches of (scenes, clips)."""
    painter = Painter(run.preset.side, run.device, run.preset.world)
    for first in range(0, count, batch):
        scenes = [sample(chooser, run.preset.world, held_out=True) for _ in range(min(batch, count - first))]
        yield scenes, painter.clips(scenes, chooser)[0]


def on_drawn_clips(run, reader, count):
    """The reader's scores on unseen drawn clips."""
    return score([pair for scenes, clips in drawn(run, count, random.Random(19)) for pair in zip(scenes, reader(clips))])
