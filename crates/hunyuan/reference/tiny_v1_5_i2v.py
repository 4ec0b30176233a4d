"""Small random checkpoints of HunyuanVideo 1.5's image-to-video: those of `tiny_v1_5.py` with an image encoder."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import ClassifierFreeGuidance, FlowMatchEulerDiscreteScheduler, HunyuanVideo15ImageToVideoPipeline
from transformers import ByT5Tokenizer, SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

from tiny_v1_5 import Spec, fill, narrow, qwen_tokenizer, text_networks, video_networks


@dataclass
class ImageSpec:
    """What a checkpoint has beside `Spec`."""

    base: Spec = field(default_factory=Spec)
    target_size: int = 48
    meanflow: bool = False
    # SigLIP
    width: int = 20
    image_size: int = 42
    patch: int = 14
    layers: int = 2
    heads: int = 2
    intermediate: int = 40


def build(spec: ImageSpec, folder: Path) -> None:
    """Write the checkpoint of `spec` to `folder` (replaced)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    narrow()
    tokenizer = qwen_tokenizer()
    text_encoder, text_encoder_2 = text_networks(spec.base, tokenizer)
    transformer, vae = video_networks(
        spec.base, image_embed_dim=spec.width, target_size=spec.target_size, task_type="i2v", use_meanflow=spec.meanflow
    )
    image_encoder = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=spec.width,
            intermediate_size=spec.intermediate,
            num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads,
            image_size=spec.image_size,
            patch_size=spec.patch,
        )
    ).eval()
    networks = ((text_encoder, 1.0), (text_encoder_2, 1.0), (transformer, 0.7), (vae, 0.7), (image_encoder, 1.0))
    for offset, (network, gain) in enumerate(networks):
        fill(network, spec.base.seed * 10 + offset, gain)
        network.to(torch.bfloat16)
    pipeline = HunyuanVideo15ImageToVideoPipeline(
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=spec.base.shift),
        text_encoder_2=text_encoder_2,
        tokenizer_2=ByT5Tokenizer(),
        guider=ClassifierFreeGuidance(guidance_scale=spec.base.guidance),
        image_encoder=image_encoder,
        feature_extractor=SiglipImageProcessor(size={"height": spec.image_size, "width": spec.image_size}),
    )
    pipeline.save_pretrained(folder)
