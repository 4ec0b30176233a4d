"""Turns scenes into sentences: many words for each thing, in changing order, some things left unsaid.

What a caption leaves out is free in the clip, so that short prompts give something that fits. Words for things that
cannot be drawn (a car, a flower) stand for the nearest shape.
"""

from dataclasses import replace

COLORS = {
    "red": ("red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "tangerine"),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green", "green", "lime", "emerald"),
    "blue": ("blue", "blue", "sapphire"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "magenta"),
    "cyan": ("cyan", "cyan", "turquoise", "teal"),
}
SIZES = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium", "medium-sized", "mid-sized"),
    "large": ("large", "big", "huge", "giant"),
}
SHAPES = {
    "ball": ("ball", "ball", "circle", "sphere", "disc"),
    "square": ("square", "square", "box", "block", "cube"),
    "triangle": ("triangle", "triangle", "pyramid"),
    "star": ("star", "star", "five-pointed star"),
}
NEAREST_SHAPES = {
    "ball": ("balloon", "moon", "sun", "apple", "planet", "wheel", "coin", "bubble", "dog", "cat", "person", "face"),
    "square": ("car", "house", "robot", "truck", "window", "gift", "train", "bus", "book", "building"),
    "triangle": ("tent", "mountain", "boat", "sail", "arrow", "rocket", "plane", "ship", "tree", "fish"),
    "star": ("flower", "bird", "butterfly", "snowflake", "firework", "spark", "dragon", "horse"),
}
MOTIONS = {
    "right": (
        "moves to the right", "rolls to the right", "slides right", "moves right", "drifts from left to right",
        "flies to the right", "travels to the right", "goes right", "runs to the right",
    ),
    "left": (
        "moves to the left", "rolls to the left", "slides left", "moves left", "drifts from right to left",
        "flies to the left", "travels to the left", "goes left", "runs to the left",
    ),
    "up": ("moves up", "rises", "floats up", "climbs upwards", "goes up", "flies up", "moves from bottom to top"),
    "down": ("moves down", "falls", "sinks", "drops down", "goes down", "falls down", "moves from top to bottom"),
    "bounce": ("bounces", "bounces up and down", "jumps up and down", "hops", "is bouncing", "jumps"),
    "spin": ("spins", "rotates", "turns around", "is spinning", "twirls", "is rotating"),
    "grow": ("grows", "gets bigger", "expands", "is growing", "swells", "becomes larger"),
    "shrink": ("shrinks", "gets smaller", "is shrinking", "becomes smaller", "contracts"),
    "stay": ("stays still", "rests", "does not move", "stands still", "sits still", "stays in place", "waits"),
}
BACKGROUNDS = {
    "grass": ("on the grass", "across the grass", "on a green meadow", "over a lawn", "in a field", "in a forest", "in a park"),
    "sky": ("in the sky", "against a blue sky", "through the clouds", "in the air", "on a sunny day"),
    "sand": ("on the sand", "on a beach", "in the desert", "across the dunes", "over the sand"),
    "night": ("at night", "in the night sky", "in the dark", "in space", "under the stars at midnight"),
    "snow": ("on the snow", "across the snow", "in winter", "on the ice", "over a snowy plain"),
    "sea": ("in the sea", "in the ocean", "under water", "on the waves", "across the sea"),
    "road": ("on the road", "along a street", "on gray asphalt", "in the city", "across the road"),
}
OPENINGS = ("", "", "", "", "A video of ", "A clip of ", "An animation of ", "We see ", "There is ", "A short film of ")
ENDINGS = (
    "", "", "", "", ", cinematic", ", high quality", ", 4k", ", in slow motion", ", soft light", ", realistic",
    ", beautiful lighting", ", highly detailed", ", smooth camera", ", wide shot", ", close-up", ", masterpiece",
)
ADVERBS = ("", "", "", " slowly", " quickly", " gently", " smoothly")
UNSAID_CHANCE = {"color": 0.03, "size": 0.10, "shape": 0.02, "motion": 0.03, "background": 0.04}


def write(scene, chooser):
    """A caption for the scene, and the scene with None for everything the caption does not say."""
    said = replace(scene, **{field: None for field, chance in UNSAID_CHANCE.items() if chooser.random() < chance})
    shapes = NEAREST_SHAPES if said.shape and chooser.random() < 0.08 else SHAPES
    noun = chooser.choice(shapes[said.shape]) if said.shape else chooser.choice(("thing", "shape", "object", "something"))
    color = chooser.choice(COLORS[said.color]) if said.color else ""
    size = chooser.choice(SIZES[said.size]) if said.size else ""
    motion = chooser.choice(MOTIONS[said.motion]) + chooser.choice(ADVERBS) if said.motion else ""
    place = chooser.choice(BACKGROUNDS[said.background]) if said.background else ""
    opening, ending = chooser.choice(OPENINGS), chooser.choice(ENDINGS)
    order = chooser.random()
    if order < 0.62:
        text = f"{opening}a {size} {color} {noun} {motion} {place}{ending}"
    elif order < 0.74:
        text = f"{place}, a {size} {color} {noun} {motion}{ending}"
    elif order < 0.84:
        text = f"{opening}a {color} {noun}, {size}, {motion} {place}{ending}"
    elif order < 0.92:
        text = f"{opening}a {size} {color} {noun} that {motion} {place}{ending}"
    else:
        text = f"{size} {color} {noun}, {motion}, {place}{ending}"
    return _tidy(text, chooser), said


def _tidy(text, chooser):
    text = " ".join(text.split()).replace(" ,", ",")
    while ",," in text or ", ," in text:
        text = text.replace(",,", ",").replace(", ,", ",")
    text = text.strip(" ,")
    for vowel in "aeiou":
        text = text.replace(f"a {vowel}", f"an {vowel}") if text.startswith(f"a {vowel}") else text.replace(f" a {vowel}", f" an {vowel}")
    style = chooser.random()
    if style < 0.5:
        text = text[:1].upper() + text[1:]
    if chooser.random() < 0.3:
        text += "."
    return text.lower() if style > 0.9 else text


def plain(scene):
    """The one plain wording of a scene, which the judge and the tests use."""
    motion, place = MOTIONS[scene.motion][0], BACKGROUNDS[scene.background][0]
    return f"a {scene.size} {scene.color} {scene.shape} {motion} {place}"
