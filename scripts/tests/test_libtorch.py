"""The set-up of libtorch, without the download: what is recognised, what is refused, how the link is changed."""

import os
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

from fleet_stack import libtorch, pip
from fleet_stack.console import Problem


def make_libtorch(folder: Path, version: str | None, *, cuda: bool = False, as_wheel: bool = False) -> Path:
    """A folder that looks like a libtorch."""
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/libtorch_cpu.so").write_text("")
    if cuda:
        (folder / "lib/libtorch_cuda.so").write_text("")
    if version and as_wheel:
        (folder / "version.py").write_text(f"from typing import Optional\n__version__ = '{version}'\ndebug = False\n")
    elif version:
        (folder / "build-version").write_text(version + "\n")
    return folder


class LibtorchTest(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name)
        for name, value in (("ROOT", self.root), ("LIBTORCH", self.root / ".libtorch"), ("TOOLS", self.root / ".tools")):
            patch = mock.patch.object(libtorch, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LIBTORCH")}
        patch = mock.patch.dict(os.environ, environment, clear=True)
        patch.start()
        self.addCleanup(patch.stop)

    def test_versions_are_read_from_ours_and_from_a_python_package(self) -> None:
        self.assertIsNone(libtorch.installed_version(self.root / "none"))
        ours = make_libtorch(self.root / "a", "2.11.0+cu130")
        package = make_libtorch(self.root / "b", "2.9.1+cpu", as_wheel=True)
        nameless = make_libtorch(self.root / "c", None)
        self.assertEqual(libtorch.installed_version(ours), "2.11.0")
        self.assertEqual(libtorch.installed_version(package), "2.9.1")
        self.assertEqual(libtorch.installed_version(nameless), "unknown")

    def test_the_right_version_in_place_is_left_alone(self) -> None:
        make_libtorch(self.root / ".libtorch", libtorch.VERSION)
        with mock.patch.object(libtorch, "fetch") as fetch, mock.patch.object(libtorch, "wanted_kind", return_value="cpu"):
            libtorch.set_up()
        fetch.assert_not_called()

    def test_another_version_in_place_is_replaced_and_kept_aside(self) -> None:
        make_libtorch(self.root / ".libtorch", "2.5.0")

        def fetch(_kind: str, home: Path) -> None:
            make_libtorch(home / "torch", libtorch.VERSION)
            (home / "complete").write_text("")

        with mock.patch.object(libtorch, "fetch", fetch), mock.patch.object(libtorch, "wanted_kind", return_value="cpu"):
            libtorch.set_up()
        self.assertEqual(libtorch.installed_version(self.root / ".libtorch"), libtorch.VERSION)
        self.assertTrue((self.root / ".libtorch").is_symlink())
        self.assertEqual(libtorch.installed_version(self.root / ".libtorch.replaced"), "2.5.0")

    def test_the_wrong_version_of_ones_own_is_refused_with_advice(self) -> None:
        own = make_libtorch(self.root / "own", "2.13.0")
        with mock.patch.dict(os.environ, LIBTORCH=str(own)), self.assertRaises(Problem) as raised:
            libtorch.set_up()
        self.assertIn("2.13.0", str(raised.exception))
        self.assertIn(libtorch.VERSION, str(raised.exception))
        self.assertIn("setup-libtorch", str(raised.exception))

    def test_the_right_version_of_ones_own_is_taken(self) -> None:
        own = make_libtorch(self.root / "own", libtorch.VERSION + "+cu130", as_wheel=True)
        with mock.patch.dict(os.environ, LIBTORCH=str(own)), mock.patch.object(libtorch, "fetch") as fetch:
            libtorch.set_up()
        fetch.assert_not_called()
        self.assertFalse((self.root / ".libtorch").exists())

    def test_an_unknown_kind_is_refused(self) -> None:
        with mock.patch.dict(os.environ, LIBTORCH_KIND="rocm"), self.assertRaises(Problem):
            libtorch.wanted_kind()

    def test_too_little_room_is_said_before_anything_is_fetched(self) -> None:
        full = mock.Mock(free=1_000_000)
        with mock.patch("shutil.disk_usage", return_value=full), mock.patch.object(pip, "download") as download:
            with mock.patch.object(libtorch, "wanted_kind", return_value="cpu"), self.assertRaises(Problem) as raised:
                libtorch.set_up()
        self.assertIn("GB free", str(raised.exception))
        download.assert_not_called()

    def test_cuda_packages_are_those_that_the_wheel_names(self) -> None:
        wheel = self.root / "torch.whl"
        lines = ["Name: torch", "Requires-Dist: sympy>=1.13", 'Requires-Dist: nvidia-cudnn-cu13==9.19.0.56; platform_system == "Linux"']
        lines += ['Requires-Dist: cuda-toolkit[cublas,cudart]==13.0.2; platform_system == "Linux"', "Requires-Dist: triton==3.6.0"]
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("torch-2.11.0.dist-info/METADATA", "\n".join(lines))
        wanted = ["nvidia-cudnn-cu13==9.19.0.56", "cuda-toolkit[cublas,cudart]==13.0.2"]
        self.assertEqual(libtorch.cuda_requirements(wheel), wanted)
