"""Writes the fixture of runs that begin at a lower resolution: noise levels and the change of size, by scipy's cosine transform.

    pip install numpy scipy safetensors
    python record_progressive.py ../tests/fixtures

The run has eight steps with the shift 7 at 32x48 and five frames, of which four have the shift 2.9 and 16x16. The formulas are
those of arXiv 2605.18736 ("rewind"), for sides of any ratio; everything is computed in double precision.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.fft import dct, dctn, idct, idctn

STEPS, EARLY_STEPS = 8, 4
SHIFT, EARLY_SHIFT = 7.0, 2.9
LOWER, FULL = (2, 2), (6, 4)
AXES = (-2, -1)


def levels(shift: float) -> np.ndarray:
    """The noise levels of a schedule, from 1 to 0."""
    even = 1 - np.arange(STEPS + 1) / STEPS
    return shift * even / (1 + (shift - 1) * even)


def lifting(lower: int, full: int) -> np.ndarray:
    """`[full, lower]`: what a transform of `lower` values becomes on `full` places."""
    return idct(np.pad(dct(np.eye(lower), norm="ortho", axis=0), ((0, full - lower), (0, 0))), norm="ortho", axis=0)


def main() -> None:
    noise = np.random.default_rng(2605).standard_normal((1, 4, 2, *FULL))
    ratio = np.sqrt(FULL[0] * FULL[1] / (LOWER[0] * LOWER[1]))
    sigmas = np.concatenate([levels(EARLY_SHIFT)[: EARLY_STEPS + 1], levels(SHIFT)[EARLY_STEPS + 1 :]])
    reached = sigmas[EARLY_STEPS]
    gain = ratio / (1 + (ratio - 1) * reached)
    starts = sigmas[:-1].copy()
    starts[EARLY_STEPS] = gain * reached

    waves = dctn(noise, axes=AXES, norm="ortho")
    low = waves[..., : LOWER[0], : LOWER[1]]
    high = waves.copy()
    high[..., : LOWER[0], : LOWER[1]] = 0
    recorded = {
        "noise": noise,
        "sigmas": sigmas,
        "starts": starts,
        "low_band": idctn(low, axes=AXES, norm="ortho"),
        "lifting_rows": lifting(LOWER[0], FULL[0]),
        "lifting_columns": lifting(LOWER[1], FULL[1]),
        "gain": np.array([gain]),
        "raised_noise": gain * reached * idctn(high, axes=AXES, norm="ortho"),
    }
    folder = Path(sys.argv[1]) / "progressive"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: values.astype(np.float32) for name, values in recorded.items()}, folder / "reference.safetensors")


if __name__ == "__main__":
    main()
