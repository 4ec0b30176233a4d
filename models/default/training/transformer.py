"""Trains the denoising transformer by flow matching on cached latents, with the text encoders frozen.

The network is given (1 - sigma) * clip + sigma * noise and learns noise - clip, the direction that the pipelines'
Euler scheduler follows from sigma 1 to 0.
"""

import logging
import random
import time

import torch
import torch.nn.functional as F
from diffusers import HunyuanVideoTransformer3DModel

from . import captions, checkpoint, config, latents, muon, ranks, text
from .draw import MOTIONS, SIZES, all_scenes, draw

log = logging.getLogger(__name__)


def build():
    """The transformer; modulation and output start at zero, so that every block begins as the identity."""
    model = HunyuanVideoTransformer3DModel(**config.TRANSFORMER)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            modulates = (".norm" in name or name.startswith("norm_out")) and ".linear." in name
            if modulates or name.startswith("proj_out"):
                parameter.zero_()
    return model


def sample_sigmas(count, generator):
    """Half uniform, shifted as in sampling; half logit-normal around the middle, where structure is decided."""
    # One value from each of `count` equal slices: the loss then varies less from batch to batch.
    uniform = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    shifted = config.FLOW_SHIFT * uniform / (1 + (config.FLOW_SHIFT - 1) * uniform)
    normal = torch.sigmoid(torch.special.ndtri(uniform.clamp(1e-4, 1 - 1e-4)))
    return torch.where(torch.rand(count, generator=generator) < 0.5, shifted, normal)


def object_weights(folder):
    """For each motion and size, how much every latent cell weighs in the loss: (motions, sizes, T, H, W), mean 2.

    Half of the weight lies where the object is likely to be. It is taken from the average over many clips, not from the
    clip at hand: weights that depended on what the network cannot know yet would pull the videos towards them.
    """
    path = folder / "object_weights.pt"
    if saved := checkpoint.load(path):
        return saved["weights"]
    chooser, generator = random.Random(31), torch.Generator().manual_seed(31)
    groups = {}
    for scene in all_scenes():
        groups.setdefault((scene.motion, scene.size), []).append(scene)
    likely = []
    for motion in MOTIONS:
        for size in SIZES:
            scenes = chooser.choices(groups[motion, size], k=24)
            covered = torch.stack([draw(scene, generator, config.FRAMES, config.HEIGHT, config.WIDTH)[1] for scene in scenes])
            first = covered[:, :, :1].repeat(1, 1, config.TEMPORAL_RATIO - 1, 1, 1)  # the first latent frame is one frame
            cells = F.max_pool3d(torch.cat([first, covered], 2), (config.TEMPORAL_RATIO, *(config.SPATIAL_RATIO,) * 2))
            likely.append(F.max_pool3d(cells, (1, 3, 3), stride=1, padding=(0, 1, 1)).mean((0, 1)))
    likely = torch.stack(likely).unflatten(0, (len(MOTIONS), len(SIZES)))
    weights = 1 + likely / likely.mean((2, 3, 4), keepdim=True)
    checkpoint.save(path, weights=weights)
    return weights


class Batches:
    """Draws random clips from the cache, each with a freshly worded caption."""

    def __init__(self, folder, encoders, seed, device):
        self.cached = latents.Cached(folder)
        mean, std = latents.statistics(folder)
        self.mean, self.std = (value.view(1, -1, 1, 1, 1).to(device) for value in (mean, std))
        self.encoders, self.device = encoders, device
        self.chooser, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)
        self.scenes = all_scenes()
        self.weights = object_weights(folder)

    def next(self, count):
        """Arguments for the transformer (as a dict), the target and each cell's weight, all for one step."""
        chosen = torch.randint(len(self.cached), (count,), generator=self.generator)
        clips = (self.cached.latents[chosen].to(self.device).float() - self.mean) / self.std
        prompts, weights = [], torch.full((count, 1, *clips.shape[2:]), 2.0)
        for place, scene in enumerate(self.scenes[number] for number in self.cached.scenes[chosen].tolist()):
            if self.chooser.random() < config.EMPTY_PROMPT_CHANCE:
                prompts.append("")
            else:
                prompts.append(captions.write(scene, self.chooser)[0])
                weights[place, 0] = self.weights[MOTIONS.index(scene.motion), list(SIZES).index(scene.size)]
        with torch.no_grad():
            states, mask, pooled = self.encoders(prompts)
        noise = torch.randn(clips.shape, generator=self.generator).to(self.device)
        sigmas = sample_sigmas(count, self.generator).to(self.device)
        wide = sigmas.view(-1, 1, 1, 1, 1)
        guidance = [config.GUIDANCE if self.chooser.random() < 0.7 else self.chooser.uniform(1, 10) for _ in range(count)]
        given = dict(
            hidden_states=(1 - wide) * clips + wide * noise,
            timestep=sigmas * 1000,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            pooled_projections=pooled,
            guidance=torch.tensor(guidance, device=self.device) * 1000,
        )
        return given, noise - clips, weights.to(self.device)


