"""The beginning of `make up`: what is missing is announced, and what would fail later fails now, with the remedy."""

from unittest import mock

import pytest
from fleet_stack import build
from fleet_stack.console import Problem


@pytest.fixture
def network():
    with mock.patch.object(build, "require_network") as network:
        yield network


def test_too_little_memory() -> None:
    build.require_memory(1)
    with pytest.raises(Problem, match="CARGO_BUILD_JOBS=1"):
        build.require_memory(1 << 60)


def test_an_index_that_cannot_be_reached(monkeypatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:1/simple")
    with pytest.raises(Problem, match="PIP_INDEX_URL") as raised:
        build.require_network()
    assert "secret" not in str(raised.value)


def test_too_little_disk_is_reported_after_the_announcement_and_before_the_network(monkeypatch, capsys, network) -> None:
    lacking = [build.Missing("libtorch", 1 << 60), build.Missing("the programs", 1, fetched=False)]
    monkeypatch.setattr(build, "missing", lambda: lacking)
    with pytest.raises(Problem, match="GB free"):
        build.check()
    network.assert_not_called()
    assert ":\n  libtorch\nTo build:\n  the programs\n" in capsys.readouterr().out


def test_nothing_missing_asks_nobody(monkeypatch, network) -> None:
    monkeypatch.setattr(build, "missing", list)
    build.check()
    network.assert_not_called()
