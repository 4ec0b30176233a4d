"""Draws clips of scenes, many at a time and on any device: a background under a moving camera, and pictures that move over it.

A clip is fixed by its `Scene` (what the caption may say) and a random generator (what it leaves open: exact position and
travel). Lengths are fractions of the frame; everything is drawn at twice the size and averaged.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from . import places, shapes, sprites
from .world import SHAPES, WHOLE_WORLD, kind_of

FRAMES, FPS = 17, 8
SPIN_RADIANS = {True: math.radians(160), False: math.radians(320)}  # of a shape, of a picture
SMALLEST_SCALE = 0.5  # a growing subject starts at this fraction of its size
SHAPE_EXTENT = 1.6  # half a shape's texture, in radii of the circle of the same area
PICTURE_SIZES = {"small": 0.28, "medium": 0.38, "large": 0.5}
SIMPLE_SIZE = 0.48
REACH, SIMPLE_REACH = {"walk": 0.22, "run": 0.4, "move": 0.34}, {"walk": 0.2, "move": 0.28}  # half of how far it goes
PLAIN_VIEW = 1.0  # where a place's one view in a simple world begins, in frames, if `places.VIEWS` says nothing else
PAN, ZOOM = 0.4, 1.5  # how far a pan goes, in frames; the larger of a zoom's two scales


class Tracks:
    """Centre x and y, half size and angle for each frame (T), and whether the picture is mirrored."""

    def __init__(self, frames, half):
        self.time = np.linspace(0, 1, frames)
        self.x, self.y = np.full(frames, 0.5), np.full(frames, 0.5)
        self.half, self.angle = np.full(frames, half), np.zeros(frames)
        self.mirrored = False

    def scale(self, motion):
        """Growing and shrinking."""
        if motion == "grow":
            self.half = self.half * (SMALLEST_SCALE + (1 - SMALLEST_SCALE) * self.time)
        elif motion == "shrink":
            self.half = self.half * (1 - (1 - SMALLEST_SCALE) * self.time)


def shape_track(scene, frames, chooser):
    """How a shape moves: across the whole frame, as far as its size allows."""
    radius = shapes.SIZES[scene.size] / 64
    track = Tracks(frames, radius * SHAPE_EXTENT)
    free = 0.5 - radius * shapes.reach(scene.subject) - 1 / 64
    near, far = min(max(free, 3 / 64), 9 / 64), max(free, 8 / 64)
    track.x += chooser.uniform(-near, near)
    track.y += chooser.uniform(-near, near)
    travel = far * chooser.uniform(0.85, 1.0)
    sweep = (2 * track.time - 1) * travel
    if scene.direction in ("left", "right"):
        track.x = 0.5 + (sweep if scene.direction == "right" else -sweep)
    elif scene.direction:
        track.y = 0.5 + (sweep if scene.direction == "down" else -sweep)
    elif scene.motion == "bounce":
        track.y = 0.5 + far - 2 * travel * np.abs(np.sin(2 * math.pi * track.time))
    elif scene.motion == "spin":
        track.angle = track.time * SPIN_RADIANS[True]
    track.scale(scene.motion)
    return track


def height_of(kind, place, half, chooser):
    """Where a picture's centre is, in frames from the top: on the ground, on the water or in the air."""
    if place in ("sky", "space") or kind == "swimmer":
        return chooser.uniform(0.42, 0.58) + (0.16 if kind == "swimmer" and place not in ("sky", "space") else 0)
    if kind == "flyer":
        return chooser.uniform(0.28, 0.38)
    if place == "sea":
        return chooser.uniform(0.58, 0.66) - half
    foot = chooser.uniform(0.86, 0.92) if place == "city" else chooser.uniform(0.8, 0.92)
    return max(foot - half, 0.5)


