"""Trains the causal video autoencoder on crops around the moving subject.

Subjects are a small part of the pixels, so their surroundings weigh more in the loss. A quarter of the steps decode only
the end of a clip: diffusers and the fleet decode long clips in tiles of a few latent frames, whose first latent frame
then stands for one frame instead of four. At the end the encoder is frozen, as latents may be cached by then; where the training
starts from an export whose transformer goes on too, it is frozen from the beginning, so that the latents keep their meaning.
"""

import logging
import random
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLHunyuanVideo

from . import config, muon, state
from .draw import FRAMES, Painter
from .world import sample

OBJECT_WEIGHT = 6.0
KL_WEIGHT = 1e-6
AVERAGE_DECAY = 0.995
log = logging.getLogger(__name__)


def build(preset):
    """The autoencoder; every residual branch starts at zero, so that it begins as a nearly linear map."""
    vae = AutoencoderKLHunyuanVideo(**config.vae(preset))
    vae.use_framewise_decoding = vae.use_framewise_encoding = False
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            if ".conv2.conv." in name or ".to_out.0." in name:
                parameter.zero_()
        vae.quant_conv.bias[preset.latent_channels :] = -5.0  # little noise on the latents at the start
        vae.quant_conv.weight[preset.latent_channels :] = 0.0
    return vae


