"""Pinning images: which lines are pinned, that a second run replaces the digest, and that nothing is half pinned."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import unittest
from pathlib import Path

from fleet_stack import pins
from fleet_stack.console import Problem
from fleet_stack.paths import ROOT

TEXT = """services:
  redis:
    image: redis:7-alpine  # the cache
  api:
    image: hunyuan-fleet/api:${FLEET_TAG:-local}
  grafana:
    image: example.com/grafana/grafana:13.2.1
"""


def made_up(letter: str):
    return lambda name: f"sha256:{letter * 64}"


class Pins(unittest.TestCase):
    def test_a_second_run_replaces_the_digest(self) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            file = Path(folder) / "compose.yml"
            file.write_text(TEXT)
            for letter in "ab":
                pins.pin([file], made_up(letter))
                text = file.read_text()
                self.assertIn(f"    image: redis:7-alpine@sha256:{letter * 64}  # the cache\n", text)
                self.assertIn(f"    image: example.com/grafana/grafana:13.2.1@sha256:{letter * 64}\n", text)
                self.assertIn("    image: hunyuan-fleet/api:${FLEET_TAG:-local}\n", text)
            self.assertEqual(re.sub(r"@sha256:b{64}", "", text), TEXT)

    def test_nothing_is_written_if_an_image_cannot_be_found(self) -> None:
        def ask(name: str) -> str:
            if "grafana" in name:
                return f"sha256:{'a' * 64}"
            raise Problem("no such image")

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "compose.yml"
            file.write_text(TEXT)
            with self.assertRaises(Problem):
                pins.pin([file], ask)
            self.assertEqual(file.read_text(), TEXT)

    def test_images_without_a_digest_are_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            file = Path(folder) / "values.yaml"
            file.write_text(TEXT)
            with self.assertRaisesRegex(Problem, "redis:7-alpine"):
                pins.check([file])
            pins.pin([file], made_up("a"))
            pins.check([file])
            file.write_text(file.read_text() + "  other:\n    image: busybox:latest\n")
            with self.assertRaisesRegex(Problem, "busybox:latest"):
                pins.check([file])

    def test_every_service_image_of_the_checkout_is_found(self) -> None:
        compose = pins.images((ROOT / "docker-compose.yml").read_text())
        self.assertEqual([name.rpartition("/")[2].partition(":")[0] for name in compose], ["grafana", "postgres", "prometheus", "rabbitmq", "redis"])
        chart = pins.images((ROOT / "helm/values.yaml").read_text())
        self.assertEqual([name.rpartition("/")[2].partition(":")[0] for name in chart], ["curl", "postgres", "rabbitmq", "redis"])
