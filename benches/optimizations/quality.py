"""How much of a video is kept: PSNR and SSIM against another one, and the readings of the default model's pixel reader."""

import math
import statistics
import subprocess
import tomllib

import numpy as np
from fleet_stack import tools
from fleet_stack.paths import ROOT
from training import reader

# All videos have the size that the default model draws.
SIZE = tomllib.loads((ROOT / "models/default/fleet.toml").read_text())["sizes"][0]["aspects"][0]
SSIM_WINDOW = 7
SAME_DB = 99.0


def frames(mp4: bytes) -> np.ndarray:
    """The frames (T, H, W, 3) of an MP4, as bytes."""
    argv = [str(tools.need("ffmpeg")), "-v", "error", "-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    raw = subprocess.run(argv, input=mp4, check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SIZE["height"], SIZE["width"], 3)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """In dB; equal videos count as 99."""
    error = np.square(a.astype(np.float64) - b).mean()
    return SAME_DB if error == 0 else min(SAME_DB, 10 * np.log10(255**2 / error))


def mean_db(values: list[float]) -> float:
    """Of several videos: the dB of their mean error, so that an equal one does not outweigh the others."""
    return -10 * math.log10(statistics.mean(10 ** (-value / 10) for value in values))


def _means(planes: np.ndarray) -> np.ndarray:
    """Means over all windows, of the last two axes."""
    sums = np.pad(planes.cumsum(-1).cumsum(-2), ((0, 0), (1, 0), (1, 0)))
    n = SSIM_WINDOW
    return (sums[:, n:, n:] - sums[:, :-n, n:] - sums[:, n:, :-n] + sums[:, :-n, :-n]) / n**2


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean SSIM of the luma over frames and 7x7 windows (Wang et al. 2004, uniform windows)."""
    weights = np.array([0.299, 0.587, 0.114])
    x, y = a @ weights, b @ weights
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = _means(x), _means(y)
    vx, vy, cov = _means(x * x) - mx * mx, _means(y * y) - my * my, _means(x * y) - mx * my
    return float((((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def followed(video: np.ndarray, scene: dict[str, str]) -> float:
    """Share of what the prompt names that the reader finds in the video."""
    seen = reader.read(video)
    return float(np.mean([getattr(seen, field) == value for field, value in scene.items()]))