def picture_track(scene, frames, chooser, simple=False):
    """How a picture moves: walkers bob, runners leap, boats rock, flyers glide."""
    kind = kind_of(scene.subject)
    zooms = scene.camera.startswith("zoom")
    half = (SIMPLE_SIZE if simple else PICTURE_SIZES[scene.size]) / 2 * chooser.uniform(0.94, 1.06) * (0.8 if zooms else 1.0)
    track = Tracks(frames, half)
    time, phase = track.time, chooser.uniform(0, 2 * math.pi)
    track.y = np.full(frames, height_of(kind, scene.place, half, chooser))
    if zooms:  # it has to be inside the frame at the larger scale too
        track.y = np.minimum(track.y, 0.76 - half)
    room = 0.25 if scene.camera == f"pan {scene.direction}" else 0.65 if zooms else 1.0
    if scene.direction in ("left", "right"):
        reach = (SIMPLE_REACH if simple else REACH)[scene.motion] * chooser.uniform(0.9, 1.0) * room
        sweep = (2 * time - 1) * reach
        track.x = 0.5 + (sweep if scene.direction == "right" else -sweep)
        track.mirrored = scene.direction == "right"
    elif scene.direction:
        sweep = (2 * time - 1) * chooser.uniform(0.26, 0.3)
        track.y = 0.5 + (sweep if scene.direction == "down" else -sweep)
        track.x += chooser.uniform(-0.1, 0.1)
    else:
        track.x += chooser.uniform(-0.12, 0.12) * (1.0 if scene.camera == "still" else 0.3)
        track.mirrored = chooser.random() < 0.5
    if scene.motion == "walk":
        track.y = track.y - 0.018 * np.abs(np.sin(3 * math.pi * time + phase))
        track.angle = 0.09 * np.sin(6 * math.pi * time + phase)
    elif scene.motion == "run":
        track.y = track.y - 0.07 * np.abs(np.sin(4 * math.pi * time + phase))
        track.angle = 0.16 * np.sin(8 * math.pi * time + phase)
    elif scene.motion == "bounce":
        track.y = track.y - (0.2 if simple else 0.26) * np.abs(np.sin(2 * math.pi * time))
    elif scene.motion == "spin":
        track.angle = time * SPIN_RADIANS[False]
    elif kind == "boat":
        track.angle = 0.07 * np.sin(3 * math.pi * time + phase)
    elif scene.motion == "move" and kind in ("flyer", "swimmer") and scene.direction in ("left", "right"):
        track.y = track.y + 0.025 * np.sin(3 * math.pi * time + phase)
    track.scale(scene.motion)
    return track


def beside(track, scene, chooser):
    """Moves the first picture aside and gives the second one's track."""
    other = Tracks(len(track.time), float(track.half[0]))
    other.half, other.angle, other.mirrored = track.half, np.roll(track.angle, 3), track.mirrored
    apart = 0.22 if chooser.random() < 0.5 else -0.22
    middle = (track.x - 0.5) * 0.7 + 0.5
    track.x, other.x, other.y = middle - apart, middle + apart, track.y
    return other


def camera_of(scene, frames):
    """How far the view has moved to the right, in frames, and its scale, for each frame (T)."""
    time = np.linspace(0, 1, frames)
    shift = {"pan right": PAN * (time - 0.5), "pan left": PAN * (0.5 - time)}.get(scene.camera, np.zeros(frames))
    scale = {"zoom in": 1 + (ZOOM - 1) * time, "zoom out": ZOOM - (ZOOM - 1) * time}.get(scene.camera, np.ones(frames))
    return shift, scale


