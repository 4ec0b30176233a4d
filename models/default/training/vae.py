"""Trains the causal video autoencoder on crops around the moving object.

Objects are a small part of the pixels, so their surroundings weigh more in the loss. A quarter of the steps decode only
the end of a clip: diffusers and the fleet decode long clips in tiles of a few latent frames, whose first latent frame
then stands for one frame instead of four.
"""

import logging
import random
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLHunyuanVideo

from . import checkpoint, config, muon
from .draw import all_scenes, draw, is_held_out

OBJECT_WEIGHT = 6.0
KL_WEIGHT = 1e-6
log = logging.getLogger(__name__)


def build():
    """The autoencoder; every residual branch starts at zero, so that it begins as a nearly linear map."""
    vae = AutoencoderKLHunyuanVideo(**config.VAE)
    vae.use_framewise_decoding = vae.use_framewise_encoding = False
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            if ".conv2.conv." in name or ".to_out.0." in name:
                parameter.zero_()
        vae.quant_conv.bias[config.LATENT_CHANNELS :] = -5.0  # little noise on the latents at the start
        vae.quant_conv.weight[config.LATENT_CHANNELS :] = 0.0
    return vae


def window_around_object(frames, crop, chooser):
    """A window for `draw`: some consecutive frames, and a square near where the object is in one of them."""

    def window(x, y):
        first = chooser.randint(0, len(x) - frames)
        frame = first + chooser.randint(0, frames - 1)
        spread = 0.35 * crop
        left, top = (
            min(max(round(float(centre[frame]) + chooser.uniform(-spread, spread) - crop / 2), 0), limit - crop)
            for centre, limit in ((x, config.WIDTH), (y, config.HEIGHT))
        )
        return slice(first, first + frames), slice(top, top + crop), slice(left, left + crop)

    return window


def batch_of(stage, scenes, chooser, generator, device):
    """Clips in -1..1 (B, 3, T, crop, crop) and the weight of each pixel (B, 1, T, crop, crop)."""
    window = window_around_object(stage.frames, stage.crop, chooser)
    drawn = [draw(chooser.choice(scenes), generator, config.FRAMES, config.HEIGHT, config.WIDTH, window) for _ in range(stage.batch)]
    clips, coverage = (torch.stack(parts).to(device) for parts in zip(*drawn))
    near = F.max_pool3d(coverage, (3, 5, 5), stride=1, padding=(1, 2, 2))
    return clips * 2 - 1, 1 + OBJECT_WEIGHT * near


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


@torch.no_grad()
def held_out_psnr(vae, device, clips=16):
    """Mean over unseen clips of the PSNR in dB of decode(encode(clip)), whole clips, without noise on the latents."""
    chooser, generator = random.Random(5), torch.Generator().manual_seed(5)
    scenes = [scene for scene in all_scenes() if is_held_out(scene)]
    values = []
    for _ in range(clips):
        clip = draw(chooser.choice(scenes), generator, config.FRAMES, config.HEIGHT, config.WIDTH)[0][None].to(device)
        decoded = vae.decode(vae.encode(clip * 2 - 1).latent_dist.mode()).sample
        values.append(-10 * float(((decoded / 2 + 0.5).clamp(0, 1) - clip).square().mean().log10()))
    return sum(values) / len(values)


def optimizers(vae):
    """Muon for the inner convolutions, AdamW for the rest; rates are set by the stages."""
    return muon.optimizers(
        vae.named_parameters(), 1.0, 0.3, lambda name, p: p.ndim == 5 and p.shape[2] == 3 and "conv_in" not in name and p.shape[0] > 3
    )


def train(folder, device):
    """Trains through all stages, resuming from `folder/vae.pt`; returns the averaged autoencoder."""
    path = folder / "vae.pt"
    vae = build().to(device)
    average = checkpoint.Average(vae, 0.995)
    pair = optimizers(vae)
    stage_no = step = 0
    spent_s = 0.0
    if saved := checkpoint.load(path):
        vae.load_state_dict(saved["vae"])
        average.restore(saved["average"], device)
        for optimizer, state in zip(pair, saved["optimizers"]):
            optimizer.load_state_dict(state)
        stage_no, step, spent_s = saved["stage"], saved["step"], saved["spent_s"]
    scenes = [scene for scene in all_scenes() if not is_held_out(scene)]
    chooser, generator = random.Random(step + 1), torch.Generator().manual_seed(step + 1)
    started = time.monotonic() - spent_s
    while stage_no < len(config.VAE_STAGES):
        stage = config.VAE_STAGES[stage_no]
        if stage.decoder_only and step == 0:
            average.copy_to(vae)
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(not stage.decoder_only)
        recent = []
        while step < stage.steps:
            warm_up = min(1.0, (step + 1) / 50)
            last_third = max(0.02, min(1.0, 3 * (1 - step / stage.steps)))
            muon.set_rate(pair, stage.learning_rate * warm_up * last_third)
            clips, weight = batch_of(stage, scenes, chooser, generator, device)
            with torch.autocast(device.type, torch.bfloat16):
                loss = loss_of(vae, clips, weight, chooser)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            for optimizer in pair:
                optimizer.step()
                optimizer.zero_grad()
            average.update(vae)
            recent.append(float(loss.detach()))
            step += 1
            if step % 100 == 0:
                log.info("vae stage %d step %d loss %.4f, %.0f s", stage_no, step, sum(recent) / len(recent), time.monotonic() - started)
                recent = []
            if step % 250 == 0 or step == stage.steps:
                spent_s = time.monotonic() - started
                states = [optimizer.state_dict() for optimizer in pair]
                checkpoint.save(path, vae=vae.state_dict(), average=average.state(), optimizers=states, stage=stage_no, step=step, spent_s=spent_s)
            if step % 500 == 0 or step == stage.steps:
                log.info("vae held-out PSNR %.2f dB", held_out_psnr(averaged(folder, device), device))
        stage_no, step = stage_no + 1, 0
    return averaged(folder, device)


def averaged(folder, device):
    """The averaged autoencoder of the last checkpoint."""
    saved = checkpoint.load(folder / "vae.pt")
    if saved is None:
        raise FileNotFoundError(f"{folder / 'vae.pt'} is missing: train the autoencoder first")
    vae = build().to(device)
    average = checkpoint.Average(vae, 0.995)
    average.restore(saved["average"], device)
    average.copy_to(vae)
    return vae.eval()
