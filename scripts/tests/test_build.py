"""The beginning of `make up`: what is missing is announced, and what would fail later fails now, with the remedy."""

import contextlib
import io
import os
import unittest
from unittest import mock

from fleet_stack import build
from fleet_stack.console import Problem


class EarlyFailures(unittest.TestCase):
    def problem_of(self, call, *arguments: object) -> str:
        with self.assertRaises(Problem) as raised:
            call(*arguments)
        return str(raised.exception)

    def test_too_little_memory(self) -> None:
        build.require_memory(1)
        self.assertIn("CARGO_BUILD_JOBS=1", self.problem_of(build.require_memory, 1 << 60))

    def test_an_index_that_cannot_be_reached(self) -> None:
        with mock.patch.dict(os.environ, PIP_INDEX_URL="http://user:secret@127.0.0.1:1/simple"):
            said = self.problem_of(build.require_network)
        self.assertIn("PIP_INDEX_URL", said)
        self.assertNotIn("secret", said)

    def test_too_little_disk_is_reported_after_the_announcement_and_before_the_network(self) -> None:
        lacking = [build.Missing("libtorch", 1 << 60), build.Missing("the programs", 1, fetched=False)]
        printed = io.StringIO()
        with mock.patch.object(build, "missing", return_value=lacking), mock.patch.object(build, "require_network") as network:
            with contextlib.redirect_stdout(printed):
                self.assertIn("GB free", self.problem_of(build.check))
        network.assert_not_called()
        self.assertRegex(printed.getvalue(), r"To download.*:\n  libtorch\nTo build:\n  the programs\n")

    def test_nothing_missing_asks_nobody(self) -> None:
        with mock.patch.object(build, "missing", return_value=[]), mock.patch.object(build, "require_network") as network:
            build.check()
        network.assert_not_called()
