"""Clips with their captions, drawn, encoded and kept on the device; the oldest are replaced while the transformer trains."""

import logging
import random

import torch
import torch.nn.functional as F

from . import config, state, words
from .draw import FRAMES, Painter
from .world import DIRECTIONS, MOTIONS, SIZES, sample

ENCODED_AT_ONCE = 64  # clips
log = logging.getLogger(__name__)


class Pool:
    """`count` clips of one frame size, ready for the transformer.

    The loss weighs cells by where a subject of that motion and size is likely to be, taken from the average over all such
    clips and not from the clip at hand: weights that depended on what the network cannot know yet would pull the videos.
    """

    def __init__(self, run, side, vae, encoders, seed):
        preset = run.preset
        self.run, self.side, self.vae, self.encoders = run, side, vae, encoders
        self.chooser = random.Random(seed)
        self.painter = Painter(side, run.device, preset.world)
        self.count, self.next_place, self.filled = preset.pool[side], 0, 0
        cells = side // config.SPATIAL_RATIO
        self.shape = ((FRAMES - 1) // config.TEMPORAL_RATIO + 1, cells, cells)
        half = dict(dtype=torch.float16, device=run.device)
        self.latents = torch.zeros(self.count, preset.latent_channels, *self.shape, **half)
        self.states = torch.zeros(self.count, config.TEXT_TOKENS, preset.text_width, **half)
        self.pooled = torch.zeros(self.count, preset.text_width, **half)
        self.mask = torch.zeros(self.count, config.TEXT_TOKENS, dtype=torch.int64, device=run.device)
        self.group = torch.zeros(self.count, dtype=torch.int64, device=run.device)
        groups = len(MOTIONS) * len(DIRECTIONS) * len(SIZES) + 1  # the last one is for empty prompts
        self.covered = torch.zeros(groups, *self.shape, device=run.device)
        self.met = torch.zeros(groups, device=run.device)

    @torch.no_grad()
    def refill(self, count):
        """Draws `count` clips into the oldest places."""
        scenes = [sample(self.chooser, self.run.preset.world) for _ in range(count)]
        places = torch.arange(self.next_place, self.next_place + count, device=self.run.device) % self.count
        with torch.autocast(self.run.device.type, torch.bfloat16):
            clips, covered = self.painter.clips(scenes, self.chooser)
            for some, part in zip(places.split(ENCODED_AT_ONCE), clips.split(ENCODED_AT_ONCE)):
                self.latents[some] = self.vae.encode(part * 2 - 1).latent_dist.mode().half()
            empty = [self.chooser.random() < config.EMPTY_PROMPT_CHANCE for _ in scenes]
            prompts = ["" if none else words.write(scene, self.chooser, self.run.preset.world)[0] for scene, none in zip(scenes, empty)]
            states, mask, self.pooled[places] = (value.to(self.pooled.dtype) for value in self.encoders(prompts))
        self.states[places] = F.pad(states, (0, 0, 0, config.TEXT_TOKENS - states.shape[1]))
        self.mask[places] = F.pad(mask.long(), (0, config.TEXT_TOKENS - mask.shape[1]))
        groups = torch.tensor([len(self.met) - 1 if none else _group(scene) for scene, none in zip(scenes, empty)], device=self.run.device)
        self.group[places] = groups
        first = covered[:, :, :1].repeat(1, 1, config.TEMPORAL_RATIO - 1, 1, 1)  # the first latent frame is one frame
        cells = F.max_pool3d(torch.cat([first, covered], 2).float(), (config.TEMPORAL_RATIO, *(config.SPATIAL_RATIO,) * 2))
        self.covered.index_add_(0, groups, F.max_pool3d(cells, (1, 3, 3), stride=1, padding=(0, 1, 1))[:, 0])
        self.met.index_add_(0, groups, torch.ones(count, device=self.run.device))
        self.next_place = (self.next_place + count) % self.count
        self.filled = min(self.count, self.filled + count)

    def fill(self, clock, until_part, path=None):
        """Draws until the pool is full or that part of the stage's time is gone; keeps and reuses the clips at `path`."""
        saved = state.load(path) if path else None
        if saved:
            for name, value in saved["tensors"].items():
                getattr(self, name).copy_(value)
            self.next_place, self.filled = saved["next_place"], saved["filled"]
        least = min(self.count, self.run.preset.fresh)
        while self.filled < least or self.filled < self.count and clock.part < until_part and not clock.over:
            self.refill(min(self.run.preset.fresh, self.count - self.filled))
            if clock.log_is_due():
                log.info("pool of %d px: %d of %d clips, %.0f s", self.side, self.filled, self.count, clock.spent_s)
        if path and (not saved or saved["filled"] < self.filled):
            names = ("latents", "states", "pooled", "mask", "group", "covered", "met")
            tensors = {name: getattr(self, name).cpu() for name in names}
            state.save(path, tensors=tensors, next_place=self.next_place, filled=self.filled)

    def statistics(self):
        """Mean and standard deviation of each latent channel, each (C)."""
        some = self.latents[: min(self.filled, 512)].float()
        return some.mean((0, 2, 3, 4)), some.std((0, 2, 3, 4)).clamp(min=1e-3)

    def batch(self, count, generator):
        """Latents, states, mask, pooled vectors and each cell's weight (B, 1, T, H, W; mean about 2) of random clips."""
        chosen = torch.randint(self.filled, (count,), generator=generator, device=self.run.device)
        likely = (self.covered / self.met.clamp(min=1).view(-1, 1, 1, 1))[self.group[chosen]]
        weights = 1 + likely / likely.mean((1, 2, 3), keepdim=True).clamp(min=1e-3)
        return self.latents[chosen].float(), self.states[chosen].float(), self.mask[chosen], self.pooled[chosen].float(), weights[:, None]


def _group(scene):
    return (MOTIONS.index(scene.motion) * len(DIRECTIONS) + DIRECTIONS.index(scene.direction)) * len(SIZES) + SIZES.index(scene.size)