class Crops:
    """Crops of freshly drawn clips around their subjects; large frames and small ones in turn."""

    def __init__(self, preset, device, seed):
        self.preset, self.chooser = preset, random.Random(seed)
        self.painters = [Painter(side, device, preset.world) for side in preset.sides]

    def next(self, whole=False):
        """Crops in -1..1 (B, 3, T, crop, crop) and the weight of each pixel (B, 1, T, crop, crop)."""
        preset, chooser = self.preset, self.chooser
        painter = chooser.choice(self.painters)
        crop, frames = (painter.side, FRAMES) if whole else (preset.vae_crop, preset.vae_frames)
        volume = preset.vae_batch * preset.vae_crop**2 * preset.vae_frames
        count = max(1, volume // (crop**2 * frames))
        clips, covered = painter.clips([sample(chooser, preset.world) for _ in range(count)], chooser)
        if crop < painter.side or frames < FRAMES:
            parts = [self._window(cover, crop, frames) for cover in covered]
            clips, covered = (torch.stack([clip[(slice(None), *part)] for clip, part in zip(of, parts)]) for of in (clips, covered))
        near = F.max_pool3d(covered, (3, 5, 5), stride=1, padding=(1, 2, 2))
        return clips * 2 - 1, 1 + OBJECT_WEIGHT * near

    def _window(self, cover, crop, frames):
        first = self.chooser.randint(0, FRAMES - frames)
        there = cover[0, first + self.chooser.randrange(frames)]
        slices = [slice(first, first + frames)]
        for axis in (1, 0):
            line = there.sum(axis)
            middle = float((line * torch.arange(len(line), device=line.device)).sum() / line.sum().clamp(min=1e-3))
            start = round(middle + self.chooser.uniform(-0.35, 0.35) * crop - crop / 2)
            start = min(max(start, 0), len(line) - crop)
            slices.append(slice(start, start + crop))
        return slices


def loss_of(vae, clips, weight, chooser):
    """Weighted reconstruction loss plus a slight pull of the latents towards a unit normal."""
    mean, log_variance = vae.quant_conv(vae.encoder(clips)).float().chunk(2, dim=1)
    log_variance = log_variance.clamp(-12, 4)
    latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    skip = 0
    if latents.shape[2] >= 3 and chooser.random() < 0.25:
        first = chooser.randint(1, latents.shape[2] - 2)
        latents, skip = latents[:, :, first:], 1
        clips, weight = clips[:, :, 4 * first + 1 :], weight[:, :, 4 * first + 1 :]
    decoded = vae.decoder(vae.post_quant_conv(latents))[:, :, skip:].float()
    error = decoded - clips
    reconstruction = (weight * ((error * error + 1e-4).sqrt() + 2 * error * error)).mean() / weight.mean()
    kl = 0.5 * (mean * mean + log_variance.exp() - 1 - log_variance).mean()
    return reconstruction + KL_WEIGHT * kl


def optimizers(vae, rate):
    """Muon for the inner convolutions, AdamW for the rest."""
    return muon.optimizers(
        vae.named_parameters(), rate, 0.3 * rate, lambda name, p: p.ndim == 5 and p.shape[2] == 3 and "conv_in" not in name and p.shape[0] > 3
    )


def quickest(run, vae, crops):
    """The arithmetic in which a step is quickest: (bfloat16 or TF32, memory format). On GPUs it depends on cuDNN's choices."""
    formats = (torch.contiguous_format, torch.channels_last_3d)
    if run.device.type != "cuda":
        return True, formats[0]
    clips, weight = crops.next()
    times = {}
    for way in ((half, layout) for half in (True, False) for layout in formats):
        vae.to(memory_format=way[1])
        for attempt in range(5):  # the first ones choose algorithms
            if attempt == 2:
                torch.cuda.synchronize()
                began = time.monotonic()
            with torch.autocast("cuda", torch.bfloat16, enabled=way[0]):
                loss = loss_of(vae, clips.contiguous(memory_format=way[1]), weight, random.Random(2))
            loss.backward()
            vae.zero_grad()
        torch.cuda.synchronize()
        times[way] = (time.monotonic() - began) / 3
    log.info("vae: seconds a step by (bfloat16, memory format): %s", {str(way): round(value, 4) for way, value in times.items()})
    return min(times, key=times.get)


def train(run):
    """Trains within the stage's time, resuming from `vae.pt`."""
    torch.manual_seed(0)
    if run.preset.encoder_part < 0 and not (run.work / "vae.pt").exists():
        raise ValueError(f"the preset {run.name} refines the decoder of an export: start with --from models/default")
    vae = build(run.preset).to(run.device)
    training = state.Training(vae, optimizers(vae, run.preset.vae_rate), AVERAGE_DECAY, run.work / "vae.pt").resume()
    crops = Crops(run.preset, run.device, training.step + 1)
    clock, frozen = run.clock("vae", training), False
    half, layout = quickest(run, vae, crops)
    vae.to(memory_format=layout)
    while not clock.over:
        if clock.part > run.preset.encoder_part and not frozen:
            frozen = True
            training.average.copy_to(vae)
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
        fall = 1.0 if run.preset.encoder_part < 0 else 2.0  # a decoder that is only refined needs no long time at the full rate
        rate = min(1.0, (training.step + 1) / 50, max(0.03, fall * (1 - clock.part)))
        clips, weight = crops.next(whole=clock.part > 0.85)
        with torch.autocast(run.device.type, torch.bfloat16, enabled=half):
            loss = loss_of(vae, clips.contiguous(memory_format=layout), weight, crops.chooser)
        training.update(loss, rate)
        training.report("vae", clock)
    training.save(clock)
    log.info("vae: %d steps, held-out PSNR %.2f dB", training.step, held_out_psnr(run, averaged(run)))


def averaged(run):
    """The averaged autoencoder of the last saved state."""
    return state.averaged(run.work / "vae.pt", build(run.preset).to(run.device))


@torch.no_grad()
def held_out_psnr(run, vae, clips=16):
    """Mean over unseen clips of the PSNR in dB of decode(encode(clip)), whole clips, without noise on the latents."""
    chooser, values = random.Random(5), []
    painter = Painter(run.preset.side, run.device, run.preset.world)
    for _ in range(min(clips, 4 * run.preset.judged)):
        clip = painter.clips([sample(chooser, run.preset.world, held_out=True)], chooser)[0]
        decoded = vae.decode(vae.encode(clip * 2 - 1).latent_dist.mode()).sample
        values.append(-10 * float(((decoded / 2 + 0.5).clamp(0, 1) - clip).square().mean().log10()))
    return sum(values) / len(values)
