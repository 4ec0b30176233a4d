"""Turns scenes into sentences as people write them, English and Chinese: many words for each thing, in changing order.

The words are in `words.toml`. In every list the plainest wording comes first; `plain` uses only that one.
"""

import re
from dataclasses import replace

from .world import KINDS, NATURAL_COLORS, PAINTED_PLACES, PLAIN_PLACES, SHAPE_COLORS, WHOLE_WORLD, WORDS, kind_of, unsay

NOUNS = WORDS["shapes"] | WORDS["subjects"]
CHINESE_CHANCE = 0.35
DOUBLED = ("swim", "run", "hop", "spin", "drop", "get", "sit")  # before -ing
ANY_SHAPE = {"en": ("shape", "thing", "object"), "zh": ("个物体", "个东西")}


def _verb(scene, language):
    """Wordings of what the subject does."""
    if scene.direction in ("up", "down"):
        return WORDS["directions"][scene.direction][language]
    verbs = WORDS["motions"][scene.motion]
    return verbs.get(kind_of(scene.subject) if scene.subject else "shape", verbs["any"])[language]


def _verb_forms(base):
    """Third person and -ing form of a verb, which may have words after it."""
    verb, _, rest = base.partition(" ")
    rest = rest and " " + rest
    third = verb[:-1] + "ies" if verb.endswith("fly") else verb + ("es" if verb.endswith(("sh", "o")) else "s")
    stem = verb + verb[-1] if verb in DOUBLED else verb[:-1] if verb.endswith("e") else verb
    return third + rest, stem + "ing" + rest


def _with_article(noun):
    return f"an {noun}" if noun[0] in "aeiou" and not noun.startswith("ufo") else f"a {noun}"


def _said(table, value, language, pick):
    """A wording of the value, or nothing where it is not said."""
    return pick(WORDS[table][value][language]) if value else ""


def english(scene, pick, random):
    """A sentence that says the fields of `scene` that are not None; `pick` chooses a wording, `random` gives 0..1."""
    traits = [_said("sizes", scene.size, "en", pick), _said("colors", scene.color, "en", pick)]
    noun = pick(NOUNS[scene.subject]["en"] if scene.subject else ANY_SHAPE["en"])
    thing = _with_article(" ".join(filter(None, [*traits, noun])))
    if scene.second:
        thing += " and " + _with_article(pick(NOUNS[scene.second]["en"]))
    action = ""
    if scene.motion:
        base = pick(_verb(scene, "en"))
        third, ing = _verb_forms(base)
        continuous = random() < 0.3
        action = ("are " if scene.second else "is ") + ing if continuous else base if scene.second else third
        sideways = _said("directions", scene.direction, "en", pick) if scene.direction in ("left", "right") else ""
        adverb = pick(WORDS["manners"]["adverbs"]["en"]) if scene.motion != "stay" else ""
        action = " ".join(filter(None, [action, adverb, sideways]))
    place, opening = _said("places", scene.place, "en", pick), pick(WORDS["manners"]["openings"]["en"])
    light = "" if scene.is_shape or scene.place == "space" else _said("lights", scene.light, "en", pick)
    camera = "" if scene.is_shape else _said("cameras", scene.camera, "en", pick)
    order = random()
    if order < 0.7 or not place:
        parts = [f"{opening} {thing} {action} {place} {light}"]
    elif order < 0.85:
        parts = [place, f"{thing} {action} {light}"]
    else:
        parts = [thing.partition(" ")[2], action, f"{place} {light}"]
    text = ", ".join(" ".join(part.split()) for part in [*parts, camera, pick(WORDS["manners"]["endings"]["en"])] if part.strip())
    style = random()
    return (text[:1].upper() + text[1:] if style < 0.6 else text) + ("." if 0.2 < style < 0.4 else "")


def chinese(scene, pick, random):
    """The same in Chinese."""
    noun = pick(NOUNS[scene.subject]["zh"] if scene.subject else ANY_SHAPE["zh"])
    traits = _said("sizes", scene.size, "zh", pick) + _said("colors", scene.color, "zh", pick)
    thing = f"一{noun[0]}{traits}{'的' if traits else ''}{noun[1:]}"
    if scene.second:
        thing += "和一" + pick(NOUNS[scene.second]["zh"])
    place = _said("places", scene.place, "zh", pick)
    sideways = _said("directions", scene.direction, "zh", pick) if scene.direction in ("left", "right") else ""
    action = sideways + pick(_verb(scene, "zh")) if scene.motion else ""
    parts = [place, thing + action] if random() < 0.2 else [thing + place + action]
    if not scene.is_shape:
        parts += [_said("lights", scene.light, "zh", pick) if scene.place != "space" else "", _said("cameras", scene.camera, "zh", pick)]
    return "，".join(filter(None, [*parts, pick(WORDS["manners"]["endings"]["zh"])])) + ("。" if random() < 0.3 else "")


def write(scene, chooser, world=WHOLE_WORLD):
    """A caption for the scene, and the scene with None for everything that the caption does not say."""
    said = unsay(scene, chooser)
    if world.simple and not scene.is_shape:  # one size, own colours
        said = replace(said, size=None, color=NATURAL_COLORS.get(scene.subject, "") if chooser.random() < 0.25 else "")
    language = chinese if not world.simple and chooser.random() < CHINESE_CHANCE else english
    return language(said, chooser.choice, chooser.random), said


def plain(scene, language=english):
    """The one plain wording of a scene, which the judge uses."""
    return language(scene, lambda wordings: wordings[0], lambda: 0.5)


def vocabulary(world=WHOLE_WORLD):
    """Every word that captions of this world use, sorted: single English words, and Chinese wordings as they are."""
    kinds = {"shape": KINDS["shape"]} | {kind: world.kinds[kind] for kind in map(kind_of, world.subjects)}
    doing = {(motion, kind) for kind, behaviour in kinds.items() for motion, _ in behaviour.motions}
    colors = SHAPE_COLORS if world.simple else WORDS["colors"]
    places = (*PLAIN_PLACES, *(PAINTED_PLACES if world.subjects else ()))
    wordings = [NOUNS[name] for name in (*WORDS["shapes"], *world.subjects)]
    wordings += [ANY_SHAPE, *(WORDS["colors"][color] for color in colors), *WORDS["sizes"].values(), *WORDS["directions"].values(), *WORDS["manners"].values()]
    wordings += [WORDS["places"][place] for place in dict.fromkeys(places)]
    wordings += [WORDS["motions"][motion].get(kind, WORDS["motions"][motion]["any"]) for motion, kind in doing]
    for table, plainest in (("lights", "day"), ("cameras", "still")):
        wordings += [said for name, said in WORDS[table].items() if name == plainest or not world.simple]
    english = {word for said in wordings for text in said["en"] for word in re.findall(r"[a-z0-9]+", text.lower())}
    chinese = {text for said in wordings for text in said["zh"] if text} if not world.simple else set()
    return sorted(english) + sorted(chinese)
