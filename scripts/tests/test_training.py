"""The world that the default model is trained on, as far as it needs no torch: scenes, their captions, what is held out.

Run: scripts/python -m unittest discover -s scripts/tests
"""

import random
import tomllib
import unittest
from dataclasses import fields

from fleet_stack.paths import ROOT
from training import shapes, words, world


def scenes(count: int, **options) -> list[world.Scene]:
    """Random scenes, the same on every run."""
    chooser = random.Random(5)
    return [world.sample(chooser, **options) for _ in range(count)]


class Scenes(unittest.TestCase):
    def test_every_value_of_every_field_occurs_and_no_other(self):
        drawn = scenes(6000)
        for field in fields(world.Scene):
            seen = {getattr(scene, field.name) for scene in drawn}
            self.assertEqual(seen, set(world.FIELDS[field.name]), field.name)

    def test_the_small_world_has_only_its_pictures(self):
        drawn = scenes(800, world=world.SMALL_WORLD)
        self.assertEqual({scene.subject for scene in drawn}, {*world.SMALL_WORLD.subjects, *world.SHAPES})
        for scene in drawn:
            self.assertEqual((scene.light, scene.camera, scene.second), ("day", "still", ""))
            self.assertTrue(scene.is_shape or (scene.color, scene.size) == ("", "medium"), scene)

    def test_held_out_scenes_are_few_and_never_sampled_for_training(self):
        self.assertFalse(any(map(world.is_held_out, scenes(2000))))
        self.assertTrue(all(map(world.is_held_out, scenes(200, held_out=True))))
        chooser = random.Random(6)
        met = [world.is_held_out(world._picture_scene(chooser, world.WHOLE_WORLD)) for _ in range(4000)]
        self.assertTrue(0.04 < sum(met) / len(met) < 0.08, sum(met) / len(met))

    def test_shape_scenes_hold_out_what_the_judge_of_the_shapes_asks_for(self):
        # The keys that crates/testkit/src/shapes uses: colour, size, shape, motion or direction, background.
        scene = world.Scene("star", "red", "small", "move", "up", "sea")
        for held_out in (True, False):
            of_shapes = [s for s in scenes(400, held_out=held_out, shape_chance=1.0) if s.motion == "move"]
            self.assertTrue(of_shapes and all(world.is_held_out(s) == held_out for s in of_shapes))
        key = "red/small/star/up/sea"
        value = 2166136261
        for byte in key.encode():
            value = ((value ^ byte) * 16777619) % 2**32
        self.assertEqual(world.is_held_out(scene), value % 1009 % 17 == 0)

    def test_shapes_know_the_same_names_as_the_world(self):
        self.assertEqual(tuple(shapes.COLORS), world.SHAPE_COLORS)
        self.assertEqual(tuple(shapes.BACKGROUNDS), world.PLAIN_PLACES)
        self.assertEqual(tuple(shapes.RADII), world.SHAPES)


class Captions(unittest.TestCase):
    def test_plain_captions_read_as_people_write(self):
        cat = world.Scene("cat", "", "medium", "walk", "right", "grass")
        self.assertEqual(words.plain(cat), "A medium cat walks to the right on the grass")
        self.assertEqual(words.plain(cat, words.chinese), "一只中等大小的猫在草地上向右走")
        pair = world.Scene("dog", "black", "small", "run", "left", "beach", "sunset", "pan left", "cat")
        self.assertEqual(words.plain(pair), "A small black dog and a cat run to the left on the beach at sunset, the camera pans left")
        ball = world.Scene("ball", "orange", "large", "move", "up", "sea")
        self.assertEqual(words.plain(ball), "A large orange ball moves up in the sea")

    def test_both_languages_occur_and_no_caption_is_untidy(self):
        chooser = random.Random(8)
        captions = [words.write(scene, chooser)[0] for scene in scenes(3000)]
        chinese = sum(any("\u4e00" <= letter <= "\u9fff" for letter in caption) for caption in captions)
        self.assertTrue(0.25 < chinese / len(captions) < 0.45, chinese)
        for caption in captions:
            self.assertEqual(caption, caption.strip())
            for slip in ("  ", " ,", ",,", "None", "，，", " a a", " a e"):
                self.assertNotIn(slip, caption)

    def test_captions_of_the_small_world_are_english_and_name_no_size_of_a_picture(self):
        chooser = random.Random(10)
        for scene in scenes(400, world=world.SMALL_WORLD):
            caption, said = words.write(scene, chooser, world.SMALL_WORLD)
            self.assertTrue(caption.isascii(), caption)
            self.assertTrue(scene.is_shape or said.size is None and said.color in ("", world.NATURAL_COLORS.get(scene.subject)), caption)

    def test_the_manifest_lists_every_word_of_the_shipped_models_captions(self):
        manifest = tomllib.loads((ROOT / "models/default/fleet.toml").read_text(encoding="utf-8"))
        self.assertEqual(manifest["world"]["words"], words.vocabulary(world.SHIPPED_WORLD))

    def test_what_a_caption_leaves_out_is_marked_as_unsaid(self):
        chooser = random.Random(9)
        for scene in scenes(400):
            caption, said = words.write(scene, chooser)
            for field in fields(world.Scene):
                self.assertIn(getattr(said, field.name), (None, getattr(scene, field.name)), caption)
            if said.subject and not scene.is_shape:
                wordings = world.WORDS["subjects"][scene.subject]
                nouns = [*wordings["en"], *(noun[1:] for noun in wordings["zh"])]
                self.assertTrue(any(noun in caption.lower() for noun in nouns), caption)
