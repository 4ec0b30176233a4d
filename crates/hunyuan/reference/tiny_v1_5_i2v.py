"""Small random checkpoints of HunyuanVideo 1.5's image-to-video: those of `tiny_v1_5.py` with an image encoder."""

from dataclasses import dataclass, field
from pathlib import Path

import tiny_v1_5
from diffusers import HunyuanVideo15ImageToVideoPipeline
from tiny_v1_5 import Spec
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel


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
    configuration = SiglipVisionConfig(
        hidden_size=spec.width,
        intermediate_size=spec.intermediate,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        image_size=spec.image_size,
        patch_size=spec.patch,
    )
    image = {
        "image_encoder": SiglipVisionModel(configuration).eval(),
        "feature_extractor": SiglipImageProcessor(size={"height": spec.image_size, "width": spec.image_size}),
    }
    options = {"image_embed_dim": spec.width, "target_size": spec.target_size, "task_type": "i2v", "use_meanflow": spec.meanflow}
    tiny_v1_5.build(spec.base, folder, HunyuanVideo15ImageToVideoPipeline, image, **options)
