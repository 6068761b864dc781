"""Tensors in safetensors files: names, shapes and dtypes are known, and compared, before a tensor is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .extras import require
from .reading import unreadable
from .writing import replacing

__all__ = ["Shapes", "Tensors", "check_same", "open_tensors", "shapes_of_module", "write_tensors"]

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Tensors:
    """An open file. shapes: of its tensors by name; metadata: what stands beside them."""

    path: Path
    fix: str
    shapes: Shapes
    metadata: Mapping[str, str]
    file: Any

    def read(self, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """These tensors, all by default."""
        with unreadable(self.path, self.fix):
            return {name: self.file.get_tensor(name) for name in (self.shapes if names is None else names)}

    def object(self, key: str) -> dict[str, Any]:
        """The JSON object in the metadata under ``key``."""
        with unreadable(self.path, self.fix):
            if key not in self.metadata:
                raise ValueError(f"its metadata has no {key!r}")
            found = json.loads(self.metadata[key])
            if not isinstance(found, dict):
                raise ValueError(f"its metadata {key!r} is no JSON object")
            return found

    def check(self, expected: Shapes, prefix: str = "") -> None:
        """ValueError naming a tensor that is missing, unexpected or of another shape than ``expected`` has."""
        held = {name.removeprefix(prefix): s for name, s in self.shapes.items() if name.startswith(prefix)}
        check_same(expected, held, self.path, self.fix)


@contextmanager
def open_tensors(path: Path, fix: str) -> Iterator[Tensors]:
    """A safetensors file, its header compared with its size; ValueError for any other file."""
    require(str(path), "safetensors", extra="diffusers")
    from safetensors import safe_open

    with unreadable(path, fix):
        opened = safe_open(path, framework="pt")
        file = opened.__enter__()
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping
        metadata = dict(file.metadata() or {})
    try:
        yield Tensors(path, fix, shapes, metadata, file)
    finally:
        opened.__exit__(None, None, None)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, object] | None = None) -> None:
    """A safetensors file, of values in ``metadata`` their JSON."""
    require(str(path), "safetensors", extra="diffusers")
    from safetensors.torch import save_file

    texts = {key: json.dumps(value, allow_nan=False) for key, value in (metadata or {}).items()}
    # copies: tensors that share memory are refused
    values = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    with replacing(path) as partial:
        save_file(values, partial, metadata=texts)


def shapes_of_module(module: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def check_same(expected: Shapes, held: Shapes, path: Path, fix: str) -> None:
    """ValueError naming a tensor that ``held`` lacks, has in another shape, or has beyond ``expected``."""
    for name, shape in expected.items():
        if name not in held:
            raise ValueError(f"{path}: {name} is missing; {fix}")
        if held[name] != shape:
            raise ValueError(f"{path}: {name} has shape {held[name]}, not {shape}; {fix}")
    if unexpected := sorted(held.keys() - expected.keys()):
        raise ValueError(f"{path}: {unexpected[0]} is unexpected; {fix}")