def optimizers(model):
    """Muon for the matrices inside the network, AdamW for its edges and vectors."""
    edges = ("x_embedder", "proj_out", "context_embedder.proj_in", "time_text_embed")
    return muon.optimizers(
        model.named_parameters(), config.MUON_RATE, config.ADAM_RATE,
        lambda name, p: p.ndim == 2 and not (name.startswith(edges) or "context_embedder.time" in name),
    )


def remaining(step, started, minutes):
    """The fraction of the training that is left: of the steps, or of the minutes where these end it sooner."""
    left = 1 - step / config.TRANSFORMER_STEPS
    return min(left, 1 - (time.monotonic() - started) / (60 * minutes)) if minutes else left


def save(path, model, average, pair, step, spent_s):
    """Writes the state to resume from."""
    states = [optimizer.state_dict() for optimizer in pair]
    checkpoint.save(path, model=model.state_dict(), average=average.state(), optimizers=states, step=step, spent_s=spent_s)


def train(folder, device, minutes=0.0):
    """Trains, resuming from `folder/transformer.pt`; returns the averaged transformer.

    It ends after `config.TRANSFORMER_STEPS` or after `minutes` (0: no limit), whichever comes first; learning rates reach
    zero just then.
    """
    path = folder / "transformer.pt"
    torch.manual_seed(2)
    model = build().to(device)
    average = checkpoint.Average(model, config.AVERAGE_DECAY)
    pair = optimizers(model)
    step, spent_s = 0, 0.0
    if saved := checkpoint.load(path):
        model.load_state_dict(saved["model"])
        average.restore(saved["average"], device)
        for optimizer, state in zip(pair, saved["optimizers"]):
            optimizer.load_state_dict(state)
        step, spent_s = saved["step"], saved["spent_s"]
    rank, count = ranks.start(device)
    batches = Batches(folder, text.train(folder, device), (step + 3) * count + rank, device)
    started = time.monotonic() - spent_s
    recent = []
    while True:
        if step % config.STEPS_ALONE == 0:
            ranks.average_parameters(model.parameters())
            left = ranks.agree(remaining(step, started, minutes), device)
            if left <= 0:
                break
        muon.set_rate(pair, min(1.0, (step + 1) / 60, config.DECAY_STEEPNESS * left))
        given, target, weights = batches.next(config.TRANSFORMER_BATCH)
        with torch.autocast(device.type, torch.bfloat16):
            flow = model(**given, return_dict=False)[0]
        loss = (weights * (flow.float() - target).square()).mean() / 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in pair:
            optimizer.step()
            optimizer.zero_grad()
        average.update(model)
        recent.append(float(loss.detach()))
        step += 1
        if step % 50 == 0:
            batches.cached.refresh()
            if rank == 0:
                spent_s = time.monotonic() - started
                mean_loss = sum(recent) / len(recent)
                log.info(
                    "transformer step %d loss %.4f, %d clips, %.0f s, %.3f left", step, mean_loss, len(batches.cached), spent_s, left
                )
                save(path, model, average, pair, step, spent_s)
            recent = []
    if rank == 0:
        save(path, model, average, pair, step, time.monotonic() - started)
    return averaged(folder, device)


def averaged(folder, device):
    """The averaged transformer of the last checkpoint."""
    saved = checkpoint.load(folder / "transformer.pt")
    if saved is None:
        raise FileNotFoundError(f"{folder / 'transformer.pt'} is missing: train the transformer first")
    model = build().to(device)
    average = checkpoint.Average(model, config.AVERAGE_DECAY)
    average.restore(saved["average"], device)
    average.copy_to(model)
    return model.eval()
