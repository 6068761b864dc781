"""The derivative of a pass that has been written down: linear maps of tangents, one after the other."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .rules import Push

__all__ = ["Entry", "Tape"]


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
