"""A network at a point: its value by one plain pass, then derivatives along directions that may depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .directional import Function, Pair, directional, directional_twice
from .recorder import Tape, record

__all__ = ["Linearized", "linearize"]


class Linearized:
    """network: (x, label) -> value. point: that x and label. value: the network's there. Made by :func:`linearize`."""

    def __init__(self, network: Function, point: Pair, value: Tensor, method: str, tape: Tape | None) -> None:
        self.network = network
        self.point = point
        self.value = value
        self.method = method
        self._tape = tape

    def along(self, direction: Pair) -> Tensor:
        """The derivative along ``direction`` of (x, label), of the value's shape; the first one is the cheap one."""
        tape, self._tape = self._tape, None
        if tape is not None:
            try:
                with _outside_inference_mode():
                    return tape.push(*direction)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:  # a function has no forward mode: "auto" finds another way
                pass
        return directional(self.network, self.point, direction, self.method)

    def along_twice(self, direction: Pair, bend: Pair) -> Tensor:
        """d^2/dtau^2 of the network at point + tau direction + tau^2/2 bend."""
        return directional_twice(self.network, self.point, direction, bend, self.method)


def linearize(network: Function, x: Tensor, label: Tensor, *, method: str = "forward") -> Linearized:
    """Runs the network once, plainly; hooks see that pass.

    With the methods "forward" and "auto" it is recorded, which keeps much of what a backward pass would: the first
    :meth:`Linearized.along` then computes tangents only. What cannot be recorded (see ``recorder.record``) is
    differentiated by torch.func.jvp, in another pass.
    """
    if method == "double_backward":
        return Linearized(network, (x, label), network(x, label), method, None)
    with _outside_inference_mode():  # inside there are no version counters, which tell what was overwritten
        value, tape = record(network, (x, label))
    return Linearized(network, (x, label), value, method, tape)


@contextmanager
def _outside_inference_mode() -> Iterator[None]:
    recorded = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(recorded):
        yield
