"""What the clips may show: subjects, motions, places, light and camera, and the rules that combine them. No torch here.

Two kinds of scene share one model. A *shape scene* is one coloured shape on a plain background; it is what the first
default model drew, unchanged. A *picture scene* is one or two pictures from the sprite sheet at a painted place.
"""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

SHAPES = ("ball", "square", "triangle", "star")
SHAPE_COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "cyan")
COLORS = ("", *SHAPE_COLORS, "black", "white")  # "": the picture's own colours
SIZES = ("small", "medium", "large")
MOTIONS = ("move", "walk", "run", "bounce", "spin", "grow", "shrink", "stay")
DIRECTIONS = ("", "left", "right", "up", "down")
PLAIN_PLACES = ("grass", "sky", "sand", "night", "snow", "sea", "road")
PAINTED_PLACES = ("grass", "beach", "sea", "city", "snow", "desert", "sky", "space")
LIGHTS = ("day", "sunset", "night", "neon")
CAMERAS = ("still", "pan left", "pan right", "zoom in", "zoom out")
LAND = ("grass", "beach", "city", "snow", "desert")


@dataclass(frozen=True)
class Kind:
    """How a group of subjects behaves: its motions as (motion, directions) and the places where it is usually found."""

    motions: tuple
    homes: tuple


SIDEWAYS, UPRIGHT, ALL_WAYS = ("left", "right"), ("up", "down"), ("left", "right", "up", "down")
IN_PLACE = (("spin", ("",)), ("grow", ("",)), ("shrink", ("",)), ("stay", ("",)))
KINDS = {
    "shape": Kind((("move", ALL_WAYS), ("bounce", ("",)), *IN_PLACE), PLAIN_PLACES),
    "walker": Kind((("walk", SIDEWAYS), ("run", SIDEWAYS), ("walk", SIDEWAYS), ("bounce", ("",)), *IN_PLACE), LAND),
    "flyer": Kind((("move", SIDEWAYS), ("move", SIDEWAYS), ("move", UPRIGHT), *IN_PLACE), ("sky", "sky", "space", *LAND)),
    "swimmer": Kind((("move", SIDEWAYS), ("move", SIDEWAYS), ("bounce", ("",)), *IN_PLACE), ("sea",)),
    "vehicle": Kind((("move", SIDEWAYS), ("move", SIDEWAYS), *IN_PLACE), ("city", "city", *LAND)),
    "boat": Kind((("move", SIDEWAYS), ("move", SIDEWAYS), *IN_PLACE), ("sea",)),
    "thing": Kind((("bounce", ("",)), ("move", UPRIGHT), *IN_PLACE), (*LAND, "sky")),
}


@dataclass(frozen=True)
class Subject:
    """One picture: its character in the font, its kind, and the colours that it may also have."""

    code: int
    kind: str
    colors: tuple = ()


WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
SUBJECTS = {name: Subject(about["code"], about["kind"], tuple(about.get("colors", ()))) for name, about in WORDS["subjects"].items()}
SMALL_WORLD = ("cat", "dog", "bird", "fish", "car", "boat", "tree")  # ball and star are shapes
STATIC = ("tree", "house")  # these neither bounce nor turn nor rise
SHAPE_UNSAID = dict(color=0.03, size=0.10, subject=0.02, motion=0.03, place=0.04)  # chances that a caption leaves it open
PICTURE_UNSAID = dict(size=0.5, direction=0.2, motion=0.04, place=0.05)
PAIR_CHANCE, SHAPE_CHANCE, ODD_PLACE_CHANCE, DAY_CHANCE, STILL_CHANCE = 0.15, 0.3, 0.15, 0.6, 0.6


@dataclass(frozen=True)
class Scene:
    """What a clip shows, in the words of the tables above; "" where a field does not apply, None where it is left unsaid."""

    subject: str
    color: str
    size: str
    motion: str
    direction: str
    place: str
    light: str = "day"
    camera: str = "still"
    second: str = ""

    @property
    def is_shape(self):
        """Whether this is one of the plain shape scenes."""
        return self.subject in SHAPES


