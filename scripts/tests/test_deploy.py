"""How the checks read .dockerignore, the Dockerfile and the commands of docs/docker.md."""

import pytest
from deploy_checks import dockerfile
from image_replay import commands

PATTERNS = ["*", "!api", "!models/default", "models/default/training", "**/__pycache__"]
KEPT = ("api/src/main.rs", "models/default/fleet.toml")
LEFT_OUT = (".env", "models/other/fleet.toml", "models/default/training/run.py", "api/__pycache__/a.pyc", "apis/main.rs")


@pytest.mark.parametrize("path", KEPT + LEFT_OUT)
def test_dockerignore_is_read_as_docker_does_the_last_line_that_fits_decides(path: str) -> None:
    assert dockerfile.ignored(path, PATTERNS) == (path in LEFT_OUT)


def test_continued_lines_are_one_instruction_and_comments_none() -> None:
    text = "# syntax=x\nFROM a AS b\nRUN one \\\n # in between\n && two\n\nENTRYPOINT [\"c\"]\n"
    words = [(word, " ".join(rest.split())) for word, rest in dockerfile.instructions(text)]
    assert words == [("FROM", "a AS b"), ("RUN", "one && two"), ("ENTRYPOINT", '["c"]')]


def test_each_documented_command_has_its_expected_output() -> None:
    lines = commands.documented()
    assert [part for part in commands.ANSWERS if not any(part in line for line in lines)] == []
    assert [line for line in lines if len([part for part in commands.ANSWERS if part in line]) != 1] == []
