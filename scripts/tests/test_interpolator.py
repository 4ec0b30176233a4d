"""The interpolator's weights without the download: what is read from a file of PyTorch, what is refused, what is written."""

import collections
import io
import json
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import pytest
from fleet_stack import torchfile
from fleet_stack.console import Problem


class Saved:
    """Pickles as PyTorch pickles a tensor: a call of `torch._utils._rebuild_tensor_v2`, of which a pickle holds only the name."""

    def __init__(self, key: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.state = (Storage(key), offset, shape, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.state


class Storage:
    """The values of a tensor, in a file of their own."""

    def __init__(self, key: str) -> None:
        self.key = key


class Pickler(pickle.Pickler):
    def persistent_id(self, item: object):
        return ("storage", sys.modules["torch"].FloatStorage, item.key, "cpu", 1) if isinstance(item, Storage) else None


@pytest.fixture(autouse=True)
def torch(monkeypatch) -> None:
    """The two names of PyTorch that its files hold."""
    for module, name, kind in (("torch", "FloatStorage", type), ("torch._utils", "_rebuild_tensor_v2", types.FunctionType)):
        found = types.ModuleType(module)
        item = type(name, (), {}) if kind is type else lambda *_: None
        item.__module__, item.__qualname__, item.__name__ = module, name, name
        setattr(found, name, item)
        monkeypatch.setitem(sys.modules, module, found)


def archive(pickled: bytes, values: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        written.writestr("flownet/data.pkl", pickled)
        for key, content in values.items():
            written.writestr(f"flownet/data/{key}", content)
    return file


def saved(tensors: dict[str, object], values: dict[str, bytes]) -> io.BytesIO:
    """A file as PyTorch saves it."""
    text = io.BytesIO()
    Pickler(text, protocol=2).dump(collections.OrderedDict(tensors))
    return archive(text.getvalue(), values)


def test_tensors_are_read_and_written_as_safetensors(tmp_path: Path) -> None:
    values = struct.pack("<6f", *range(6))
    tensors = torchfile.read(saved({"b": Saved("0", 2, (2, 2), (2, 1)), "a": Saved("0", 0, (1,), (1,))}, {"0": values}), "x.pkl")
    assert tensors["b"] == torchfile.Tensor((2, 2), values[8:])
    torchfile.write(tensors, tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert header["a"] == {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    assert header["b"] == {"dtype": "F32", "shape": [2, 2], "data_offsets": [4, 20]}
    assert (length % 8, content[8 + length :]) == (0, values[:4] + values[8:])


VALUES = {"0": struct.pack("<4f", *range(4))}


@pytest.mark.parametrize("file, reason", [
    (lambda: archive(b"cos\nsystem\n(S'true'\ntR.", {}), "os.system"),
    (lambda: io.BytesIO(b"<html>"), "not a file that PyTorch saved"),
    (lambda: saved({"a": Saved("0", 0, (2, 2), (1, 2))}, VALUES), "row after row"),
    (lambda: saved({"a": Saved("0", 1, (2, 2), (2, 1))}, VALUES), "cut off"),
])
def test_what_would_run_something_and_other_files_and_layouts_are_refused(file, reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        torchfile.read(file(), "x.pkl")
