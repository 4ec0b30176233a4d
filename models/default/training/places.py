"""Paints the places: panoramas four frames wide, in every light, across which the camera moves. Few fine details, on purpose.

Every panorama is fixed by its name: hills and clouds are sums of sines, buildings and stars come from a seeded generator.
"""

import random

import torch

from . import shapes
from .world import LIGHTS, PAINTED_PLACES, PLAIN_PLACES

WIDE = 4  # frames side by side
SKIES = {  # colour at the zenith and at the horizon
    "day": ((80, 155, 235), (190, 225, 250)),
    "sunset": ((88, 60, 130), (255, 150, 75)),
    "night": ((8, 10, 34), (34, 40, 92)),
    "neon": ((22, 6, 48), (190, 30, 150)),
}
TINTS = {"day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.74, 0.58), "night": (0.34, 0.4, 0.66), "neon": (0.5, 0.42, 0.78)}
# How the light falls on subjects: like on the ground, but they have to stay visible.
SUBJECT_TINTS = {"day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.84, 0.72), "night": (0.62, 0.68, 0.9), "neon": (0.84, 0.72, 1.0)}
VIEWS = {"space": 1.0}  # where the one view in a simple world begins, in frames
HORIZON = {"grass": 0.46, "beach": 0.36, "sea": 0.4, "city": 0.66, "snow": 0.48, "desert": 0.46}


class Canvas:
    """A panorama under way: coordinates and layers that cover what is behind them."""

    def __init__(self, side, light):
        self.x = ((torch.arange(side * WIDE) + 0.5) / side).expand(side, side * WIDE)
        self.y = ((torch.arange(side) + 0.5) / side)[:, None].expand(side, side * WIDE)
        self.tint = torch.tensor(TINTS[light])
        self.soft = side / 1.5  # edges are about a pixel and a half wide
        top, bottom = SKIES[light]
        self.image = self.shade(top, bottom, self.y / 0.5)

    def shade(self, top, bottom, part):
        """A vertical gradient, (3, H, W) in 0..1."""
        top, bottom = (torch.tensor(color)[:, None, None] / 255 for color in (top, bottom))
        return top + (bottom - top) * part.clamp(0, 1)

    def cover(self, mask, paint, lit=True):
        """Lays `paint`, (3, H, W) or a colour, over the image where `mask` is one; `lit`: the light tints it."""
        if not isinstance(paint, torch.Tensor):
            paint = torch.tensor(paint)[:, None, None] / 255
        paint = paint * self.tint[:, None, None] if lit else paint
        self.image = self.image * (1 - mask) + paint * mask

    def below(self, line):
        """Mask of what lies under a line (a tensor over x, or a number), with a soft edge."""
        return ((self.y - line) * self.soft + 0.5).clamp(0, 1)

    def waves(self, *parts):
        """A sum of sines over x: pairs of (cycles in a frame, height)."""
        return sum(height * torch.sin(6.2832 * cycles * self.x + 2.1 * number) for number, (cycles, height) in enumerate(parts))

    def spot(self, x, y, wide, tall):
        """Mask of an ellipse."""
        distance = (((self.x - x) / wide) ** 2 + ((self.y - y) / tall) ** 2).sqrt()
        return ((1 - distance) * self.soft * min(wide, tall) + 0.5).clamp(0, 1)

    def stars(self, count, lowest, chooser):
        """Small white dots."""
        for _ in range(count):
            self.cover(self.spot(chooser.uniform(0, WIDE), chooser.uniform(0, lowest), 0.009, 0.009), (235, 235, 220), lit=False)


def _clouds(canvas, chooser, count, lowest):
    for _ in range(count):
        x, y = chooser.uniform(0, WIDE), chooser.uniform(0.06, lowest)
        for step in (-1, 0, 1):
            canvas.cover(0.85 * canvas.spot(x + 0.09 * step, y - 0.02 * (step == 0), 0.1, 0.045), (250, 250, 252))


def _grass(canvas, chooser):
    canvas.cover(canvas.below(HORIZON["grass"] - 0.05 + canvas.waves((0.5, 0.04), (1.25, 0.025))), (60, 140, 70))
    canvas.cover(canvas.below(HORIZON["grass"] + 0.04), canvas.shade((120, 190, 70), (60, 140, 40), (canvas.y - 0.5) * 2))
    for _ in range(36):
        x, y = chooser.uniform(0, WIDE), chooser.uniform(0.58, 0.97)
        canvas.cover(canvas.spot(x, y, 0.035, 0.012), (48, 120, 36))


def _beach(canvas, chooser):
    canvas.cover(canvas.below(HORIZON["beach"]), canvas.shade((40, 120, 190), (70, 180, 210), (canvas.y - 0.36) * 6))
    canvas.cover(canvas.below(0.53 + canvas.waves((1, 0.012), (2.5, 0.006))), (240, 246, 246))
    canvas.cover(canvas.below(0.56 + canvas.waves((1, 0.012), (2.5, 0.006))), canvas.shade((236, 212, 150), (214, 180, 110), (canvas.y - 0.5) * 2))


def _sea(canvas, chooser):
    canvas.cover(canvas.below(HORIZON["sea"]), canvas.shade((40, 130, 190), (10, 60, 120), (canvas.y - 0.4) * 1.7))
    for row in range(6):
        line = 0.46 + 0.09 * row + canvas.waves((1.5 + 0.25 * (row % 2), 0.012))
        canvas.cover(0.4 * (canvas.below(line) - canvas.below(line + 0.014)), (150, 210, 235))


def _city(canvas, chooser):
    lights = (255, 220, 110) if float(canvas.tint[0]) < 0.6 else (205, 225, 240)
    x = 0.0
    while x < WIDE:
        wide, top = chooser.uniform(0.16, 0.28), chooser.uniform(0.12, 0.42)
        gray = chooser.randint(95, 165)
        inside = ((canvas.x - x) * canvas.soft).clamp(0, 1) * ((x + wide - canvas.x) * canvas.soft).clamp(0, 1)
        canvas.cover(inside * canvas.below(top), (gray, gray - 8, gray + 8))
        for column in range(2):
            for row in range(int((0.6 - top) / 0.11)):
                window = canvas.spot(x + wide * (0.3 + 0.4 * column), top + 0.07 + 0.11 * row, 0.028, 0.03)
                canvas.cover(window, lights, lit=False)
        x += wide + 0.02
    canvas.cover(canvas.below(HORIZON["city"]), (150, 150, 150))
    canvas.cover(canvas.below(0.71), (78, 78, 84))
    dash = ((torch.sin(6.2832 * 2 * canvas.x) * 6).clamp(0, 1)) * (canvas.below(0.9) - canvas.below(0.925))
    canvas.cover(dash, (235, 225, 160))


def _snow(canvas, chooser):
    canvas.cover(canvas.below(0.36 + canvas.waves((0.5, 0.06), (1.25, 0.035))), (176, 196, 222))
    for _ in range(14):
        x, base = chooser.uniform(0, WIDE), chooser.uniform(0.5, 0.55)
        slope = ((0.07 - (canvas.x - x).abs() - (base - canvas.y) * 0.35) * canvas.soft).clamp(0, 1) * (1 - canvas.below(base))
        canvas.cover(slope, (60, 100, 90))
    canvas.cover(canvas.below(HORIZON["snow"] + 0.03), canvas.shade((236, 241, 250), (208, 220, 238), (canvas.y - 0.5) * 2))


def _desert(canvas, chooser):
    for number in range(WIDE):
        x, tall = number + chooser.uniform(0.2, 0.8), chooser.uniform(0.12, 0.22)
        canvas.cover(((tall - (canvas.x - x).abs() * 0.9 - (0.52 - canvas.y)) * canvas.soft).clamp(0, 1), (196, 150, 90))
    canvas.cover(canvas.below(0.5 + canvas.waves((0.5, 0.025), (0.75, 0.02))), (226, 176, 100))
    near = canvas.below(0.64 + canvas.waves((0.75, 0.03), (1.25, 0.015)))
    canvas.cover(near, canvas.shade((240, 196, 120), (206, 150, 84), (canvas.y - 0.6) * 2.5))


def _sky(canvas, chooser):
    above = canvas.image[:, : canvas.image.shape[1] // 2].repeat_interleave(2, 1)  # the gradient stretched over the whole frame
    canvas.image = canvas.image * 0.4 + 0.6 * above
    _clouds(canvas, chooser, 16, 0.95)


def _space(canvas, chooser):
    canvas.image = canvas.shade((6, 4, 16), (24, 10, 44), canvas.y)
    canvas.stars(90, 1.0, chooser)
    for number in range(WIDE):
        x, y, size = number + chooser.uniform(0.2, 0.8), chooser.uniform(0.15, 0.85), chooser.uniform(0.06, 0.1)
        canvas.cover(canvas.spot(x, y, size, size), ((210, 120, 80), (110, 150, 200), (200, 180, 120), (130, 110, 180))[number], lit=False)


PAINTERS = dict(grass=_grass, beach=_beach, sea=_sea, city=_city, snow=_snow, desert=_desert, sky=_sky, space=_space)


def panorama(place, light, side):
    """A painted place, (3, side, WIDE * side) in 0..1."""
    chooser = random.Random(f"{place} of the default model")
    canvas = Canvas(side, light)
    if light in ("night", "neon") and place != "space":
        canvas.stars(24, 0.3, chooser)
    if light in ("day", "sunset") and place not in ("sky", "space"):
        _clouds(canvas, chooser, 6, 0.2)
    PAINTERS[place](canvas, chooser)
    return canvas.image.clamp(0, 1)


def plain(name, side):
    """The plain background of a shape scene, in the same size as a panorama."""
    top, bottom = (torch.tensor(color)[:, None, None] / 255 for color in shapes.BACKGROUNDS[name])
    return (top + (bottom - top) * torch.linspace(0, 1, side)[:, None]).expand(3, side, side * WIDE)


def panoramas(side):
    """All backgrounds (N, 3, side, WIDE * side), and the number of each (place, light); plain ones have the light ""."""
    images, numbers = [], {}
    for place in PLAIN_PLACES:
        numbers[place, ""] = len(images)
        images.append(plain(place, side))
    for place in PAINTED_PLACES:
        for light in LIGHTS if place != "space" else LIGHTS[:1]:
            numbers[place, light] = len(images)
            images.append(panorama(place, light, side))
    return torch.stack(images), numbers