FIELDS = {
    "subject": (*SHAPES, *SUBJECTS),
    "color": COLORS,
    "size": SIZES,
    "motion": MOTIONS,
    "direction": DIRECTIONS,
    "place": tuple(dict.fromkeys((*PLAIN_PLACES, *PAINTED_PLACES))),
    "light": LIGHTS,
    "camera": CAMERAS,
    "second": ("", *SUBJECTS),
}


def kind_of(subject):
    """The kind of a shape or a picture."""
    return "shape" if subject in SHAPES else SUBJECTS[subject].kind


def is_held_out(scene):
    """About 6 % of the combinations are never trained on; spread evenly and the same on every machine.

    For shape scenes the combinations are those of the first default model, so that its judge's prompts stay unseen.
    """
    motion = scene.direction or scene.motion if scene.is_shape else f"{scene.motion} {scene.direction}"
    parts = (scene.color, scene.size, scene.subject, motion, scene.place) if scene.is_shape else (scene.color, scene.subject, motion, scene.place)
    value = 2166136261
    for byte in "/".join(parts).encode():
        value = ((value ^ byte) * 16777619) % 2**32
    return value % 1009 % 17 == 0


def _shape_scene(chooser):
    motion, directions = chooser.choices(KINDS["shape"].motions, weights=(4, 1, 1, 1, 1, 1))[0]
    shape = chooser.choice(SHAPES[1:] if motion == "spin" else SHAPES)  # a spinning ball would look like a resting one
    return Scene(shape, chooser.choice(SHAPE_COLORS), chooser.choice(SIZES), motion, chooser.choice(directions), chooser.choice(PLAIN_PLACES))


def _camera(motion, direction, chooser):
    if chooser.random() < STILL_CHANCE or motion in ("grow", "shrink") or direction in UPRIGHT:
        return "still"
    pans = [f"pan {direction}"] if direction else ["pan left", "pan right"]  # what moves sideways is followed
    return chooser.choice([*pans, *pans, "zoom in", "zoom out"])


def _picture_scene(chooser, subjects):
    subject = chooser.choice(subjects)
    about, kind = SUBJECTS[subject], KINDS[SUBJECTS[subject].kind]
    motion, directions = chooser.choice(kind.motions)
    if subject in STATIC and motion in ("bounce", "spin", "move"):
        motion, directions = "stay", ("",)
    place = chooser.choice(PAINTED_PLACES if chooser.random() < ODD_PLACE_CHANCE else kind.homes)
    light = "day" if place == "space" or chooser.random() < DAY_CHANCE else chooser.choice(LIGHTS[1:])
    direction = chooser.choice(directions)
    color = chooser.choice(about.colors) if about.colors and chooser.random() < 0.5 else ""
    if color == "white" and place in ("snow", "sky"):  # would not be seen
        color = ""
    pair = chooser.random() < PAIR_CHANCE and motion not in ("grow", "shrink", "spin")
    others = [name for name in subjects if SUBJECTS[name].kind == about.kind and name != subject]
    second = chooser.choice(others) if pair and others else ""
    size = chooser.choice(SIZES[:2] if second else SIZES)
    return Scene(subject, color, size, motion, direction, place, light, _camera(motion, direction, chooser), second)


def sample(chooser, subjects=tuple(SUBJECTS), held_out=False, shape_chance=SHAPE_CHANCE):
    """A random scene, one of those kept from training or one of the others."""
    while True:
        scene = _shape_scene(chooser) if chooser.random() < shape_chance else _picture_scene(chooser, subjects)
        if is_held_out(scene) == held_out:
            return scene


def unsay(scene, chooser):
    """The scene with None for what a caption leaves open. Plain light, a still camera and own colours need no words."""
    chances = SHAPE_UNSAID if scene.is_shape else PICTURE_UNSAID
    left_out = {field: None for field, chance in chances.items() if chooser.random() < chance}
    if "motion" in left_out:
        left_out["direction"] = None
    if "direction" in left_out and scene.camera.startswith("pan"):
        left_out.pop("direction")  # the camera's direction would tell it
        left_out.pop("motion", None)
    return replace(scene, **left_out)
