"""A prepared call on a native backend: flattened once, and per run as little as is safe.

A tensor for a slot is compared with the last one accepted there, and checked only where it differs: a run costs
the look at a few attributes and one native call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .._torch_private import count_write, cuda_stream_of, in_dual_level
from .native_args import tensor_arguments
from .prepared import Call, Prepared, refuse_tracked

__all__ = ["NativePrepared", "NativeSlot"]

# looked up once: a run takes little longer than such a look-up
_get_num_threads, _is_grad_enabled = torch.get_num_threads, torch.is_grad_enabled


class NativeSlot:
    """A place for a tensor: its name, its number in csrc/read_calls.h, and what was last accepted there."""

    __slots__ = ("accepted", "name", "number")

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        # shape, strides, dtype, device; stride and dtype as csrc reads them; the bits that an aligned address lacks
        self.accepted: tuple[tuple[Any, ...], int, int, int] = ((), 0, 0, 0)

    def arguments(self, tensor: Tensor, check: Callable[[str, object], Tensor]) -> tuple[int, int, int]:
        """Address, stride and dtype; ``check`` is asked only of a tensor unlike the last one."""
        facts, stride, dtype, unaligned = self.accepted
        if (
            type(tensor) is not Tensor
            or (tensor.shape, tensor.stride(), tensor.dtype, tensor.device) != facts
            or tensor.is_neg()
        ):
            stride, dtype, unaligned = self.accept(check(self.name, tensor))
        address = tensor.data_ptr()
        if address == 0 or address & unaligned:
            check(self.name, tensor)  # passes only a tensor of no elements
        return address, stride, dtype

    def accept(self, tensor: Tensor) -> tuple[int, int, int]:
        """Take the facts of a checked tensor for those to come; stride, dtype and unaligned bits."""
        facts = (tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        _, stride, dtype = tensor_arguments(tensor)
        self.accepted = (facts, stride, dtype, tensor.element_size() - 1)
        return self.accepted[1:]


class NativePrepared(Prepared):
    def __init__(
        self,
        op: str,
        backend: str,
        call: Call,
        native: Any,
        device: torch.device,
        check_each: Callable[[Any], None] | None,
        slots: Sequence[NativeSlot] = (),
        outputs: int = 0,
        draws: int = 0,
    ) -> None:
        """native: the object of genie_ext._C that holds the call. slots: of the outputs, the draws, and last of x."""
        self.backend = backend
        self._op, self._call, self._native, self._check_each = op, call, native, check_each
        self._slots, self._outputs, self._draws = slots, outputs, draws
        self._cuda_device = -1 if backend == "cpu" else device.index
        self._fixed: list[Tensor] | None = None  # of the call itself
        self._written: tuple[Tensor, ...] = ()

    def __call__(self, outputs: Sequence[Tensor] = (), draws: Sequence[Tensor] = (), x: Tensor | None = None) -> None:
        given = (*outputs, *draws) if x is None else (*outputs, *draws, x)
        if (
            self._check_each is not None
            or len(outputs) != self._outputs
            or len(draws) != self._draws
            or len(given) > len(self._slots)
            or in_dual_level()
        ):
            self._check(outputs, draws, x)
        try:
            if _is_grad_enabled() and self._requires_grad(given):
                self._check(outputs, draws, x)
            arguments = self._arguments(given)
        except (AttributeError, RuntimeError):  # no tensor, or one without strides or memory
            self._check(outputs, draws, x)
            raise
        if self._cuda_device < 0:
            self._native.run_cpu(arguments, _get_num_threads())
        else:
            self._native.run_cuda(arguments, self._cuda_device, cuda_stream_of(self._cuda_device))
        count_write(self._written or self._find_written())

    def _arguments(self, given: Sequence[Tensor]) -> list[int]:
        arguments: list[int] = []
        for slot, tensor in zip(self._slots, given, strict=False):  # that of x may stay as it is
            arguments.append(slot.number)
            arguments += slot.arguments(tensor, self._call.check_slot)
        return arguments

    def _find_written(self) -> tuple[Tensor, ...]:
        self._written = tuple(tensor for _, tensor in self._call.written() if tensor is not None)
        return self._written

    def _requires_grad(self, given: Sequence[Tensor]) -> bool:
        if self._fixed is None:
            named = (*self._call.read(), *self._call.written())
            self._fixed = [tensor for _, tensor in named if tensor is not None]
        return any(tensor.requires_grad for tensor in (*self._fixed, *given))

    def _check(self, outputs: Sequence[Tensor], draws: Sequence[Tensor], x: Tensor | None) -> None:
        """The whole look: raises if anything is wrong with this run."""
        filled = self._call.filled(outputs, draws, x)
        refuse_tracked(self._op, filled)
        if self._check_each is not None:
            self._check_each(filled)
