"""Draws the training clips: one coloured shape that moves over a named background.

A clip is fixed by a `Scene` (what the caption may say) and a random generator (what it leaves open: exact position
and travel). Sizes are areas, not radii, so that a small star and a small ball cover the same number of pixels.
"""

import math
from dataclasses import dataclass

import torch

COLORS = {
    "red": (225, 30, 35),
    "orange": (255, 140, 15),
    "yellow": (250, 235, 40),
    "green": (60, 225, 60),
    "blue": (40, 60, 235),
    "purple": (145, 40, 190),
    "pink": (255, 120, 205),
    "cyan": (30, 230, 235),
}
SIZES = {"small": 8.5, "medium": 12.0, "large": 16.5}  # radius in pixels of the circle of the same area, frame 64 px
SHAPES = ("ball", "square", "triangle", "star")
MOTIONS = ("right", "left", "up", "down", "bounce", "spin", "grow", "shrink", "stay")
BACKGROUNDS = {  # colour at the top and at the bottom of the frame
    "grass": ((66, 112, 46), (38, 78, 26)),
    "sky": ((140, 190, 235), (205, 230, 250)),
    "sand": ((232, 208, 160), (196, 164, 112)),
    "night": ((8, 10, 30), (32, 34, 76)),
    "snow": ((240, 244, 250), (212, 220, 234)),
    "sea": ((26, 96, 132), (8, 54, 92)),
    "road": ((128, 128, 132), (84, 84, 90)),
}
SPIN_RADIANS = math.radians(160)
SMALLEST_SCALE = 0.5  # a growing shape starts at this fraction of its size


@dataclass(frozen=True)
class Scene:
    """What a clip shows, in the words of the tables above."""

    color: str
    size: str
    shape: str
    motion: str
    background: str


def all_scenes():
    """Every scene that can be drawn; a spinning ball would look like a resting one, so there is none."""
    return [
        Scene(color, size, shape, motion, background)
        for color in COLORS
        for size in SIZES
        for shape in SHAPES
        for motion in MOTIONS
        if not (shape == "ball" and motion == "spin")
        for background in BACKGROUNDS
    ]


def is_held_out(scene):
    """About 6 % of the scenes are never trained on; spread evenly and the same on every machine."""
    key = "/".join((scene.color, scene.size, scene.shape, scene.motion, scene.background))
    value = 2166136261
    for byte in key.encode():
        value = ((value ^ byte) * 16777619) % 2**32
    return value % 1009 % 17 == 0


def _polygon(shape):
    """Corners around the origin (y grows downwards), scaled so that the area is that of the unit circle."""
    if shape == "star":
        corners = [(r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5)) for i, r in enumerate([1.0, 0.48] * 5)]
    elif shape == "triangle":
        corners = [(math.sin(i * 2 * math.pi / 3), -math.cos(i * 2 * math.pi / 3)) for i in range(3)]
    else:
        corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    points = torch.tensor(corners)
    following = points.roll(-1, 0)
    area = (points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]).sum().abs() / 2
    return points * math.sqrt(math.pi / float(area))


POLYGONS = {shape: _polygon(shape) for shape in SHAPES if shape != "ball"}
REACH = {"ball": 1.0} | {shape: float(corners.abs().max()) for shape, corners in POLYGONS.items()}


def signed_distance(shape, x, y):
    """Distance to the outline of the unit-area shape, negative inside; x and y in units of the shape's radius."""
    if shape == "ball":
        return torch.sqrt(x * x + y * y + 1e-12) - 1.0
    points = POLYGONS[shape]
    nearest = torch.full_like(x, 1e9)
    inside = torch.zeros_like(x, dtype=torch.bool)
    for (ax, ay), (bx, by) in zip(points.tolist(), points.roll(-1, 0).tolist()):
        ex, ey = bx - ax, by - ay
        along = (((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        nearest = torch.minimum(nearest, (x - ax - along * ex) ** 2 + (y - ay - along * ey) ** 2)
        if ay != by:
            crosses = ((ay > y) != (by > y)) & (x < ex * (y - ay) / ey + ax)
            inside ^= crosses
    return torch.where(inside, -1.0, 1.0) * nearest.sqrt()


def _track(scene, radius, frames, height, width, generator):
    """Centre x, centre y, scale and angle for each frame."""
    time = torch.linspace(0, 1, frames)
    jitter = torch.rand(4, generator=generator) * 2 - 1
    reach = radius * REACH[scene.shape]
    free_x = max(width / 2 - reach - 1, 3.0)
    free_y = max(height / 2 - reach - 1, 3.0)
    x = torch.full_like(time, width / 2) + jitter[0] * min(free_x, 9.0)
    y = torch.full_like(time, height / 2) + jitter[1] * min(free_y, 9.0)
    scale = torch.ones_like(time)
    angle = torch.zeros_like(time)
    travel = 1.0 - 0.15 * (jitter[2] + 1) / 2
    sweep = (2 * time - 1) * travel
    match scene.motion:
        case "right":
            x = width / 2 + sweep * max(free_x, 8.0)
        case "left":
            x = width / 2 - sweep * max(free_x, 8.0)
        case "down":
            y = height / 2 + sweep * max(free_y, 8.0)
        case "up":
            y = height / 2 - sweep * max(free_y, 8.0)
        case "bounce":
            y = height / 2 + max(free_y, 8.0) * (1 - 2 * travel * (2 * math.pi * time).sin().abs())
        case "spin":
            angle = time * SPIN_RADIANS
        case "grow":
            scale = SMALLEST_SCALE + (1 - SMALLEST_SCALE) * time
        case "shrink":
            scale = 1 - (1 - SMALLEST_SCALE) * time
    return x, y, scale, angle


def background(name, height, width):
    """The empty background, (3, 1, height, width) in 0..1."""
    top, bottom = (torch.tensor(c) / 255 for c in BACKGROUNDS[name])
    blend = torch.linspace(0, 1, height)[:, None]
    return (top[:, None, None] * (1 - blend) + bottom[:, None, None] * blend).expand(3, height, width)[:, None]


def draw(scene, generator, frames=17, height=64, width=64, window=None):
    """A clip (3, frames, height, width) in 0..1 and the object's coverage (1, frames, height, width).

    `window(x, y)` may choose a part to draw: it gets the object's track and gives slices of frames, rows and columns.
    """
    radius = SIZES[scene.size] * min(height, width) / 64
    x, y, scale, angle = _track(scene, radius, frames, height, width, generator)
    times, tall, wide = window(x, y) if window else (slice(None),) * 3
    columns = (torch.arange(width) + 0.5)[wide]
    rows = (torch.arange(height) + 0.5)[tall]
    x, y, scale, angle = (value[times, None, None] for value in (x, y, scale, angle))
    size = radius * scale
    dx = (columns[None, None, :] - x) / size
    dy = (rows[None, :, None] - y) / size
    cos, sin = angle.cos(), angle.sin()
    distance = signed_distance(scene.shape, dx * cos + dy * sin, dy * cos - dx * sin) * size
    coverage = (0.5 - distance / 1.4).clamp(0, 1)[None]
    color = torch.tensor(COLORS[scene.color])[:, None, None, None] / 255
    behind = background(scene.background, height, width)[:, :, tall, wide]
    return behind * (1 - coverage) + color * coverage, coverage
