"""A call that was checked once, to be run any number of times; and the general way to run it, open to every backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from .._autograd import mark_written, wants_gradients

__all__ = ["Call", "GeneralPrepared", "Prepared", "refuse_tracked"]


class Call(Protocol):
    """What the calls of ``contract.py`` that can be prepared have in common."""

    def filled(self, outputs: Sequence[Tensor], draws: Sequence[Tensor], x: Tensor | None) -> Any: ...
    def check_slot(self, name: str, value: object) -> Tensor: ...
    def read(self) -> list[tuple[str, Tensor | None]]: ...
    def written(self) -> list[tuple[str, Tensor | None]]: ...


class Prepared(ABC):
    """A checked call; made by :func:`genie_ext.prepare`.

    backend: the name of the one that runs it. The tensors of the call are kept alive, and must keep their memory: one
    that is resized or set to another storage has to be prepared again.
    """

    backend: str

    @abstractmethod
    def __call__(self, outputs: Sequence[Tensor] = (), draws: Sequence[Tensor] = (), x: Tensor | None = None) -> None:
        """Run with these tensors in the slots, in their order.

        x: read in place of the call's own state, which stays as it is; of its shape, dtype and device. A tensor given
        here must not overlap what the call writes, but for an x that is exactly out; that is looked at only under
        GENIE_EXT_CHECK=1. Raises ValueError or TypeError naming the argument.
        """


class GeneralPrepared(Prepared):
    """Fills the slots of a new call each time. check_each: the op's check, if every run is to be checked whole."""

    def __init__(
        self, op: str, backend: str, call: Call, run: Callable[[Any], None], check_each: Callable[[Any], None] | None
    ) -> None:
        self.backend = backend
        self._op, self._call, self._run, self._check_each = op, call, run, check_each

    def __call__(self, outputs: Sequence[Tensor] = (), draws: Sequence[Tensor] = (), x: Tensor | None = None) -> None:
        call = self._call.filled(outputs, draws, x)
        refuse_tracked(self._op, call)
        if self._check_each is not None:
            self._check_each(call)
        self._run(call)
        if self.backend != "reference":  # of whose writing torch knows
            mark_written(*(tensor for _, tensor in call.written()))


def refuse_tracked(op: str, call: Call) -> None:
    """Raise where a gradient or a tangent would be lost."""
    for name, tensor in (*call.read(), *call.written()):
        if wants_gradients(tensor):
            raise ValueError(
                f"{name}: requires grad or carries a tangent, but a prepared {op} does not differentiate; use "
                "torch.no_grad() or .detach(), or genie_ext.fused_step on the reference backend"
            )
