"""A forward pass written down as it runs: one linear map of tangents for each function that its inputs reach.

The pass is the plain one, bit for bit; what it leaves behind spares the derivative a second one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from genie_ext import times_written
from genie_ext._torch_private import (
    TorchDispatchMode,
    current_dispatch_mode,
    forward_gradients_enabled,
    in_function_transform,
    without_innermost_mode,
)

from .rules import Call, Path, Push, pushforward

__all__ = ["Tape", "record"]

_METADATA = (bool, int, str, torch.Size, torch.dtype, torch.device, torch.layout)


class Entry(NamedTuple):
    """A map from the tangents at the places ``inputs`` to those at ``outputs``, None for a value that has none."""

    push: Push
    inputs: tuple[int, ...]
    outputs: tuple[int | None, ...]


class Tape:
    """Linear maps in order; tensors are places, the first ones the inputs. Good for one push, which empties it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.readers: list[int] = []  # of each place
        self.result = 0

    def place(self) -> int:
        """A new one."""
        self.readers.append(0)
        return len(self.readers) - 1

    def add(self, entry: Entry) -> None:
        for place in entry.inputs:
            self.readers[place] += 1
        self.entries.append(entry)

    def push(self, *directions: Tensor) -> Tensor:
        """The derivative of the result along ``directions`` of the inputs."""
        tangents = dict(enumerate(directions))
        self.readers[self.result] += 1
        self.entries.reverse()
        while self.entries:
            push, inputs, outputs = self.entries.pop()
            moved = push(*(tangents[place] for place in inputs))
            for place in inputs:
                self.readers[place] -= 1
                if not self.readers[place]:
                    del tangents[place]
            for place, tangent in zip(outputs, (moved,) if isinstance(moved, Tensor) else moved, strict=True):
                if place is not None and self.readers[place]:
                    tangents[place] = tangent
        return tangents[self.result]


def record(f: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tape | None]:
    """f(*inputs) and its tape; None where a derivative could go unnoticed, or a value kept was overwritten.

    That is: in-place functions on what depends on the inputs, custom autograd functions, operators called past torch's
    Python functions, values read as numbers, autocast, transforms of torch.func, recorded gradients.
    """
    if any(t.requires_grad for t in inputs):
        return f(*inputs), None
    # the caller's own may also be constants, as conditioning
    recorder = _Recorder(inputs := tuple(t.clone() if t.is_inference() else t.view_as(t) for t in inputs))
    with recorder.watch, recorder:
        value = f(*inputs)
    return value, recorder.finished(value)


def _tensors(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Where in these nested lists and dicts tensors stand, and the tensors."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, list | tuple | dict):
        for at, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(item, (*path, at))


class _Unsafe(Exception):
    """This pass cannot be differentiated by its tape."""


class _Known(NamedTuple):
    tensor: weakref.ref[Tensor]
    place: int
    version: int


class _Recorder(TorchFunctionMode):
    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.tape = Tape()
        self.watch = _Watch(weakref.proxy(self))
        self.safe = True
        self.aside = False  # while the watch runs an operator, which comes past here again
        self._known: dict[int, _Known] = {}
        self._operands: list[tuple[weakref.ref[Tensor], int]] = []
        for tensor in inputs:
            self._add(tensor)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping | None = None
    ) -> Any:
        named = kwargs or {}
        if self.aside:
            return func(*args, **named)
        if current_dispatch_mode() is not self.watch:  # the network has modes of its own
            self.give_up()
            return func(*args, **named)
        with without_innermost_mode():  # the watch, which only looks for what comes past here
            value = func(*args, **named)
        if self.safe:
            try:
                self._write(func, args, named, value)
            except _Unsafe:
                self.give_up()
        return value

    def depends(self, tensor: Tensor) -> bool:
        return self._place(tensor) is not None

    def give_up(self) -> None:
        self.safe, self.tape = False, Tape()

    def finished(self, value: Tensor) -> Tape | None:
        kept = ((ref(), before) for ref, before in self._operands)
        if not self.safe or any(t is not None and times_written(t) != before for t, before in kept):
            return None
        place = self._place(value)
        if place is None:
            return None
        self.tape.result = place
        return self.tape

    def _write(self, func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any], value: Any) -> None:
        if in_function_transform():
            raise _Unsafe
        operands = [*_tensors(args), *_tensors(named)]
        reached = [(at, t, place) for at, t in operands if (place := self._unchanged(t)) is not None]
        if not reached:
            return
        if not forward_gradients_enabled() or _autocast(t.device.type for _, t in operands):
            raise _Unsafe
        if any(value is t for _, t in operands):
            if self._place(value) is None:  # written into a tensor that was a constant
                raise _Unsafe
            return
        values = (value,) if isinstance(value, Tensor) else value
        if func is Tensor.data_ptr or not _known_result(values):
            raise _Unsafe
        if isinstance(values, _METADATA) or not any(map(_moves, values)):
            return
        moving, values_of, places = zip(*reached, strict=True)
        push = pushforward(Call.of(func, args, named, moving), values_of, value)
        self._operands += [(weakref.ref(t), times_written(t)) for _, t in operands]
        outputs = tuple(self._add(v) if _moves(v) else None for v in values)
        self.tape.add(Entry(push, places, outputs))

    def _add(self, tensor: Tensor) -> int:
        if tensor.requires_grad:
            raise _Unsafe
        place = self.tape.place()
        self._known[id(tensor)] = _Known(weakref.ref(tensor), place, times_written(tensor))
        return place

    def _place(self, tensor: Tensor) -> int | None:
        known = self._known.get(id(tensor))
        return known.place if known is not None and known.tensor() is tensor else None

    def _unchanged(self, tensor: Tensor) -> int | None:
        place = self._place(tensor)
        if place is not None and self._known[id(tensor)].version != times_written(tensor):
            raise _Unsafe
        return place


class _Watch(TorchDispatchMode):
    """Sees operators that did not pass through the recorder: of TorchScript, of C++ extensions."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping | None = None
    ) -> Any:
        if any(self.recorder.depends(t) for _, t in (*_tensors(args), *_tensors(kwargs or {}))):
            self.recorder.give_up()
        self.recorder.aside = True
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.recorder.aside = False


def _autocast(devices: Iterable[str]) -> bool:
    return any(torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind) for kind in {*devices})


def _known_result(value: Any) -> bool:
    return isinstance(value, _METADATA) or (
        isinstance(value, list | tuple) and all(isinstance(v, Tensor | int) for v in value)
    )


def _moves(value: Any) -> bool:
    """Whether this has a derivative at all: indices and masks are constants between their jumps."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
