"""Trains the denoising transformer by flow matching on pooled latents, with the text encoders frozen; then, if wanted, a twin
of few steps from it.

The network is given (1 - sigma) * clip + sigma * noise and learns noise - clip, the direction that the pipelines' Euler
scheduler follows from sigma 1 to 0. Most of the time goes to small frames, which are cheap; then large ones join. A share of the
steps trains single frames, as the released model was trained on pictures first: many more subjects are seen in the same time.
"""

import logging
import random

import torch
from diffusers import HunyuanVideoTransformer3DModel

from . import config, muon, state, text, vae
from .pool import Pool

ADAM_SHARE = 0.27  # AdamW's peak rate as a part of Muon's
DECAY_STEEPNESS = 1.15  # the rates are at their peak for the first eighth, then fall to zero in a straight line
LARGE_FRAMES_CHANCE = 0.75  # of a step, once large frames have joined
PICTURES_FOR_A_CLIP = 4  # first frames that cost a step about as much as one whole clip, with their captions
FILL_PART = 0.1  # of the stage's time, for the first clips of each frame size
DISTIL_RATE = 0.25  # of the peak rates
FEW_STEPS, TEACHER_STEPS = 6, 4  # steps of the twin, and the teacher's steps in each of these
log = logging.getLogger(__name__)


def build(preset):
    """The transformer; modulation and output start at zero, so that every block begins as the identity."""
    model = HunyuanVideoTransformer3DModel(**config.transformer(preset))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            modulates = (".norm" in name or name.startswith("norm_out")) and ".linear." in name
            if modulates or name.startswith("proj_out"):
                parameter.zero_()
    return model


def optimizers(model, rate):
    """Muon for the matrices inside the network, AdamW for its edges and vectors."""
    edges = ("x_embedder", "proj_out", "context_embedder.proj_in", "time_text_embed")
    return muon.optimizers(
        model.named_parameters(), rate, ADAM_SHARE * rate,
        lambda name, p: p.ndim == 2 and not (name.startswith(edges) or "context_embedder.time" in name),
    )  # fmt: skip


def shifted(sigmas):
    """The pipelines' timestep shift."""
    return config.FLOW_SHIFT * sigmas / (1 + (config.FLOW_SHIFT - 1) * sigmas)


def sample_sigmas(count, generator):
    """Half uniform, shifted as in sampling; half logit-normal around the middle, where structure is decided."""
    device = generator.device
    # One value from each of `count` equal slices: the loss then varies less from batch to batch.
    uniform = (torch.randperm(count, generator=generator, device=device) + torch.rand(count, generator=generator, device=device)) / count
    normal = torch.sigmoid(torch.special.ndtri(uniform.clamp(1e-4, 1 - 1e-4)))
    return torch.where(torch.rand(count, generator=generator, device=device) < 0.5, shifted(uniform), normal)


class Batches:
    """Steps' worth of clips of either frame size, normalised, with noise."""

    def __init__(self, run, seed, clock, sides):
        self.run = run
        parts = vae.averaged(run), text.trained(run)
        self.pools = {side: Pool(run, side, *parts, seed=side + seed) for side in sides}
        for number, (side, pool) in enumerate(self.pools.items(), 1):
            kept = None if run.device.type == "cuda" else run.work / f"pool{side}.pt"  # a GPU draws faster than a disk writes
            pool.fill(clock, FILL_PART * number, kept)
        if not (run.work / "statistics.pt").exists():
            mean, std = self.pools[sides[0]].statistics()
            state.save(run.work / "statistics.pt", mean=mean.cpu(), std=std.cpu())
        saved = state.load(run.work / "statistics.pt")
        self.mean, self.std = (saved[name].view(1, -1, 1, 1, 1).to(run.device) for name in ("mean", "std"))
        self.chooser, self.generator = random.Random(seed), torch.Generator(run.device).manual_seed(seed)

    def next(self, side, step):
        """Normalised clips, noise, the conditions as the transformer's arguments, and each cell's weight."""
        preset, pool, device = self.run.preset, self.pools[side], self.run.device
        if step % preset.refill_every == 0 and step:
            pool.refill(preset.fresh)
        pictures = self.chooser.random() < preset.picture_share
        count = preset.batches[side] * (PICTURES_FOR_A_CLIP if pictures else 1)
        latents, states, mask, pooled, weights = pool.batch(count, self.generator)
        if pictures:
            latents, weights = latents[:, :, :1], weights[:, :, :1]
        clips = (latents - self.mean) / self.std
        noise = torch.randn(clips.shape, generator=self.generator, device=device)
        usual = torch.rand(count, generator=self.generator, device=device) < 0.7
        other = 1 + 9 * torch.rand(count, generator=self.generator, device=device)
        guidance = torch.where(usual, torch.full_like(other, config.GUIDANCE), other) * 1000
        given = dict(encoder_hidden_states=states, encoder_attention_mask=mask, pooled_projections=pooled, guidance=guidance)
        return clips, noise, given, weights

    def side(self, part):
        """The frame size of the next step, for the part of the stage that is done."""
        small, large = min(self.pools), max(self.pools)
        joined = part > self.run.preset.small_share
        return large if joined and self.chooser.random() < LARGE_FRAMES_CHANCE else small


