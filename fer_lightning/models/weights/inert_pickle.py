"""Reads the tensors of what `torch.save` wrote whatever else is in it, a whole model say, and runs nothing of it.

A pickle names classes and functions that its reader is to import and call. Here no name is looked up: each becomes an
`Inert` class of its own, which keeps what it is given and does nothing. Tensors are then made from these records by the
few rules of torch's format. (`torch.load(weights_only=True)` stops at the first name that it does not know.)
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Inert(dict[Any, Any]):
    """Stands for an object of any class: arguments, state and items are kept, and nothing happens."""

    origin = ""  # where the file says that its class is, module.name
    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any, **_: Any) -> Inert:
        made = super().__new__(cls)
        made.args = args
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def ignore(self, *_: Any, **__: Any) -> Inert:
        return self

    append = extend = add = __call__ = ignore
    __hash__ = object.__hash__  # type: ignore[assignment]  # a dict has none, and some classes are keys
    __eq__ = object.__eq__


class InertUnpickler(pickle.Unpickler):
    """A reader to which every name is an `Inert` class."""

    def find_class(self, module: str, name: str) -> type[Inert]:
        return type(name, (Inert,), {"origin": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        return pid  # of a storage: ("storage", its class, its file, device, number of elements)


def read_inert(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a zip that `torch.save` wrote, by dotted name; a module's as its `state_dict` has them."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        root = next(name for name in names if name.endswith("/data.pkl")).removesuffix("data.pkl")
        order = archive.read(f"{root}byteorder").decode() if f"{root}byteorder" in names else "little"
        if order != sys.byteorder:
            raise ValueError(f"it was written on a {order}-endian machine")
        content = InertUnpickler(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
        return {name: _tensor(archive, root, record) for name, record in named_tensors(content)}


def named_tensors(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors, or records of tensors, in nested mappings, lists and modules, by dotted name."""
    if isinstance(content, Tensor) or (isinstance(content, Inert) and _rebuilt(content) is not None):
        yield name, content
    elif isinstance(content, Inert) and isinstance(content.state, Mapping) and "_modules" in content.state:
        passing = content.state.get("_non_persistent_buffers_set", ())
        for part in ("_parameters", "_buffers", "_modules"):
            for key, value in content.state[part].items():
                if not (part == "_buffers" and key in passing):
                    yield from named_tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, (Mapping, list, tuple)):
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from named_tensors(value, f"{name}.{key}" if name else str(key))


def _rebuilt(record: Inert) -> tuple[Any, ...] | None:
    """Return storage, offset, size and strides of a record of a tensor or parameter; None of another object."""
    function, args = record.origin.removeprefix("torch._utils."), record.args
    if function in ("_rebuild_parameter", "_rebuild_parameter_with_state") and isinstance(args[0], Inert):
        return _rebuilt(args[0])
    if record.origin == "torch._tensor._rebuild_from_type_v2":  # (function, class, its arguments, state)
        function, args = args[0].origin.removeprefix("torch._utils."), args[2]
    return args[:4] if function in ("_rebuild_tensor", "_rebuild_tensor_v2") else None


def _tensor(archive: zipfile.ZipFile, root: str, record: Any) -> Tensor:
    storage, offset, size, stride = _rebuilt(record) or ()
    dtype = DTYPES[storage[1].origin.rpartition(".")[2]]
    content = bytearray(archive.read(f"{root}data/{storage[2]}"))
    if 0 in size:
        return torch.empty(size, dtype=dtype)
    # a view, not a copy: strides of 0 may promise any size
    return torch.frombuffer(content, dtype=dtype).as_strided(size, stride, offset)
