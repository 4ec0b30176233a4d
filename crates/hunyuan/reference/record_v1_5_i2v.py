"""Runs diffusers' HunyuanVideo15ImageToVideoPipeline on one case and records what the Rust code is compared with.

As `record_v1_5.py` does for text-to-video. Beside the video it keeps every station of the picture: as given, cropped to the video's size,
as the image encoder reads it, the encoder's states, and the latents of the first frame.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import HunyuanVideo15ImageToVideoPipeline
from PIL import Image

from record import DTYPES, decode, save
from record_v1_5 import PROMPT, conditions, denoise, load


@dataclass
class Case:
    """One video. `model` is relative to the case's folder; the video's size follows from the picture's."""

    name: str
    model: str
    prompt: str = PROMPT
    negative_prompt: str | None = None
    # none for the checkpoint's own
    guidance_scale: float | None = None
    picture: tuple[int, int] = (72, 40)
    frames: int = 5
    steps: int = 2
    seed: int = 42
    dtype: str = "f32"
    # none for the checkpoint's own
    target_size: int | None = None
    # arguments of enable_tiling and the overlap; picture and video are both tiled
    tiling: dict | None = None
    # whether to write the picture as a file, too
    file: bool = False


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colours with hard edges and noise, so that every part of the resampling shows."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(columns / 7.0 + rows / 11.0), np.cos(rows / 5.0 - columns / 13.0), np.sin((rows + columns) / 3.0)]
    pixels = np.stack(waves, axis=-1) * 90 + 128 + generator.normal(0, 12, (height, width, 3))
    pixels[height // 4 : height // 2, width // 4 : width // 2] = (255, 0, 40)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def bytes_of(image: Image.Image) -> torch.Tensor:
    """`[height, width, 3]`, 8 bits."""
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy())


def bytes_seen(pixels: torch.Tensor) -> torch.Tensor:
    """The 8 bits, `[side, side, 3]`, that the extractor scaled to -1..1."""
    return ((pixels[0] * 0.5 + 0.5) * 255.0).round().to(torch.uint8).permute(1, 2, 0)


@torch.no_grad()
def record(folder: Path, case: Case) -> None:
    """Write `case.json` and `reference.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = load(folder / case.model, DTYPES[case.dtype], HunyuanVideo15ImageToVideoPipeline)
    tensors, vae = conditions(pipeline, case), pipeline.vae
    if case.target_size is not None:
        pipeline.target_size = case.target_size
    if case.tiling is not None:
        vae.enable_tiling(**case.tiling)
    given = picture(*case.picture, case.seed)
    if case.file:
        given.save(folder / "picture.png")
    height, width = pipeline.video_processor.calculate_default_height_width(given.height, given.width, pipeline.target_size)
    cropped = pipeline.video_processor.resize(given, height=height, width=width, resize_mode="crop")
    pixels = pipeline.feature_extractor.preprocess(images=cropped, do_resize=True, return_tensors="pt", do_convert_rgb=True)
    states = pipeline.encode_image(cropped, 1, torch.device("cpu"), pipeline.transformer.dtype)
    first_frame = pipeline._get_image_latents(vae, pipeline.video_processor, cropped, height, width, torch.device("cpu"))
    ratio = vae.spatial_compression_ratio
    shape = (1, vae.config.latent_channels, (case.frames - 1) // vae.temporal_compression_ratio + 1, height // ratio, width // ratio)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(case.seed))
    first, latents = denoise(pipeline, case, noise.clone(), image=given)
    tensors |= {"picture": bytes_of(given), "cropped": bytes_of(cropped), "pixels": bytes_seen(pixels["pixel_values"])}
    tensors |= {"image_embeds": states, "image_latents": first_frame}
    tensors |= {"initial_latents": noise, "sigmas": pipeline.scheduler.sigmas, "noise_pred_0": first, "latents": latents}
    tensors["frames"] = decode(pipeline, latents).half()
    size = {"width": width, "height": height, "target_size": pipeline.target_size, "spatial": ratio}
    save(folder, asdict(case) | size | {"resolved_guidance_scale": pipeline.guider.guidance_scale}, tensors)


def record_sizes(path: Path) -> None:
    """Write the sizes that diffusers chooses for pictures of many shapes: `[target, step, width, height, chosen width, chosen height]`."""
    from diffusers.pipelines.hunyuan_video1_5.image_processor import HunyuanVideo15ImageProcessor

    shapes = [(1280, 720), (720, 1280), (1024, 1024), (4000, 3000), (3000, 4000), (640, 360), (100, 99), (99, 100), (5000, 300), (300, 5000)]
    shapes += [(1920, 1081), (853, 480), (1, 1), (17, 3)]
    rows = []
    for target, step in ((640, 16), (960, 16), (48, 16), (32, 8)):
        processor = HunyuanVideo15ImageProcessor(vae_scale_factor=step)
        for width, height in shapes:
            h, w = processor.calculate_default_height_width(height, width, target)
            rows.append([target, step, width, height, w, h])
    path.write_text("[\n" + ",\n".join(f"  {row}" for row in rows) + "\n]\n")
