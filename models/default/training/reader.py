"""Reads from the pixels alone what a clip shows: background, colour, size, shape and motion. No learning, no hints.

Steps: the columns at the left and right edge give the background row by row; what differs from it is the object; its
colour, and how far each pixel has gone from background to that colour, give coverage; sums over coverage give area and
centre; the outline's distance from the centre, as a function of the angle, gives the shape.
"""

from dataclasses import dataclass

import numpy as np

from .shapes import BACKGROUNDS, COLORS, SIZES

EDGE_COLUMNS = 3
DIFFERS = 45.0  # RGB distance from the background above which a pixel belongs to the object
GROWTH = 1.6  # area at the end over area at the start
TRAVEL = 0.09  # of the shorter side: less is no movement
SAME_OUTLINE = 0.86  # overlap of first and later outline below which the object has turned
ANGLES = 72
CORNERS = {"triangle": 3, "square": 4, "star": 5}
ROUND = 0.035  # strongest outline wave, relative to the mean radius, below which it is a ball: drawn balls have 0.001, squares 0.068


@dataclass(frozen=True)
class Reading:
    """What was read; None for all but the background when there is no object."""

    background: str
    color: str | None = None
    size: str | None = None
    shape: str | None = None
    motion: str | None = None


def _background(frames):
    """Colour of each row (H, 3) and the nearest named background."""
    edges = np.concatenate([frames[:, :, :EDGE_COLUMNS], frames[:, :, -EDGE_COLUMNS:]], axis=2)
    rows = np.median(edges.transpose(1, 0, 2, 3).reshape(frames.shape[1], -1, 3), axis=1)
    blend = np.linspace(0, 1, len(rows))[:, None]
    drawn = {name: np.array(top) * (1 - blend) + np.array(bottom) * blend for name, (top, bottom) in BACKGROUNDS.items()}
    name = min(drawn, key=lambda known: np.abs(drawn[known] - rows).mean())
    return rows, name


def _coverage(frames, rows):
    """The object's colour (3) and its coverage (T, H, W) in 0..1, or None when nothing differs from the background."""
    offset = frames - rows[None, :, None, :]
    distance = np.sqrt((offset**2).sum(-1))
    differs = distance > DIFFERS
    if differs.sum() < 20 * len(frames):
        return None
    core = differs & (distance > np.median(distance[differs]) * 0.8)
    color = np.median(frames[core], axis=0)
    direction = color[None, :] - rows
    length = (direction**2).sum(-1)
    coverage = (offset * direction[None, :, None, :]).sum(-1) / length[None, :, None]
    return color, np.where(distance > DIFFERS / 3, coverage.clip(0, 1), 0.0)


def _outline(mask, x, y, reach):
    """Distance of the outline from the centre for each angle: coverage summed along rays."""
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    steps = np.arange(0.25, reach, 0.5)
    columns = x + np.cos(angles)[:, None] * steps - 0.5
    rows = y + np.sin(angles)[:, None] * steps - 0.5
    height, width = mask.shape
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    right_part, low_part = columns - left, rows - top
    total = np.zeros_like(columns)
    for drow, dcolumn, part in (
        (0, 0, (1 - low_part) * (1 - right_part)), (0, 1, (1 - low_part) * right_part),
        (1, 0, low_part * (1 - right_part)), (1, 1, low_part * right_part),
    ):
        inside = (top + drow >= 0) & (top + drow < height) & (left + dcolumn >= 0) & (left + dcolumn < width)
        total += part * np.where(inside, mask[(top + drow).clip(0, height - 1), (left + dcolumn).clip(0, width - 1)], 0.0)
    return total.sum(1) * 0.5


def _touches_edge(mask):
    return max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) > 0.5


def _shape(outlines):
    """The shape whose number of corners is the strongest wave of the outlines (list of (ANGLES))."""
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    strength = {}
    for name, corners in CORNERS.items():
        wave = np.exp(1j * corners * angles)
        strength[name] = np.mean([abs((outline * wave).mean()) / max(outline.mean(), 1e-6) for outline in outlines])
    strongest = max(strength, key=strength.get)
    return strongest if strength[strongest] > ROUND else "ball"


def _overlap(outline, first):
    """Intersection over union of two outlines around a common centre, each scaled to mean radius one."""
    a, b = outline / max(outline.mean(), 1e-6), first / max(first.mean(), 1e-6)
    return (np.minimum(a, b) ** 2).sum() / (np.maximum(a, b) ** 2).sum()


def _motion(areas, xs, ys, outlines, side):
    end = min(3, len(areas))
    if len(areas) < 2:
        return "stay"
    growth = areas[-end:].mean() / areas[:end].mean()
    if growth > GROWTH:
        return "grow"
    if growth < 1 / GROWTH:
        return "shrink"
    dx, dy = xs[-end:].mean() - xs[:end].mean(), ys[-end:].mean() - ys[:end].mean()
    if max(abs(dx), abs(dy)) > TRAVEL * side:
        if abs(dx) > abs(dy):
            return "right" if dx > 0 else "left"
        return "down" if dy > 0 else "up"
    if ys.max() - ys.min() > TRAVEL * side:
        return "bounce"
    turned = min(_overlap(outline, outlines[0]) for outline in outlines)
    return "spin" if turned < SAME_OUTLINE else "stay"


def read(frames):
    """Reads a clip (T, H, W, 3) of bytes."""
    frames = np.asarray(frames, dtype=np.float32)
    rows, background = _background(frames)
    found = _coverage(frames, rows)
    if found is None:
        return Reading(background)
    color, coverage = found
    areas = coverage.sum((1, 2))
    height, width = coverage.shape[1:]
    side = min(height, width)
    visible = areas > 0.2 * areas.max()
    coverage, areas = coverage[visible], areas[visible]
    xs = (coverage * (np.arange(width) + 0.5)).sum((1, 2)) / areas
    ys = (coverage * (np.arange(height) + 0.5)[:, None]).sum((1, 2)) / areas
    outlines = [_outline(mask, x, y, 0.6 * side) for mask, x, y in zip(coverage, xs, ys)]
    whole = [i for i, mask in enumerate(coverage) if not _touches_edge(mask)] or list(range(len(coverage)))
    largest = sorted(whole, key=lambda i: -areas[i])[: max(1, len(whole) // 2)]
    radius = np.sqrt(np.mean(sorted(areas)[-3:]) / np.pi) * 64 / side
    return Reading(
        background=background,
        color=min(COLORS, key=lambda name: ((np.array(COLORS[name]) - color) ** 2).sum()),
        size=min(SIZES, key=lambda name: abs(SIZES[name] - radius)),
        shape=_shape([outlines[i] for i in largest]),
        motion=_motion(areas, xs, ys, outlines, side),
    )


def score(pairs):
    """Share of (scene, reading) pairs that agree, for each field and for all fields at once."""
    fields = ("background", "color", "motion", "shape", "size")
    hits = {field: np.mean([getattr(scene, field) == getattr(reading, field) for scene, reading in pairs]) for field in fields}
    hits["all"] = np.mean([all(getattr(s, field) == getattr(r, field) for field in fields) for s, r in pairs])
    return {field: float(value) for field, value in hits.items()}
