"""Trains the denoising transformer by flow matching on cached latents, with the text encoders frozen.

The network is given (1 - sigma) * clip + sigma * noise and learns noise - clip, the direction that the pipelines'
Euler scheduler follows from sigma 1 to 0.
"""

import contextlib
import logging
import random
import time

import torch
from diffusers import HunyuanVideoTransformer3DModel
from diffusers.models.transformers import transformer_hunyuan_video

from . import captions, checkpoint, config, latents, muon, ranks, text
from .draw import all_scenes

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


def _plain_attention(query, key, value, attn_mask=None, **_):
    """Attention of (B, S, H, D) tensors by two matrix products: quicker backward on CPUs than the fused kernel."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    scores = scores.masked_fill(~attn_mask, -1e9)
    return (scores.float().softmax(-1).to(value.dtype) @ value).transpose(1, 2)


@contextlib.contextmanager
def quick_attention(device):
    """Replaces diffusers' attention while training on a CPU; the weights are the same."""
    original = transformer_hunyuan_video.dispatch_attention_fn
    if device.type == "cpu":
        transformer_hunyuan_video.dispatch_attention_fn = _plain_attention
    try:
        yield
    finally:
        transformer_hunyuan_video.dispatch_attention_fn = original


def sample_sigmas(count, generator):
    """Half uniform, shifted as in sampling; half logit-normal around the middle, where structure is decided."""
    uniform = torch.rand(count, generator=generator)
    shifted = config.FLOW_SHIFT * uniform / (1 + (config.FLOW_SHIFT - 1) * uniform)
    normal = torch.sigmoid(torch.randn(count, generator=generator))
    return torch.where(torch.rand(count, generator=generator) < 0.5, shifted, normal)


class Batches:
    """Draws random clips from the cache, each with a freshly worded caption."""

    def __init__(self, folder, encoders, seed, device):
        self.cached = latents.Cached(folder)
        mean, std = latents.statistics(folder)
        self.mean, self.std = (value.view(1, -1, 1, 1, 1).to(device) for value in (mean, std))
        self.encoders, self.device = encoders, device
        self.chooser, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)
        self.scenes = all_scenes()

    def next(self, count):
        """Arguments for the transformer (as a dict) and the target, both for one step."""
        chosen = torch.randint(len(self.cached), (count,), generator=self.generator)
        clips = (self.cached.latents[chosen].to(self.device).float() - self.mean) / self.std
        prompts = [
            "" if self.chooser.random() < config.EMPTY_PROMPT_CHANCE
            else captions.write(self.scenes[number], self.chooser)[0]
            for number in self.cached.scenes[chosen].tolist()
        ]
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
        return given, noise - clips


def train(folder, device):
    """Trains for `config.TRANSFORMER_STEPS`, resuming from `folder/transformer.pt`; returns the averaged transformer."""
    path = folder / "transformer.pt"
    torch.manual_seed(2)
    model = build().to(device)
    average = checkpoint.Average(model, config.AVERAGE_DECAY)
    edges = ("x_embedder", "proj_out", "context_embedder.proj_in", "time_text_embed")
    pair = muon.optimizers(
        model.named_parameters(), config.MUON_RATE, config.ADAM_RATE,
        lambda name, p: p.ndim == 2 and not (name.startswith(edges) or "context_embedder.time" in name),
    )
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
    with quick_attention(device):
        while step < config.TRANSFORMER_STEPS:
            muon.set_rate(pair, min(1.0, (step + 1) / 60, max(0.01, 1.6 * (1 - step / config.TRANSFORMER_STEPS))))
            given, target = batches.next(config.TRANSFORMER_BATCH)
            with torch.autocast(device.type, torch.bfloat16):
                flow = model(**given, return_dict=False)[0]
            loss = (flow.float() - target).square().mean()
            loss.backward()
            ranks.average_gradients(model.parameters())
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in pair:
                optimizer.step()
                optimizer.zero_grad()
            average.update(model)
            recent.append(float(loss.detach()))
            step += 1
            if step % 50 == 0 or step == config.TRANSFORMER_STEPS:
                batches.cached.refresh()
                if rank == 0:
                    spent_s = time.monotonic() - started
                    mean_loss = sum(recent) / len(recent)
                    log.info("transformer step %d loss %.4f, %d clips, %.0f s", step, mean_loss, len(batches.cached), spent_s)
                    states = [optimizer.state_dict() for optimizer in pair]
                    checkpoint.save(
                        path, model=model.state_dict(), average=average.state(), optimizers=states, step=step, spent_s=spent_s
                    )
                recent = []
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
