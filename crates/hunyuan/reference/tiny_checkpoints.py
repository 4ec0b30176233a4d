"""Small random checkpoints in the diffusers layout: the released architecture with other numbers.

Weights are drawn so that activations stay of order one and every path matters: gates and modulations that a fresh
network starts at zero are random here, otherwise a mistake behind them would not show.
"""

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel

from tiny_tokenizers import llm_tokenizer, write_clip_tokenizer


@dataclass
class Spec:
    """One checkpoint. Every field has the value of the first fixture; the others change a few."""

    seed: int = 0
    # transformer
    heads: int = 2
    head_dim: int = 16
    rope_axes: tuple = (4, 6, 6)
    double: int = 2
    single: int = 2
    refiner: int = 2
    mlp_ratio: float = 4.0
    guidance: bool = True
    # LLM
    llm_hidden: int = 32
    llm_layers: int = 5
    llm_heads: int = 4
    llm_kv_heads: int = 2
    llm_merges: int = 240
    # CLIP
    clip_hidden: int = 32
    clip_act: str = "quick_gelu"
    clip_eos: int | None = None
    # VAE
    latent_channels: int = 4
    vae_channels: tuple = (4, 8, 8, 8)
    vae_layers: int = 1
    vae_groups: int = 2
    mid_attention: bool = True
    # files
    shift: float = 7.0
    shards: int = 1
    dtypes: dict = field(default_factory=dict)
    released_layout: bool = True
    extra_llm_keys: bool = False


def randomise(network: torch.nn.Module, seed: int, gain: float = 1.0) -> None:
    """Fill every parameter: matrices scaled by fan-in, norm weights near one, biases small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                fan_in = parameter[0].numel() if "embedding" not in name and "embed_tokens" not in name else 1
                parameter.copy_(noise * gain / math.sqrt(fan_in))
            elif name.endswith("weight"):
                parameter.copy_(1.0 + 0.1 * noise)
            else:
                parameter.copy_(0.1 * noise)


def build(spec: Spec, folder: Path) -> None:
    """Write the checkpoint of `spec` to `folder` (replaced)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = llm_tokenizer(DEFAULT_PROMPT_TEMPLATE["template"], spec.llm_merges)
    tokenizer_2 = write_clip_tokenizer(folder / "tokenizer_2", merges=80)
    text_encoder = LlamaModel(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=spec.llm_hidden,
            intermediate_size=spec.llm_hidden * 2,
            num_hidden_layers=spec.llm_layers,
            num_attention_heads=spec.llm_heads,
            num_key_value_heads=spec.llm_kv_heads,
            max_position_embeddings=2048,
            rope_theta=500000.0,
            rms_norm_eps=1e-5,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()
    eos = tokenizer_2.eos_token_id if spec.clip_eos is None else spec.clip_eos
    text_encoder_2 = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer_2),
            hidden_size=spec.clip_hidden,
            intermediate_size=spec.clip_hidden * 2,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act=spec.clip_act,
            bos_token_id=tokenizer_2.bos_token_id,
            eos_token_id=eos,
            pad_token_id=tokenizer_2.pad_token_id,
        )
    ).eval()
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=spec.latent_channels,
        out_channels=spec.latent_channels,
        num_attention_heads=spec.heads,
        attention_head_dim=spec.head_dim,
        num_layers=spec.double,
        num_single_layers=spec.single,
        num_refiner_layers=spec.refiner,
        mlp_ratio=spec.mlp_ratio,
        guidance_embeds=spec.guidance,
        text_embed_dim=spec.llm_hidden,
        pooled_projection_dim=spec.clip_hidden,
        rope_axes_dim=spec.rope_axes,
    ).eval()
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=spec.latent_channels,
        block_out_channels=spec.vae_channels,
        layers_per_block=spec.vae_layers,
        norm_num_groups=spec.vae_groups,
        mid_block_add_attention=spec.mid_attention,
    ).eval()
    for offset, (network, gain) in enumerate(((text_encoder, 1.0), (text_encoder_2, 1.0), (transformer, 0.7), (vae, 1.0))):
        randomise(network, spec.seed * 10 + offset, gain)
    for name, network in (("text_encoder", text_encoder), ("text_encoder_2", text_encoder_2), ("transformer", transformer), ("vae", vae)):
        network.to(spec.dtypes.get(name, torch.float32))
    pipeline = HunyuanVideoPipeline(
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=spec.shift),
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
    )
    pipeline.save_pretrained(folder)
    # Released checkpoints hold these two files and no tokenizer.json, so neither do the fixtures.
    (folder / "tokenizer_2" / "tokenizer.json").unlink(missing_ok=True)
    write_clip_tokenizer(folder / "tokenizer_2", merges=80)
    if spec.released_layout:
        to_released_layout(folder)
    if spec.extra_llm_keys:
        add_language_model_head(folder / "text_encoder")
    for component in ("text_encoder", "transformer")[: 2 if spec.shards > 1 else 0]:
        shard(folder / component, spec.shards)


def to_released_layout(folder: Path) -> None:
    """Rewrite both text encoders the way transformers 4 wrote the released files: key prefix and config names."""
    path = folder / "text_encoder_2" / "model.safetensors"
    tensors = load_file(path)
    save_file({k if k.startswith("text_model.") else f"text_model.{k}": v for k, v in tensors.items()}, path, {"format": "pt"})
    for component in ("text_encoder", "text_encoder_2"):
        path = folder / component / "config.json"
        config = json.loads(path.read_text())
        rope = config.pop("rope_parameters", None)
        if rope:
            config["rope_theta"] = rope["rope_theta"]
            config["rope_scaling"] = None
        if "dtype" in config:
            config["torch_dtype"] = config.pop("dtype")
        path.write_text(json.dumps(config, indent=2) + "\n")


def add_language_model_head(folder: Path) -> None:
    """Store the LLM as a causal language model would: `model.` prefix and a head that text-to-video never reads."""
    path = folder / "model.safetensors"
    tensors = {f"model.{k}": v for k, v in load_file(path).items()}
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["LlamaForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def shard(folder: Path, count: int) -> None:
    """Split the component's one safetensors file into `count` files and an index."""
    (single,) = folder.glob("*.safetensors")
    tensors = load_file(single)
    names = sorted(tensors)
    weight_map = {}
    for index in range(count):
        part = f"{single.stem}-{index + 1:05}-of-{count:05}.safetensors"
        chosen = {name: tensors[name] for name in names[index::count]}
        save_file(chosen, folder / part, {"format": "pt"})
        weight_map.update(dict.fromkeys(chosen, part))
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index_path = folder / f"{single.name}.index.json"
    index_path.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2) + "\n")
    single.unlink()
