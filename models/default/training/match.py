"""Reads from the pixels what a clip of a simple world shows, without learning: by comparing it with what could have been drawn.

The nearest background gives the place; what differs from it is the subject. Every picture, laid over that background with the
centre and the area of what differs, is compared with the frames, and the nearest one names the subject; centre and area over
time give the motion. Shape scenes go to `reader`, which knows their outlines.
"""

import numpy as np
import torch
import torch.nn.functional as F

from . import reader
from .draw import Painter
from .world import SHAPES, UPRIGHT, Scene, kind_of

DIFFERS = 0.1  # mean difference of a pixel's colour from the background, 0..1, above which it belongs to the subject
COMPARED = (0, 4, 8, 12, 16)  # frames in which pictures are compared
BLUR = 5  # pixels over which differences are averaged first, so that blurred windows and waves do not count
TRAVEL, HOPS = 0.14, 0.1  # in frames: less is no movement; height of a jump
LEAST_AREA = 0.004  # of the frame; less is no subject
GROWTH = 1.6  # area at the end over area at the start


class Matcher:
    """Everything that may be drawn, ready to be compared."""

    def __init__(self, side, world, device="cpu"):
        painter = Painter(side, device, world)
        self.side = side
        self.views, self.places = painter.views()
        self.names = [name for name in painter.numbers if name[0] in SHAPES or not name[1]]  # pictures in their own colours
        textures = painter.textures[[painter.numbers[name] for name in self.names]]
        self.textures = torch.cat([textures, textures.flip(3)])
        self.names *= 2
        wide = torch.linspace(-1, 1, textures.shape[-1], device=device)
        alpha = self.textures[:, 3]
        mass = alpha.sum((1, 2))
        self.middle_x = (alpha.sum(1) * wide).sum(1) / mass
        self.middle_y = (alpha.sum(2) * wide).sum(1) / mass
        self.area = alpha.mean((1, 2)) * 4  # of a picture whose half side is 1

    def read(self, clip):
        """What the clip (3, T, H, W) in 0..1 shows, as a scene; fields of a subject that is not there are ""."""
        number, covered = self._background(clip)
        place = self.places[number][0]
        areas = covered.mean((1, 2))
        if float(areas.mean()) < LEAST_AREA:
            return Scene("", "", "", "", "", place)
        track = self._track(covered)
        subject = self._subject(clip, number, covered, track)
        if subject in SHAPES:
            return _shape_scene(clip, subject)
        motion, direction = _motion(track, areas, kind_of(subject))
        return Scene(subject, "", "medium", motion, direction, place)

    def _background(self, clip):
        """The nearest background's number and how far each pixel is covered, (T, H, W) in 0..1."""
        middle = clip.median(1).values
        # Coarsely: an autoencoder may blur windows and waves.
        off = F.avg_pool2d((middle - self.views), self.side // 16).abs().mean(1)
        nearest = off.flatten(1).sort(1).values[:, : off[0].numel() * 3 // 5].mean(1).argmin()
        blurred = F.avg_pool2d(clip.transpose(0, 1) - self.views[nearest], BLUR, 1, BLUR // 2, count_include_pad=False)
        return int(nearest), (blurred.abs().mean(1) > DIFFERS).float()

    def _track(self, covered):
        """Centre x and y for each frame, as parts of the side."""
        line = (torch.arange(self.side, device=covered.device) + 0.5) / self.side
        mass = covered.sum((1, 2)).clamp(min=1)
        return (covered.sum(1) * line).sum(1) / mass, (covered.sum(2) * line).sum(1) / mass

    def _laid(self, number, pictures, frame, half, x, y):
        """Mean square error of `pictures` (N, 4, h, w) laid over a background with half side and centre (N each), and their part in the frame."""
        line = (torch.arange(self.side, device=frame.device) + 0.5) / self.side
        across, down = (line - x[:, None]) / half[:, None], (line - y[:, None]) / half[:, None]
        grid = torch.stack([across[:, None].expand(-1, self.side, -1), down[:, :, None].expand(-1, -1, self.side)], -1)
        laid = F.grid_sample(pictures, grid, align_corners=False)
        image = self.views[number] * (1 - laid[:, 3:]) + laid[:, :3]
        return (image - frame).square().mean(1), laid[:, 3]

    def _subject(self, clip, number, covered, track):
        """Name of the picture or shape that fits best."""
        areas = covered.mean((1, 2))
        errors = []
        for frame in COMPARED:
            if float(areas[frame]) < LEAST_AREA:
                continue
            half = (areas[frame] / self.area).sqrt()
            x, y = track[0][frame] - half * self.middle_x, track[1][frame] - half * self.middle_y
            error, alpha = self._laid(number, self.textures, clip[:, frame], half, x, y)
            near = torch.maximum(F.max_pool2d(covered[frame][None, None], 3, 1, 1)[:, 0], alpha)
            errors.append((error * near).sum((1, 2)) / near.sum((1, 2)))
        kept = torch.stack(errors).sort(0).values[: (len(errors) + 1) // 2]  # leaning or half outside, it fits less well
        return self.names[int(kept.mean(0).argmin())][0]


def _motion(track, areas, kind):
    """Motion and direction from the centre and the area over time."""
    x, y, areas = (np.asarray(values.cpu(), dtype=float) for values in (*track, areas))
    right, down = x[-3:].mean() - x[:3].mean(), y[-3:].mean() - y[:3].mean()
    growth = (areas[-4:].mean() + 1e-6) / (areas[:4].mean() + 1e-6)
    if growth > GROWTH or growth < 1 / GROWTH:
        return ("grow" if growth > 1 else "shrink"), ""
    if abs(right) > max(TRAVEL, abs(down)):
        return ("walk" if kind == "walker" else "move"), ("right" if right > 0 else "left")
    if abs(down) > TRAVEL:
        return "move", UPRIGHT[int(down > 0)]
    return ("bounce" if np.ptp(y) > HOPS else "stay"), ""


def _shape_scene(clip, subject):
    """A shape scene as `reader` reads it."""
    read = reader.read(clip.permute(1, 2, 3, 0).mul(255).cpu().numpy())
    direction = read.motion if read.motion in ("left", "right", "up", "down") else ""
    motion = "move" if direction else read.motion or ""
    return Scene(read.shape or subject, read.color or "", read.size or "", motion, direction, read.background)