def _velocity(model, run, noisy, sigmas, given):
    with torch.autocast(run.device.type, torch.bfloat16):
        return model(hidden_states=noisy, timestep=sigmas * 1000, **given, return_dict=False)[0].float()


def _wide(sigmas):
    return sigmas.view(-1, 1, 1, 1, 1)


def train(run):
    """Trains within the stage's time, resuming from `transformer.pt`."""
    torch.manual_seed(2)
    model = build(run.preset).to(run.device)
    if run.compile:
        model.compile_repeated_blocks()
    training = state.Training(model, optimizers(model, run.preset.muon_rate), run.preset.average_decay, run.work / "transformer.pt").resume()
    clock = run.clock("transformer", training)
    if clock.over and training.step:
        return
    batches = Batches(run, training.step + 3, clock, run.preset.sides)
    while not clock.over:
        clips, noise, given, weights = batches.next(batches.side(clock.part), training.step)
        sigmas = sample_sigmas(len(clips), batches.generator)
        noisy = (1 - _wide(sigmas)) * clips + _wide(sigmas) * noise
        flow = _velocity(model, run, noisy, sigmas, given)
        loss = (weights * (flow - (noise - clips)).square()).mean() / 2
        training.update(loss, min(1.0, (training.step + 1) / 60, DECAY_STEEPNESS * (1 - clock.part)))
        if training.report("transformer", clock):
            run.keep()
    training.save(clock)
    log.info("transformer: %d steps", training.step)


def distil(run):
    """Trains a twin that needs `FEW_STEPS` steps, from the trained transformer, resuming from `twin.pt`.

    Progressive distillation in one go: the teacher goes from one of the twin's sigmas to the next in `TEACHER_STEPS` steps,
    and the twin learns the straight way to where the teacher arrives.
    """
    torch.manual_seed(4)
    teacher, twin = averaged(run), averaged(run).requires_grad_(True).train()
    training = state.Training(twin, optimizers(twin, DISTIL_RATE * run.preset.muon_rate), 0.995, run.work / "twin.pt").resume()
    clock = run.clock("distil", training)
    if clock.over and training.step:
        return
    batches = Batches(run, training.step + 5, clock, run.preset.sides[-1:])
    fine = shifted(torch.linspace(1, 0, FEW_STEPS * TEACHER_STEPS + 1, device=run.device))
    while not clock.over:
        clips, noise, given, weights = batches.next(max(batches.pools), training.step)
        step = torch.randint(FEW_STEPS, (len(clips),), generator=batches.generator, device=run.device) * TEACHER_STEPS
        start, end = fine[step], fine[step + TEACHER_STEPS]
        noisy = (1 - _wide(start)) * clips + _wide(start) * noise
        with torch.no_grad():
            reached = noisy
            for part in range(TEACHER_STEPS):
                here, there = fine[step + part], fine[step + part + 1]
                reached = reached - _wide(here - there) * _velocity(teacher, run, reached, here, given)
        wanted = (noisy - reached) / _wide(start - end)
        loss = (weights * (_velocity(twin, run, noisy, start, given) - wanted).square()).mean() / 2
        training.update(loss, min(1.0, (training.step + 1) / 60, DECAY_STEEPNESS * (1 - clock.part)))
        training.report("twin", clock)
    training.save(clock)
    log.info("twin: %d steps of training", training.step)


def averaged(run, name="transformer"):
    """The averaged transformer, or `twin`, of the last saved state."""
    return state.averaged(run.work / f"{name}.pt", build(run.preset).to(run.device))
