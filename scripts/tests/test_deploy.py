"""How the checks read .dockerignore, the Dockerfile and the commands of docs/docker.md."""

import unittest

from deploy_checks import dockerfile
from image_replay import commands


class Ignored(unittest.TestCase):
    """As Docker reads .dockerignore: the last line that fits decides."""

    PATTERNS = ["*", "!api", "!models/default", "models/default/training", "**/__pycache__"]

    def test_what_is_let_through(self) -> None:
        for path in ("api/src/main.rs", "models/default/fleet.toml"):
            self.assertFalse(dockerfile.ignored(path, self.PATTERNS), path)

    def test_what_stays_out(self) -> None:
        for path in (".env", "models/other/fleet.toml", "models/default/training/run.py", "api/__pycache__/a.pyc", "apis/main.rs"):
            self.assertTrue(dockerfile.ignored(path, self.PATTERNS), path)


class Instructions(unittest.TestCase):
    """Continued lines are one instruction, comments none."""

    def test_they_are_joined(self) -> None:
        text = "# syntax=x\nFROM a AS b\nRUN one \\\n # in between\n && two\n\nENTRYPOINT [\"c\"]\n"
        words = [(word, " ".join(rest.split())) for word, rest in dockerfile.instructions(text)]
        self.assertEqual(words, [("FROM", "a AS b"), ("RUN", "one && two"), ("ENTRYPOINT", '["c"]')])


class Documented(unittest.TestCase):
    """The documented commands for inspecting a fleet: all exist, and an expected output is known for each."""

    def test_each_has_its_expected_output(self) -> None:
        lines = commands.documented()
        for part in commands.ANSWERS:
            self.assertTrue(any(part in line for line in lines), part)
        for line in lines:
            self.assertEqual(len([part for part in commands.ANSWERS if part in line]), 1, line)
