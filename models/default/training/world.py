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
ACROSS, STILL = ("move", SIDEWAYS), ("stay", ("",))
SIMPLE_KINDS = {
    "walker": Kind((("walk", SIDEWAYS), ("walk", SIDEWAYS), ("bounce", ("",)), STILL), ("grass", "grass", "beach", "snow")),
    "flyer": Kind((ACROSS, ACROSS, STILL), ("sky", "sky", "grass")),
    "swimmer": Kind((ACROSS, ACROSS, STILL), ("sea",)),
    "vehicle": Kind((ACROSS, ACROSS, STILL), ("city", "city", "grass")),
    "boat": Kind((ACROSS, ACROSS, STILL), ("sea",)),
    "thing": Kind((("grow", ("",)), STILL), ("grass", "snow")),
}


@dataclass(frozen=True)
class Subject:
    """One picture: its character in the font, its kind, and the colours that it may also have."""

    code: int
    kind: str
    colors: tuple = ()


WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
SUBJECTS = {name: Subject(about["code"], about["kind"], tuple(about.get("colors", ()))) for name, about in WORDS["subjects"].items()}
NATURAL_COLORS = {"car": "red", "boat": "red", "bird": "blue", "fish": "blue", "tree": "green"}  # what their own colours may be called
STATIC = ("tree", "house")  # these neither bounce nor turn nor rise
SHAPE_UNSAID = dict(color=0.03, size=0.10, subject=0.02, motion=0.03, place=0.04)  # chances that a caption leaves it open
PICTURE_UNSAID = dict(size=0.5, direction=0.2, motion=0.04, place=0.05)
PAIR_CHANCE, SHAPE_CHANCE, ODD_PLACE_CHANCE, DAY_CHANCE, STILL_CHANCE = 0.15, 0.3, 0.15, 0.6, 0.6


@dataclass(frozen=True)
class World:
    """Which part of all this is drawn.

    A `simple` world is for little training: one subject in its own colours and in one size, `SIMPLE_KINDS`; daylight; a still
    camera; one view of every place instead of a random part of its panorama; English captions.
    """

    subjects: tuple = tuple(SUBJECTS)
    simple: bool = False
    shape_chance: float = SHAPE_CHANCE

    @property
    def kinds(self):
        """How groups of subjects behave."""
        return SIMPLE_KINDS if self.simple else KINDS


WHOLE_WORLD = World()
SMALL_WORLD = World(("cat", "dog", "bird", "fish", "car", "boat", "tree"), simple=True, shape_chance=0.4)  # ball and star are shapes
SHIPPED_WORLD = World((), simple=True, shape_chance=1.0)  # of the weights in this repository; fleet.toml lists its words


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


def _picture_scene(chooser, world):
    subject = chooser.choice(world.subjects)
    about, kind = SUBJECTS[subject], world.kinds[SUBJECTS[subject].kind]
    motion, directions = chooser.choice(kind.motions)
    if subject in STATIC and motion in ("bounce", "spin", "move"):
        motion, directions = "stay", ("",)
    place = chooser.choice(PAINTED_PLACES if not world.simple and chooser.random() < ODD_PLACE_CHANCE else kind.homes)
    light = "day" if world.simple or place == "space" or chooser.random() < DAY_CHANCE else chooser.choice(LIGHTS[1:])
    direction = chooser.choice(directions)
    color = chooser.choice(about.colors) if about.colors and not world.simple and chooser.random() < 0.5 else ""
    if color == "white" and place in ("snow", "sky"):  # would not be seen
        color = ""
    pair = not world.simple and chooser.random() < PAIR_CHANCE and motion not in ("grow", "shrink", "spin")
    others = [name for name in world.subjects if SUBJECTS[name].kind == about.kind and name != subject]
    second = chooser.choice(others) if pair and others else ""
    size = chooser.choice(("medium",) if world.simple else SIZES[:2] if second else SIZES)
    camera = "still" if world.simple else _camera(motion, direction, chooser)
    return Scene(subject, color, size, motion, direction, place, light, camera, second)


def sample(chooser, world=WHOLE_WORLD, held_out=False, shape_chance=None):
    """A random scene, one of those kept from training or one of the others."""
    chance = world.shape_chance if shape_chance is None else shape_chance
    while True:
        scene = _shape_scene(chooser) if chooser.random() < chance else _picture_scene(chooser, world)
        few = world.simple and not scene.is_shape  # too few combinations to keep any of them from training
        if few or is_held_out(scene) == held_out:
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
