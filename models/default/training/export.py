"""Writes the checkpoint in the diffusers layout, in half precision, aside and then renamed into place.

The latents' normalisation is folded into the 1x1 convolutions on both sides of them, so that the pipelines' single
scaling factor is 1 and nothing outside the usual files is needed.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from transformers import LlamaModel

from . import config, latents, text, transformer, vae

COMPONENTS = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "LlamaModel"],
    "text_encoder_2": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "transformer": ["diffusers", "HunyuanVideoTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLHunyuanVideo"],
}


@torch.no_grad()
def fold_normalisation(autoencoder, mean, std):
    """Makes the autoencoder's own latents the normalised ones; decode(encode(x)) stays what it was."""
    channels = len(mean)
    into, out_of = autoencoder.quant_conv, autoencoder.post_quant_conv
    into.weight[:channels] /= std.view(-1, 1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - mean) / std
    into.bias[channels:] -= 2 * std.log()
    out_of.bias += out_of.weight[:, :, 0, 0, 0] @ mean
    out_of.weight *= std.view(1, -1, 1, 1, 1)
    return autoencoder


def _full_llama(encoders):
    """The trained layers followed by layers of zeros: they are never used, and zeros compress to nothing."""
    full = LlamaModel(text.llama_config(encoders.llama_tokenizer, config.LLAMA_LAYERS))
    with torch.no_grad():
        for parameter in full.layers.parameters():
            parameter.zero_()
    full.load_state_dict(encoders.llama.state_dict(), strict=False)
    return full


def _plain_tokenizer_config(path, tokenizer_class):
    """Drops what only this version of transformers understands, and names the class that every version has."""
    settings = json.loads(path.read_text())
    for key in ("backend", "is_local", "local_files_only"):
        settings.pop(key, None)
    settings["tokenizer_class"] = tokenizer_class
    path.write_text(json.dumps(settings, indent=2) + "\n")


def _write(folder, target):
    device = torch.device("cpu")
    mean, std = latents.statistics(folder)
    fold_normalisation(vae.averaged(folder, device), mean, std).half().save_pretrained(target / "vae")
    transformer.averaged(folder, device).half().save_pretrained(target / "transformer")
    encoders = text.train(folder, device)
    _full_llama(encoders).half().save_pretrained(target / "text_encoder")
    encoders.clip.half().save_pretrained(target / "text_encoder_2")
    encoders.llama_tokenizer.save_pretrained(target / "tokenizer")
    encoders.clip_tokenizer.save_pretrained(target / "tokenizer_2")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(folder / "tokenizer_2" / name, target / "tokenizer_2" / name)
    for part in ("tokenizer", "tokenizer_2"):
        _plain_tokenizer_config(target / part / "tokenizer_config.json", COMPONENTS[part][1])
    FlowMatchEulerDiscreteScheduler(shift=config.FLOW_SHIFT).save_pretrained(target / "scheduler")
    index = {"_class_name": "HunyuanVideoPipeline", "_diffusers_version": "0.36.0"} | COMPONENTS
    (target / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def export(folder, model_dir):
    """Exports the checkpoint from `folder` into `model_dir`; other files there (fleet.toml, README) stay."""
    model_dir = Path(model_dir)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        _write(folder, Path(aside))
        for file in Path(aside).rglob("*.safetensors"):
            file.chmod(0o644)
        for part in sorted(Path(aside).iterdir()):
            place = model_dir / part.name
            if place.is_dir():
                shutil.rmtree(place)
            shutil.move(os.fspath(part), place)
    size = sum(path.stat().st_size for path in model_dir.rglob("*") if path.is_file())
    return size
