"""Reads the tensors of a file that PyTorch saved, without PyTorch, and writes them as safetensors.

Such a file is a zip with a pickle, which could run any code. This reader refuses every name but those of a plain dictionary of
fp32 tensors, so nothing of the file is executed.
"""

import collections
import io
import json
import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .console import Problem


class Tensor(NamedTuple):
    """Sizes of the axes, and the values as little-endian fp32, row after row."""

    shape: tuple[int, ...]
    values: bytes


def read(file: BinaryIO, name: str) -> dict[str, Tensor]:
    """The tensors of a saved `state_dict`, by name."""
    try:
        with zipfile.ZipFile(file) as archive:
            inside = next(member for member in archive.namelist() if member.endswith("/data.pkl"))
            folder = inside.removesuffix("data.pkl")

            class Reader(pickle.Unpickler):
                def find_class(self, module: str, wanted: str):
                    allowed = {
                        ("collections", "OrderedDict"): collections.OrderedDict,
                        ("torch._utils", "_rebuild_tensor_v2"): rebuild,
                        ("torch", "FloatStorage"): "FloatStorage",
                    }
                    if (module, wanted) not in allowed:
                        raise Problem(f"{name} refers to {module}.{wanted}; it is not a plain file of fp32 weights")
                    return allowed[module, wanted]

                def persistent_load(self, pid):
                    _, kind, key, _, _ = pid
                    if kind != "FloatStorage":
                        raise Problem(f"{name} holds {kind}; only fp32 weights can be used")
                    return archive.read(f"{folder}data/{key}")

            return dict(Reader(io.BytesIO(archive.read(inside))).load())
    except (zipfile.BadZipFile, StopIteration, KeyError, pickle.UnpicklingError, struct.error) as error:
        raise Problem(f"{name} is not a file that PyTorch saved: {error}; download it again") from error


def rebuild(storage: bytes, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    """What the pickle calls for each tensor. Weights are stored row after row; any other order is refused."""
    expected = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if any(step != wanted for step, wanted, size in zip(stride, expected, shape, strict=True) if size > 1):
        raise Problem("a tensor of the file is not stored row after row")
    values = storage[4 * offset : 4 * (offset + math.prod(shape))]
    if len(values) != 4 * math.prod(shape):
        raise Problem("a tensor of the file is cut off; download it again")
    return Tensor(tuple(shape), values)


def write(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes safetensors; the same tensors give the same bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in sorted(tensors.items()):
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + len(tensor.values)]}
        end += len(tensor.values)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in sorted(tensors.items()):
            file.write(tensor.values)
    fresh.replace(path)
