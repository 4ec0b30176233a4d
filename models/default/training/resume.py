"""Rebuilds a work folder from an export, so that training goes on where the exported weights stand.

Optimisers start afresh and the weights come back from half precision; neither matters after a few dozen steps. The
export's autoencoder already gives normalised latents, so their statistics are exactly mean 0 and deviation 1.
"""

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoTransformer3DModel
from transformers import CLIPTextModel, LlamaModel

from . import checkpoint, config, latents, text, transformer, vae


def _average_of(module):
    return checkpoint.Average(module, config.AVERAGE_DECAY).state()


def from_export(model_dir, folder):
    """Writes the states of every finished stage into `folder`; refuses to replace any that is there."""
    model_dir, folder = Path(model_dir), Path(folder)
    present = [name for name in ("vae.pt", "text.pt", "transformer.pt") if (folder / name).exists()]
    if present:
        raise FileExistsError(f"{folder} already holds {', '.join(present)}: start from an export in an empty work folder")
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(model_dir / name, folder / name, dirs_exist_ok=True)

    autoencoder = AutoencoderKLHunyuanVideo.from_pretrained(model_dir / "vae", torch_dtype=torch.float32)
    checkpoint.save(
        folder / "vae.pt", vae=autoencoder.state_dict(), average=_average_of(autoencoder),
        optimizers=[optimizer.state_dict() for optimizer in vae.optimizers(vae.build())],
        stage=len(config.VAE_STAGES), step=0, spent_s=0.0,
    )
    checkpoint.save(folder / latents.STATISTICS, mean=torch.zeros(config.LATENT_CHANNELS), std=torch.ones(config.LATENT_CHANNELS))

    encoders = text.Encoders(folder)
    llama = LlamaModel.from_pretrained(model_dir / "text_encoder", torch_dtype=torch.float32).state_dict()
    encoders.llama.load_state_dict({name: llama[name] for name in encoders.llama.state_dict()})
    encoders.clip.load_state_dict(CLIPTextModel.from_pretrained(model_dir / "text_encoder_2", torch_dtype=torch.float32).state_dict())
    checkpoint.save(folder / "text.pt", encoders=encoders.state_dict(), step=config.TEXT_STEPS)

    model = HunyuanVideoTransformer3DModel.from_pretrained(model_dir / "transformer", torch_dtype=torch.float32)
    checkpoint.save(
        folder / "transformer.pt", model=model.state_dict(), average=_average_of(model),
        optimizers=[optimizer.state_dict() for optimizer in transformer.optimizers(model)], step=0, spent_s=0.0,
    )
