"""The set-up of libtorch, without the download: what is recognised, what is refused, how the link is changed."""

import os
import zipfile
from pathlib import Path
from unittest import mock

import pytest
from fleet_stack import libtorch, pip
from fleet_stack.console import Problem


def make_libtorch(folder: Path, version: str | None, *, as_wheel: bool = False) -> Path:
    """A folder that looks like a libtorch."""
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/libtorch_cpu.so").write_text("")
    if version and as_wheel:
        (folder / "version.py").write_text(f"from typing import Optional\n__version__ = '{version}'\ndebug = False\n")
    elif version:
        (folder / "build-version").write_text(version + "\n")
    return folder


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch) -> Path:
    """A checkout without libtorch on a machine without a GPU."""
    for name, value in (("ROOT", tmp_path), ("LIBTORCH", tmp_path / ".libtorch"), ("TOOLS", tmp_path / ".tools")):
        monkeypatch.setattr(libtorch, name, value)
    monkeypatch.setattr(libtorch, "has_nvidia_driver", lambda: False)
    for name in os.environ:
        if name.startswith("LIBTORCH"):
            monkeypatch.delenv(name)
    return tmp_path


def test_versions_are_read_from_ours_and_from_a_python_package(root: Path) -> None:
    folders = [
        root / "none", make_libtorch(root / "ours", "2.11.0+cu130"),
        make_libtorch(root / "package", "2.9.1+cpu", as_wheel=True), make_libtorch(root / "nameless", None),
    ]
    assert [libtorch.installed_version(folder) for folder in folders] == [None, "2.11.0", "2.9.1", "unknown"]


def test_the_right_version_is_left_alone_in_place_and_as_ones_own(root: Path, monkeypatch) -> None:
    with mock.patch.object(libtorch, "fetch") as fetch:
        make_libtorch(root / ".libtorch", libtorch.VERSION)
        libtorch.set_up()
        (root / ".libtorch").rename(root / "elsewhere")
        monkeypatch.setenv("LIBTORCH", str(make_libtorch(root / "own", libtorch.VERSION + "+cu130", as_wheel=True)))
        libtorch.set_up()
    fetch.assert_not_called()
    assert not (root / ".libtorch").exists()


def test_another_version_in_place_is_replaced_and_kept_aside(root: Path, monkeypatch) -> None:
    make_libtorch(root / ".libtorch", "2.5.0")

    def fetch(_kind: str, home: Path) -> None:
        make_libtorch(home / "torch", libtorch.VERSION)
        (home / "complete").write_text("")

    monkeypatch.setattr(libtorch, "fetch", fetch)
    libtorch.set_up()
    assert libtorch.installed_version(root / ".libtorch") == libtorch.VERSION
    assert (root / ".libtorch").is_symlink()
    assert libtorch.installed_version(root / ".libtorch.replaced") == "2.5.0"


def test_the_wrong_version_of_ones_own_and_an_unknown_kind_are_refused_with_advice(root: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIBTORCH", str(make_libtorch(root / "own", "2.13.0")))
    with pytest.raises(Problem, match=rf"(?s)2\.13\.0.*{libtorch.VERSION}.*setup-libtorch"):
        libtorch.set_up()
    monkeypatch.setenv("LIBTORCH_KIND", "rocm")
    with pytest.raises(Problem, match="cpu, cuda or auto"):
        libtorch.wanted_kind()


def test_too_little_room_is_said_before_anything_is_fetched() -> None:
    with mock.patch("shutil.disk_usage", return_value=mock.Mock(free=1_000_000)), mock.patch.object(pip, "download") as download:
        with pytest.raises(Problem, match="GB free"):
            libtorch.set_up()
    download.assert_not_called()


def test_cuda_packages_are_those_that_the_wheel_names(root: Path) -> None:
    wheel = root / "torch.whl"
    lines = ["Name: torch", "Requires-Dist: sympy>=1.13", 'Requires-Dist: nvidia-cudnn-cu13==9.19.0.56; platform_system == "Linux"']
    lines += ['Requires-Dist: cuda-toolkit[cublas,cudart]==13.0.2; platform_system == "Linux"', "Requires-Dist: triton==3.6.0"]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("torch-2.11.0.dist-info/METADATA", "\n".join(lines))
    assert libtorch.cuda_requirements(wheel) == ["nvidia-cudnn-cu13==9.19.0.56", "cuda-toolkit[cublas,cudart]==13.0.2"]
