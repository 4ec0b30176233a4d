"""The plain shapes and backgrounds: tables that the pixel reader shares, and each shape as a texture.

Sizes are areas, not radii, so that a small star and a small ball cover the same number of pixels.
"""

import math

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
BACKGROUNDS = {  # colour at the top and at the bottom of the frame
    "grass": ((66, 112, 46), (38, 78, 26)),
    "sky": ((140, 190, 235), (205, 230, 250)),
    "sand": ((232, 208, 160), (196, 164, 112)),
    "night": ((8, 10, 30), (32, 34, 76)),
    "snow": ((240, 244, 250), (212, 220, 234)),
    "sea": ((26, 96, 132), (8, 54, 92)),
    "road": ((128, 128, 132), (84, 84, 90)),
}
RADII = {"ball": (1.0,), "square": (1.0,) * 4, "triangle": (1.0,) * 3, "star": (1.0, 0.48) * 5}


def corners(shape):
    """Corners around the origin (y grows downwards), scaled so that the area is that of the unit circle; none for a ball."""
    radii = RADII[shape]
    if shape == "ball":
        return []
    tilt = math.pi / 4 if shape == "square" else 0.0
    points = [(r * math.sin(i * 2 * math.pi / len(radii) + tilt), -r * math.cos(i * 2 * math.pi / len(radii) + tilt)) for i, r in enumerate(radii)]
    area = abs(sum(ax * by - ay * bx for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1]))) / 2
    scale = math.sqrt(math.pi / area)
    return [(x * scale, y * scale) for x, y in points]


def reach(shape):
    """How far the shape extends from its centre, in radii of the circle of the same area."""
    return max((abs(value) for point in corners(shape) for value in point), default=1.0)


def coverage(shape, columns, rows):
    """Whether points (torch tensors, in radii) are inside the shape, as 0.0 or 1.0."""
    if shape == "ball":
        return ((columns * columns + rows * rows) < 1).float()
    inside = columns > 1e9
    points = corners(shape)
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1]):
        if abs(ay - by) > 1e-9:
            inside = inside ^ (((ay > rows) != (by > rows)) & (columns < (bx - ax) * (rows - ay) / (by - ay) + ax))
    return inside.float()
