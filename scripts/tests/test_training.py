"""The world that the default model is trained on, as far as it needs no torch: scenes, their captions, what is held out."""

import random
import tomllib
from dataclasses import fields

from fleet_stack.paths import ROOT
from training import shapes, words, world


def scenes(count: int, **options) -> list[world.Scene]:
    """Random scenes, the same on every run."""
    chooser = random.Random(5)
    return [world.sample(chooser, **options) for _ in range(count)]


def test_every_value_of_every_field_occurs_and_no_other():
    drawn = scenes(6000)
    for field in fields(world.Scene):
        seen = {getattr(scene, field.name) for scene in drawn}
        assert seen == set(world.FIELDS[field.name]), field.name


def test_the_small_world_has_only_its_pictures():
    drawn = scenes(800, world=world.SMALL_WORLD)
    assert {scene.subject for scene in drawn} == {*world.SMALL_WORLD.subjects, *world.SHAPES}
    for scene in drawn:
        assert (scene.light, scene.camera, scene.second) == ("day", "still", "")
        assert scene.is_shape or (scene.color, scene.size) == ("", "medium"), scene


def test_held_out_scenes_are_few_and_never_sampled_for_training():
    assert not any(map(world.is_held_out, scenes(2000)))
    assert all(map(world.is_held_out, scenes(200, held_out=True)))
    chooser = random.Random(6)
    met = [world.is_held_out(world._picture_scene(chooser, world.WHOLE_WORLD)) for _ in range(4000)]
    assert 0.04 < sum(met) / len(met) < 0.08, sum(met) / len(met)


def test_shape_scenes_hold_out_what_the_judge_of_the_shapes_asks_for():
    # The keys that crates/testkit/src/shapes uses: colour, size, shape, motion or direction, background.
    scene = world.Scene("star", "red", "small", "move", "up", "sea")
    for held_out in (True, False):
        of_shapes = [s for s in scenes(400, held_out=held_out, shape_chance=1.0) if s.motion == "move"]
        assert of_shapes and all(world.is_held_out(s) == held_out for s in of_shapes)
    key = "red/small/star/up/sea"
    value = 2166136261
    for byte in key.encode():
        value = ((value ^ byte) * 16777619) % 2**32
    assert world.is_held_out(scene) == (value % 1009 % 17 == 0)


def test_shapes_know_the_same_names_as_the_world():
    assert tuple(shapes.COLORS) == world.SHAPE_COLORS
    assert tuple(shapes.BACKGROUNDS) == world.PLAIN_PLACES
    assert tuple(shapes.RADII) == world.SHAPES


def test_plain_captions_read_as_people_write():
    cat = world.Scene("cat", "", "medium", "walk", "right", "grass")
    assert words.plain(cat) == "A medium cat walks to the right on the grass"
    assert words.plain(cat, words.chinese) == "一只中等大小的猫在草地上向右走"
    pair = world.Scene("dog", "black", "small", "run", "left", "beach", "sunset", "pan left", "cat")
    assert words.plain(pair) == "A small black dog and a cat run to the left on the beach at sunset, the camera pans left"
    ball = world.Scene("ball", "orange", "large", "move", "up", "sea")
    assert words.plain(ball) == "A large orange ball moves up in the sea"


def test_both_languages_occur_and_no_caption_is_untidy():
    chooser = random.Random(8)
    captions = [words.write(scene, chooser)[0] for scene in scenes(3000)]
    chinese = sum(any("\u4e00" <= letter <= "\u9fff" for letter in caption) for caption in captions)
    assert 0.25 < chinese / len(captions) < 0.45, chinese
    for caption in captions:
        assert caption == caption.strip()
        for slip in ("  ", " ,", ",,", "None", "，，", " a a", " a e"):
            assert slip not in caption


def test_captions_of_the_small_world_are_english_and_name_no_size_of_a_picture():
    chooser = random.Random(10)
    for scene in scenes(400, world=world.SMALL_WORLD):
        caption, said = words.write(scene, chooser, world.SMALL_WORLD)
        assert caption.isascii(), caption
        assert scene.is_shape or said.size is None and said.color in ("", world.NATURAL_COLORS.get(scene.subject)), caption


def test_the_manifest_lists_every_word_of_the_shipped_models_captions():
    manifest = tomllib.loads((ROOT / "models/default/fleet.toml").read_text(encoding="utf-8"))
    assert manifest["world"]["words"] == words.vocabulary(world.SHIPPED_WORLD)


def test_what_a_caption_leaves_out_is_marked_as_unsaid():
    chooser = random.Random(9)
    for scene in scenes(400):
        caption, said = words.write(scene, chooser)
        for field in fields(world.Scene):
            assert getattr(said, field.name) in (None, getattr(scene, field.name)), caption
        if said.subject and not scene.is_shape:
            wordings = world.WORDS["subjects"][scene.subject]
            nouns = [*wordings["en"], *(noun[1:] for noun in wordings["zh"])]
            assert any(noun in caption.lower() for noun in nouns), caption
