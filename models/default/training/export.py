"""Writes the checkpoint in the diffusers layout, in half precision, aside and then renamed into place; and reads one back.

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
from safetensors.torch import load_file
from transformers import LlamaModel

from . import config, flow, portable, state, text, vae

COMPONENTS = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "LlamaModel"],
    "text_encoder_2": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "transformer": ["diffusers", "HunyuanVideoTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLHunyuanVideo"],
}
WEIGHTS = "diffusion_pytorch_model.safetensors"
FOREVER_S = 1e9  # spent on a stage: it is done


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


@torch.no_grad()
def _full_llama(preset, encoders):
    """The trained layers followed by layers of zeros: they are never used, and zeros compress to nothing."""
    full = LlamaModel(text.llama_config(preset, encoders.llama_tokenizer, config.LLAMA_LAYERS))
    for parameter in full.layers.parameters():
        parameter.zero_()
    full.load_state_dict(encoders.llama.state_dict(), strict=False)
    return full


def _write(run, target, network):
    saved = state.load(run.work / "statistics.pt")
    fold_normalisation(vae.averaged(run).cpu(), saved["mean"], saved["std"]).half().save_pretrained(target / "vae")
    flow.averaged(run, network).cpu().half().save_pretrained(target / "transformer")
    encoders = text.trained(run).cpu()
    _full_llama(run.preset, encoders).half().save_pretrained(target / "text_encoder")
    encoders.clip.half().save_pretrained(target / "text_encoder_2")
    encoders.llama_tokenizer.save_pretrained(target / "tokenizer")
    encoders.clip_tokenizer.save_pretrained(target / "tokenizer_2")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(run.work / "tokenizer_2" / name, target / "tokenizer_2" / name)
    portable.make_portable(target)
    FlowMatchEulerDiscreteScheduler(shift=config.FLOW_SHIFT).save_pretrained(target / "scheduler")
    index = {"_class_name": "HunyuanVideoPipeline", "_diffusers_version": "0.36.0"} | COMPONENTS
    (target / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def export(run, model_dir, network="transformer"):
    """Exports into `model_dir`, where other files (fleet.toml, README) stay; returns the bytes of the checkpoint.

    `network` is the transformer that goes with it: `transformer`, or `twin`, the one of few steps.
    """
    model_dir = Path(model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    size = 0
    with tempfile.TemporaryDirectory(dir=run.work) as aside:
        _write(run, Path(aside), network)
        for file in filter(Path.is_file, Path(aside).rglob("*")):
            file.chmod(0o644)
            size += file.stat().st_size
        for part in sorted(Path(aside).iterdir()):
            place = model_dir / part.name
            if place.is_dir():
                shutil.rmtree(place)
            shutil.move(os.fspath(part), place)
    return size


def _take_over(module, weights):
    """Copies the tensors whose name and shape agree; returns how many of the module's do."""
    own = module.state_dict()
    fitting = {name: value.float() for name, value in weights.items() if name in own and own[name].shape == value.shape}
    module.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(own)} tensors"


def start_from(run, model_dir, text_use):
    """Fills an empty work folder from an export: what fits of autoencoder and transformer, and with `text_use` the encoders too.

    `text_use` is `keep` (the export comes from the same captions) or `adapt` (they learn new words on top). Optimisers start fresh. The export's latents are
    normalised already, but those of an autoencoder whose encoder is trained on will not stay so: statistics are taken again.
    """
    taken = {}
    for name, module, file in (("vae", vae.build(run.preset), "vae"), ("transformer", flow.build(run.preset), "transformer")):
        if (run.work / f"{name}.pt").exists():
            raise FileExistsError(f"{run.work} already holds {name}.pt: start from an export in an empty work folder")
        taken[name] = _take_over(module, load_file(model_dir / file / WEIGHTS))
        _save_start(run.work / f"{name}.pt", module)
    if run.preset.encoder_part < 0:  # the latents stay what they are: normalised
        channels = run.preset.latent_channels
        state.save(run.work / "statistics.pt", mean=torch.zeros(channels), std=torch.ones(channels))
    if text_use:
        for name in ("tokenizer", "tokenizer_2"):
            shutil.copytree(model_dir / name, run.work / name, dirs_exist_ok=True)
        both = text.untrained(run)
        for name, part, folder in (("llama", both[0].llama, "text_encoder"), ("clip", both[0].clip, "text_encoder_2")):
            weights = load_file(model_dir / folder / "model.safetensors")
            taken[name] = _take_over(part, {name.removeprefix(portable.CLIP_PREFIX): value for name, value in weights.items()})
        _save_start(run.work / "text.pt", both, spent_s=FOREVER_S if text_use == "keep" else 0.0)
        if text_use == "adapt":
            state.save(run.work / "text_start.pt", encoders=both[0].state_dict())
    return taken


def _save_start(path, module, spent_s=0.0):
    average = [parameter.detach().clone() for parameter in module.parameters()]
    state.save(path, module=module.state_dict(), average=average, updates=0, optimizers=[], step=0, spent_s=spent_s)
