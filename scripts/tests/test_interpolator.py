"""The interpolator's weights without the download: what is read from a file of PyTorch, what is refused, what is written."""

from __future__ import annotations

import collections
import io
import json
import pickle
import struct
import sys
import tempfile
import types
import unittest
import zipfile
from pathlib import Path
from unittest import mock

from fleet_stack import torchfile
from fleet_stack.console import Problem


def rebuild(*_: object) -> None:
    """Stands for `torch._utils._rebuild_tensor_v2`, of which a pickle holds only the name."""


class Saved:
    """Pickles as PyTorch pickles a tensor."""

    def __init__(self, key: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.state = (Storage(key), offset, shape, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return rebuild, self.state


class Storage:
    """The values of a tensor, in a file of their own."""

    def __init__(self, key: str) -> None:
        self.key = key


class FloatStorage:
    """The kind of the values."""


def saved(tensors: dict[str, object], values: dict[str, bytes]) -> io.BytesIO:
    """A file as PyTorch saves it."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, item: object):
            return ("storage", FloatStorage, item.key, "cpu", 1) if isinstance(item, Storage) else None

    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage, utils._rebuild_tensor_v2 = FloatStorage, rebuild
    names = ((rebuild, "torch._utils", "_rebuild_tensor_v2"), (FloatStorage, "torch", "FloatStorage"))
    text = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        for item, module, name in names:
            item.__module__, item.__qualname__, item.__name__ = module, name, name
        Pickler(text, protocol=2).dump(collections.OrderedDict(tensors))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("flownet/data.pkl", text.getvalue())
        for key, content in values.items():
            archive.writestr(f"flownet/data/{key}", content)
    file.seek(0)
    return file


class TorchFileTest(unittest.TestCase):
    def test_tensors_are_read_and_written_as_safetensors(self) -> None:
        values = struct.pack("<6f", *range(6))
        file = saved({"b": Saved("0", 2, (2, 2), (2, 1)), "a": Saved("0", 0, (1,), (1,))}, {"0": values})
        tensors = torchfile.read(file, "x.pkl")
        self.assertEqual(tensors["b"], torchfile.Tensor((2, 2), values[8:]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            torchfile.write(tensors, path)
            content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        self.assertEqual(header["a"], {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})
        self.assertEqual(header["b"], {"dtype": "F32", "shape": [2, 2], "data_offsets": [4, 20]})
        self.assertEqual((length % 8, content[8 + length :]), (0, values[:4] + values[8:]))

    def test_a_file_that_would_run_something_is_refused(self) -> None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("flownet/data.pkl", b"cos\nsystem\n(S'true'\ntR.")
        file.seek(0)
        with self.assertRaisesRegex(Problem, "os.system"):
            torchfile.read(file, "x.pkl")

    def test_other_files_and_layouts_are_refused(self) -> None:
        with self.assertRaisesRegex(Problem, "not a file that PyTorch saved"):
            torchfile.read(io.BytesIO(b"<html>"), "x.pkl")
        values = {"0": struct.pack("<4f", *range(4))}
        with self.assertRaisesRegex(Problem, "row after row"):
            torchfile.read(saved({"a": Saved("0", 0, (2, 2), (1, 2))}, values), "x.pkl")
        with self.assertRaisesRegex(Problem, "cut off"):
            torchfile.read(saved({"a": Saved("0", 1, (2, 2), (2, 1))}, values), "x.pkl")


if __name__ == "__main__":
    unittest.main()