class Painter:
    """Textures and panoramas for frames of one size, on one device."""

    def __init__(self, side, device, world=WHOLE_WORLD):
        self.side, self.device, self.world = side, device, world
        texture = side * 3 // 4
        textures, self.numbers = sprites.pictures(texture, world.subjects)
        line = ((torch.arange(4 * texture) + 0.5) / (2 * texture) - 1) * SHAPE_EXTENT
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        masks = {shape: F.avg_pool2d(shapes.coverage(shape, columns, rows)[None], 4) for shape in SHAPES}
        painted = []
        for shape in SHAPES:
            for name, color in shapes.COLORS.items():
                self.numbers[shape, name] = len(textures) + len(painted)
                painted.append(torch.cat([masks[shape] * torch.tensor(color).view(3, 1, 1) / 255, masks[shape]]))
        self.textures = torch.cat([textures, torch.stack(painted)]).to(device)
        panoramas, self.backgrounds = places.panoramas(side * 3 // 2)
        self.panoramas = panoramas.to(device)

    def plan(self, scene, frames, chooser):
        """Everything about one clip as numbers: (background, x offset, camera, tint) and two objects (texture, track)."""
        shift, scale = camera_of(scene, frames)
        offset = places.VIEWS.get(scene.place, PLAIN_VIEW) if self.world.simple else chooser.uniform(0.5, places.WIDE - 1.5)
        objects = []
        if scene.is_shape:
            objects.append((self.numbers[scene.subject, scene.color], shape_track(scene, frames, chooser)))
            return self.backgrounds[scene.place, ""], offset, shift, scale, (1.0, 1.0, 1.0), objects
        track = picture_track(scene, frames, chooser, self.world.simple)
        second = beside(track, scene, chooser) if scene.second else None
        for each in filter(None, (track, second)):
            if not scene.direction:
                each.x = each.x - shift  # it stays where it is while the view moves on
            each.x, each.y, each.half = 0.5 + (each.x - 0.5) * scale, 0.55 + (each.y - 0.55) * scale, each.half * scale
        objects.append((self.numbers[scene.subject, scene.color], track))
        if second:
            objects.append((self.numbers[scene.second, ""], second))
        return self.backgrounds[scene.place, scene.light], offset, shift, scale, places.SUBJECT_TINTS[scene.light], objects

    def clips(self, scenes, chooser, frames=FRAMES):
        """Clips (B, 3, T, side, side) in 0..1 and the subjects' coverage (B, 1, T, side, side)."""
        plans = [self.plan(scene, frames, chooser) for scene in scenes]
        big = 2 * self.side
        line = (torch.arange(big, device=self.device) + 0.5) / big
        chosen, offset, shift, scale, tint, objects = zip(*plans)
        shift, scale = (self._tensor(np.stack(values)) for values in (shift, scale))
        x = (line - 0.5) / scale[..., None] + 0.5 + (shift + self._tensor(offset)[:, None])[..., None]  # (B, T, W), in frames
        y = (line - 0.55) / scale[..., None] + 0.55
        image = self._sampled(self.panoramas[list(chosen)], x * 2 / places.WIDE - 1, y * 2 - 1, "border")
        covered = torch.zeros_like(image[:, :1])
        tint = self._tensor(tint).view(-1, 3, 1, 1, 1)
        for layer in (1, 0):
            present = [number for number, each in enumerate(objects) if len(each) > layer]
            if not present:
                continue
            sprite = self._object([objects[number][layer] for number in present], line)
            alpha = sprite[:, 3:]
            image[present] = image[present] * (1 - alpha) + sprite[:, :3] * tint[present]
            covered[present] = torch.maximum(covered[present], alpha)
        return tuple(F.avg_pool3d(value, (1, 2, 2)).clamp(0, 1) for value in (image, covered))

    def views(self):
        """Every background of a simple world as clips show it, (N, 3, side, side), and what each is: pairs of place and light."""
        names = [name for name in self.backgrounds if name[1] in ("", "day")]
        line = (torch.arange(2 * self.side, device=self.device) + 0.5) / (2 * self.side)
        x = self._tensor([[[places.VIEWS.get(place, PLAIN_VIEW)]] for place, _ in names]) + line
        chosen = self.panoramas[[self.backgrounds[name] for name in names]]
        image = self._sampled(chosen, x * 2 / places.WIDE - 1, line.expand(len(names), 1, -1) * 2 - 1, "border")
        return F.avg_pool3d(image, (1, 2, 2))[:, :, 0].clamp(0, 1), names

    def _object(self, drawn, line):
        numbers, tracks = zip(*drawn)
        x, y, half, angle = (self._tensor(np.stack([getattr(track, name) for track in tracks])) for name in ("x", "y", "half", "angle"))
        mirror = self._tensor([-1.0 if track.mirrored else 1.0 for track in tracks])[:, None, None, None]
        across, down = (line - x[..., None]) / half[..., None], (line - y[..., None]) / half[..., None]
        cos, sin = angle.cos()[..., None, None], angle.sin()[..., None, None]
        across, down = across[:, :, None, :], down[:, :, :, None]
        return self._sampled(self.textures[list(numbers)], (across * cos + down * sin) * mirror, down * cos - across * sin, "zeros")

    def _sampled(self, textures, x, y, padding):
        """Textures (B, C, h, w) looked up at x and y in -1..1, (B, T, W) and (B, T, H) or both (B, T, H, W)."""
        if x.ndim == 3:
            x, y = x[:, :, None, :].expand(-1, -1, y.shape[2], -1), y[..., None].expand(-1, -1, -1, x.shape[2])
        grid = torch.stack([x, y], -1).flatten(1, 2)
        looked_up = F.grid_sample(textures, grid, mode="bilinear", padding_mode=padding, align_corners=False)
        return looked_up.unflatten(2, (x.shape[1], x.shape[2]))

    def _tensor(self, values):
        return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=self.device)
