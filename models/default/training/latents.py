"""Encodes drawn clips once, in files that the transformer's training reads while more are being made."""

import logging
import random

import torch

from . import checkpoint, config
from .draw import all_scenes, draw, is_held_out

STATISTICS = "statistics.pt"

log = logging.getLogger(__name__)


def cache(folder, vae, device):
    """Writes the missing files `folder/latents/NNNN.pt`; each holds latents (N, C, T, H, W) and scene numbers (N)."""
    target = folder / "latents"
    target.mkdir(exist_ok=True)
    scenes = all_scenes()
    trained = [number for number, scene in enumerate(scenes) if not is_held_out(scene)]
    for shard in range(config.LATENT_SHARDS):
        path = target / f"{shard:04}.pt"
        if path.exists():
            continue
        chooser, generator = random.Random(shard), torch.Generator().manual_seed(shard)
        numbers = [chooser.choice(trained) for _ in range(config.LATENT_SHARD)]
        encoded = []
        for first in range(0, len(numbers), 10):
            group = numbers[first : first + 10]
            clips = torch.stack([draw(scenes[n], generator, config.FRAMES, config.HEIGHT, config.WIDTH)[0] for n in group])
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                encoded.append(vae.encode(clips.to(device) * 2 - 1).latent_dist.mode().half().cpu())
        checkpoint.save(path, latents=torch.cat(encoded), scenes=torch.tensor(numbers))
        log.info("latents: %d of %d files", shard + 1, config.LATENT_SHARDS)


class Cached:
    """The cached clips, normalised to mean zero and unit variance for each channel; grows while files are added."""

    def __init__(self, folder):
        self.folder = folder / "latents"
        self.parts = []
        self.refresh()

    def refresh(self):
        """Reads the files that came since the last look."""
        paths = sorted(self.folder.glob("*.pt"))
        if len(paths) > len(self.parts):
            self.parts = [torch.load(path) for path in paths]
            self.latents = torch.cat([part["latents"] for part in self.parts])
            self.scenes = torch.cat([part["scenes"] for part in self.parts])

    def __len__(self):
        return len(self.latents)


def statistics(folder):
    """Mean and standard deviation of each latent channel, each (C): as recorded by an export, else over the first file."""
    if recorded := checkpoint.load(folder / STATISTICS):
        return recorded["mean"], recorded["std"]
    latents = torch.load(folder / "latents" / "0000.pt")["latents"].float()
    return latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
