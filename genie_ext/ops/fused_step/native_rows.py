"""Rows in C++ and CUDA: what they share is flattened once, a run hands over the tensors that it brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ... import _C
from ..._torch_private import count_write, cuda_stream_of, in_dual_level
from ..native_args import noise_arguments, sample_arguments, tensor_arguments
from ..noise import is_regular_noise
from ..prepared import refuse_tracked
from .contract import FusedStepCall
from .rows import PreparedRows, StepRows

__all__ = ["NativeRows"]

# looked up once: a run takes little longer than such a look-up
_get_num_threads, _is_grad_enabled, _empty_like = torch.get_num_threads, torch.is_grad_enabled, torch.empty_like


def _tensors() -> _C.Tensors | None:
    """How the native code reads a tensor; None where torch does not publish it, or publishes it in another form."""
    try:
        return _C.Tensors(Tensor)
    except (AttributeError, ValueError):
        return None


_TENSORS = _tensors()


class NativeRows(PreparedRows):
    def __init__(
        self, rows: StepRows, backend: str, check: Callable[[FusedStepCall], None], *, check_each: bool
    ) -> None:
        """check: the op's; asked of each row where a quick look finds something out of the ordinary, and of every run
        under ``check_each``.
        """
        self.backend, self._rows = backend, rows
        self._check_each = check if check_each else None
        arguments, regular = _flattened(rows)
        try:
            self._native = _C.StepRows(arguments, rows.layout)
            regular = self._native.are_regular() and regular
        except ValueError:
            _check_each_row(rows, check)  # which names the row
            raise
        if not regular:
            _check_each_row(rows, check)
        self._cuda_device = -1 if backend == "cpu" else rows.x.device.index
        written = (rows.x, rows.aux, rows.x_in, *rows.slots, rows.nonfinite)
        self._written = tuple(tensor for tensor in written if tensor is not None)
        # what a row that moves writes beside the new tensor, and what that is like
        self._kept = tuple(tensor for tensor in (rows.aux, *rows.slots, rows.nonfinite) if tensor is not None)
        if rows.x_in is not None:
            self._kept = (rows.x, *self._kept)
        self._like = rows.x if rows.x_in is None else rows.x_in

    def __call__(self, number: int, outputs: Sequence[Tensor] = (), draws: Sequence[Tensor] = ()) -> None:
        self._check(number, outputs, draws)
        self._run(number, (*outputs, *draws))

    def run_checked(self, number: int, outputs: Sequence[Tensor]) -> None:
        if self._check_each is not None or in_dual_level() or _is_grad_enabled():
            self._check(number, outputs, ())
        try:
            self._run(number, outputs)
        except (ValueError, RuntimeError):  # a tensor without memory, too many or too few
            self._check(number, outputs, ())
            raise

    def move(self, number: int, x: Tensor | None, outputs: Sequence[Tensor], draws: Sequence[Tensor] = ()) -> Tensor:
        if self._check_each is not None or in_dual_level():
            self._check(number, outputs, draws, x)
        arguments: list[int] = []
        for tensor in outputs:
            arguments += tensor_arguments(tensor)
        for tensor in draws:
            arguments += tensor_arguments(tensor)
        made = _empty_like(self._like)
        places = 0 if x is None else x.data_ptr(), made.data_ptr()
        try:
            if self._cuda_device < 0:
                self._native.move_cpu(number, *places, arguments, _get_num_threads())
            else:
                self._native.move_cuda(number, *places, arguments, self._cuda_device, cuda_stream_of(self._cuda_device))
        except (ValueError, RuntimeError):  # as of run_checked
            self._check(number, outputs, draws, x)
            raise
        if self._kept:
            count_write(self._kept)
        return made

    def follow(self, number: int, x: Tensor, output: Tensor) -> Tensor | None:
        if _TENSORS is None or type(output) is not Tensor or output.is_neg() or x.is_neg():
            return None
        if self._check_each is not None or in_dual_level():
            return None
        made = _empty_like(self._like)
        if self._cuda_device < 0:
            ran = self._native.follow_cpu(number, _TENSORS, x, output, made, _get_num_threads())
        else:
            stream = cuda_stream_of(self._cuda_device)
            ran = self._native.follow_cuda(number, _TENSORS, x, output, made, self._cuda_device, stream)
        if not ran:
            return None
        if self._kept:
            count_write(self._kept)
        return made

    def _run(self, number: int, brought: Sequence[Tensor]) -> None:
        arguments: list[int] = []
        for tensor in brought:
            arguments += tensor_arguments(tensor)
        if self._cuda_device < 0:
            self._native.run_cpu(number, arguments, _get_num_threads())
        else:
            self._native.run_cuda(number, arguments, self._cuda_device, cuda_stream_of(self._cuda_device))
        count_write(self._written)

    def _check(self, number: int, outputs: Sequence[Tensor], draws: Sequence[Tensor], x: Tensor | None = None) -> None:
        """The whole look: raises if anything is wrong with this run."""
        filled = self._rows.call(number).filled(outputs, draws, x)
        refuse_tracked("fused_step", filled)
        if self._check_each is not None:
            self._check_each(filled)


def _check_each_row(rows: StepRows, check: Callable[[FusedStepCall], None]) -> None:
    for number in range(len(rows.layout)):
        check(rows.call(number))


def _flattened(rows: StepRows) -> tuple[list[int], bool]:
    """In the order of csrc/fused_step/step_rows.cpp, and whether it is as regular as can be seen without comparing
    memory.
    """
    x, table, flags, noise = rows.x, rows.table, rows.nonfinite, rows.noise
    batch = x.shape[0]
    samples, regular = sample_arguments((x, rows.aux, rows.x_in, *rows.slots), x)
    arguments = [
        batch,
        x.numel() // batch,
        x.dtype == torch.float64,
        table.data_ptr(),
        table.stride(0),
        table.stride(1) if table.ndim == 3 else 0,
        table.shape[-1],
        0 if flags is None else flags.data_ptr(),
        *noise_arguments(noise),
        noise is None,
        len(rows.slots),
        *samples,
    ]
    devices = {table.device, x.device} | ({flags.device} if flags is not None else set())
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    regular = (
        regular
        and len(devices) == 1
        and table.dtype == compute
        and not table.is_neg()
        and (noise is None or is_regular_noise(noise, x))
    )
    return arguments, regular
