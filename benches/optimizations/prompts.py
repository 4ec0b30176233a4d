"""The requests: scenes that the default model was trained on, in the words of requests of every complexity.

The words after the scene ask for camera, light and finish. The default model knows them as style words; the prompt analysis
counts them, as it would for the released model.
"""

import random
from dataclasses import dataclass

MOTIONS = {
    "right": "moves to the right", "left": "moves to the left", "up": "rises", "down": "falls", "bounce": "bounces up and down",
    "grow": "grows", "shrink": "shrinks", "stay": "stays still", "spin": "spins",
}
PLACES = {
    "grass": "on the grass", "sky": "in the sky", "sand": "on the sand", "night": "at night", "snow": "on the snow", "sea": "in the sea",
    "road": "on the road",
}
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "cyan")
SIZES = ("small", "medium", "large")
SHAPES = ("ball", "square", "triangle", "star")
STYLES = {
    "simple": "",
    "moderate": ", cinematic, wide shot",
    "complex": ", in slow motion, soft light, close-up, smooth camera, highly detailed, realistic, 4k",
    "very_complex": (
        ", the camera pans slowly and zooms in, wide shot, golden hour, soft light, lens flare and reflections, rain and fog in a crowded "
        "city, people run and dance, birds fly, cars drive, in slow motion, cinematic, photorealistic, highly detailed, masterpiece, 8k"
    ),
}
# Kinds of a day's requests: complexity, tier, share.
MIX = (
    ("simple", "auto", 8), ("moderate", "auto", 5), ("complex", "auto", 3), ("very_complex", "auto", 1), ("simple", "preview", 2),
    ("complex", "preview", 1), ("simple", "standard", 2), ("complex", "standard", 2), ("moderate", "premium", 2),
)
# Of all requests, those that repeat an earlier prompt with another seed.
REPEATS = 0.35


@dataclass(frozen=True)
class Scene:
    """What the video should show, in the terms of the judge."""

    color: str
    size: str
    shape: str
    motion: str
    background: str

    def prompt(self, complexity: str = "simple") -> str:
        return f"a {self.size} {self.color} {self.shape} {MOTIONS[self.motion]} {PLACES[self.background]}{STYLES[complexity]}"


def scenes(count: int, seed: int) -> list[Scene]:
    """Different ones, the same for the same seed."""
    chooser = random.Random(seed)
    found: list[Scene] = []
    while len(found) < count:
        scene = Scene(chooser.choice(COLORS), chooser.choice(SIZES), chooser.choice(SHAPES), chooser.choice(list(MOTIONS)), chooser.choice(list(PLACES)))
        # A spinning ball looks like a resting one.
        if (scene.shape, scene.motion) != ("ball", "spin") and scene not in found:
            found.append(scene)
    return found


def mix(count: int, seed: int) -> list[tuple[Scene, dict]]:
    """A day's requests in order: each kind in its share, some prompts again later with another seed."""
    chooser = random.Random(seed)
    kinds = [kind[:2] for kind in MIX for _ in range(kind[2])]
    chooser.shuffle(kinds)
    fresh = round(count * (1 - REPEATS))
    new = [(scene, {"prompt": scene.prompt(kind[0]), "quality_tier": kind[1]})
           for scene, kind in zip(scenes(fresh, seed), (kinds * (fresh // len(kinds) + 1))[:fresh])]
    chooser.shuffle(new)
    again = [chooser.choice(new) for _ in range(count - fresh)]
    order = new + again
    # A repetition is placed anywhere after the original.
    for pair in again:
        order.remove(pair)
    for pair in again:
        order.insert(chooser.randint(order.index(pair) + 1, len(order)), pair)
    return [(scene, {**request, "seed": 1000 + number}) for number, (scene, request) in enumerate(order)]
