"""The call that every backend of ``fused_step`` receives, its row of coefficients, and the checks.

Columns of a row, in this order (O outputs, H converted, K history, D draws; ``aux`` and ``aux_out`` are 0 or 1):

    p_h, Q[h, 0..O-1], b_h, r_h                              per converted output h: O + 3 columns
    W_s[x, (aux), y_1..y_H, history 0..K-1], C_s[0..D-1]     per state s: 1 + aux + H + K + D columns
    e                                                        1 column

``genie_ext.column_names`` names them one by one, counting from 0: p0, q0.0, bound0, scale0, ..., x, aux, y0, history0,
draw0, ..., those of the second state as aux.x, ..., and e as feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..._checks import (
    Region,
    check_dense_samples,
    check_float,
    check_like,
    check_memory,
    check_no_overlap,
    check_same_device,
    check_shape,
    check_tensor,
    check_word,
    may_overlap,
    regions,
    same_memory,
)
from ..noise import Noise, check_noise
from ..slots import SLOT, check_slot_count, slots_in
from .columns import row_columns

__all__ = [
    "MAX_CONVERTED",
    "MAX_DRAWS",
    "MAX_HISTORY",
    "MAX_OUTPUTS",
    "FusedStepCall",
    "check",
    "check_brought",
    "check_count",
    "check_counts",
]

MAX_OUTPUTS = 8
MAX_CONVERTED = 2
MAX_HISTORY = 16
MAX_DRAWS = 2
_IN_PLACE = {("out", "x"), ("aux_out", "aux")}


@dataclass(slots=True)
class FusedStepCall:
    """One checked call. Inputs are read, ``out``, ``aux_out``, ``stored`` and ``x_in`` are written, all of one batch.

    x, aux: state dtype. outputs: any float dtype. history, stored, row: compute dtype (float64 if the state is float64,
    else float32). draws: an integer is drawn in the kernel from ``noise``, a tensor is external. Where the same tensor
    may be read and written: out is x, aux_out is aux; nothing else overlaps.

    In a call that is prepared, outputs and draws may be ``SLOT``; no backend sees one.
    """

    x: Tensor
    outputs: Sequence[Tensor]
    history: Sequence[Tensor]
    row: Tensor  # [n] or [B, n]
    converted: int
    aux: Tensor | None
    draws: Sequence[int | Tensor]
    noise: Noise | None
    out: Tensor
    aux_out: Tensor | None
    stored: Sequence[Tensor | None]  # one per converted output
    x_in: Tensor | None
    nonfinite: Tensor | None  # int32 [B]; 1 is ORed in where out or aux_out holds inf or NaN

    @property
    def compute_dtype(self) -> torch.dtype:
        return compute_dtype(self.x)

    @property
    def columns(self) -> int:
        return row_columns(
            outputs=len(self.outputs),
            converted=self.converted,
            history=len(self.history),
            draws=len(self.draws),
            aux=self.aux is not None,
            aux_out=self.aux_out is not None,
        )

    def filled(self, outputs: Sequence[Tensor], draws: Sequence[Tensor], x: Tensor | None) -> FusedStepCall:
        """The call with these tensors in its slots, in order, and with this x if there is one."""
        output_slots, draw_slots = slots_in(self.outputs), slots_in(self.draws)
        check_slot_count("outputs", len(outputs), len(output_slots))
        check_slot_count("draws", len(draws), len(draw_slots))
        all_outputs, all_draws = list(self.outputs), list(self.draws)
        for i, tensor in zip(output_slots, outputs, strict=True):
            all_outputs[i] = self.check_slot(f"outputs[{i}]", tensor)
        for i, tensor in zip(draw_slots, draws, strict=True):
            all_draws[i] = self.check_slot(f"draws[{i}]", tensor)
        state = self.x if x is None else self.check_slot("x", x)
        return replace(self, x=state, outputs=all_outputs, draws=all_draws)

    def check_slot(self, name: str, value: object) -> Tensor:
        """A tensor that a run brings for x, an output or a draw."""
        return check_brought(name, value, self.x)

    def read(self) -> list[tuple[str, Tensor | None]]:
        """What is read, by name; slots left out."""
        named = [("x", self.x), ("aux", self.aux), ("row", self.row)]
        named += [(f"outputs[{i}]", o) for i, o in enumerate(self.outputs) if o is not SLOT]
        named += [(f"history[{i}]", h) for i, h in enumerate(self.history)]
        named += [(f"draws[{i}]", d) for i, d in enumerate(self.draws) if isinstance(d, Tensor)]
        if self.noise is not None:
            named += [("noise.seed", self.noise.seed), ("noise.sample_ids", self.noise.sample_ids)]
        return named

    def written(self) -> list[tuple[str, Tensor | None]]:
        """What is written, by name."""
        named = [("nonfinite", self.nonfinite), ("out", self.out), ("aux_out", self.aux_out), ("x_in", self.x_in)]
        return named + [(f"store[{i}]", s) for i, s in enumerate(self.stored)]


def check_brought(name: str, value: object, x: Tensor) -> Tensor:
    """A tensor that a run of a prepared call brings for x, an output or a draw, beside the call's own x."""
    tensor = check_tensor(name, value)
    check_like(name, tensor, x, x.dtype if name == "x" else None)
    return tensor


def compute_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def check(call: FusedStepCall) -> None:
    """Raise ValueError or TypeError naming the argument, the value and the fix; see :func:`genie_ext.fused_step`."""
    check_counts(call)
    _check_row(call)
    _check_tensors(call)
    _check_noise(call)
    _check_aliasing(call)


def check_counts(call: FusedStepCall) -> None:
    """What can be said of the arguments without looking at a tensor's memory."""
    limits = (
        ("outputs", len(call.outputs), MAX_OUTPUTS),
        ("converted", call.converted, MAX_CONVERTED),
        ("history", len(call.history), MAX_HISTORY),
        ("draws", len(call.draws), MAX_DRAWS),
    )
    for name, count, limit in limits:
        check_count(name, count, limit)
    if len(call.stored) != call.converted:
        raise ValueError(
            f"store: {len(call.stored)} entries for converted={call.converted}; give one entry (tensor, True or "
            "None) per converted output"
        )
    if call.x.ndim < 1 or call.x.shape[0] < 1:
        raise ValueError(f"x: shape {tuple(call.x.shape)}; need [B, ...] with at least one sample")
    drawn = [(f"draws[{i}]", d) for i, d in enumerate(call.draws) if d is not SLOT and not isinstance(d, Tensor)]
    for name, draw in drawn:
        check_word(name, draw)
    if drawn and call.noise is None:
        numbers = [draw for _, draw in drawn]
        raise ValueError(f"noise: missing; the in-kernel draws {numbers} need noise=Noise(seed, sample_ids, stream)")


def check_count(name: str, count: int, limit: int) -> None:
    if not 0 <= count <= limit:
        raise ValueError(f"{name}: {count} given; fused_step takes 0 to {limit}")


def _check_row(call: FusedStepCall) -> None:
    row, columns = call.row, call.columns
    check_memory("row", row)
    if row.dtype != call.compute_dtype:
        raise TypeError(f"row: dtype {row.dtype}; a state of {call.x.dtype} needs {call.compute_dtype}")
    if tuple(row.shape) not in ((columns,), (call.x.shape[0], columns)):
        raise ValueError(
            f"row: shape {tuple(row.shape)}; this layout has {columns} columns, so pass [{columns}] or "
            f"[{call.x.shape[0]}, {columns}] (genie_ext.row_columns counts them)"
        )
    if row.stride(-1) != 1 and columns > 1:
        raise ValueError(f"row: stride {row.stride()}; make it contiguous in its last dimension")


def _check_tensors(call: FusedStepCall) -> None:
    check_memory("x", call.x)
    check_float("x", call.x)
    check_dense_samples("x", call.x)
    state, compute = call.x.dtype, call.compute_dtype
    named: list[tuple[str, Tensor | None, torch.dtype | None]] = [
        ("aux", call.aux, state),
        ("out", call.out, state),
        ("aux_out", call.aux_out, state),
        ("x_in", call.x_in, None),
    ]
    named += [(f"outputs[{i}]", o, None) for i, o in enumerate(call.outputs) if o is not SLOT]
    named += [(f"history[{i}]", h, compute) for i, h in enumerate(call.history)]
    named += [(f"store[{i}]", s, compute) for i, s in enumerate(call.stored)]
    named += [(f"draws[{i}]", d, None) for i, d in enumerate(call.draws) if isinstance(d, Tensor)]
    for name, tensor, dtype in named:
        if tensor is not None:
            check_like(name, tensor, call.x, dtype)
    check_same_device("row", call.row, call.x.device)


def _check_noise(call: FusedStepCall) -> None:
    if call.noise is not None:
        check_noise(call.noise, call.x)
    if call.nonfinite is not None:
        check_memory("nonfinite", call.nonfinite)
        check_shape("nonfinite", call.nonfinite, call.x.shape[:1])
        check_same_device("nonfinite", call.nonfinite, call.x.device)
        if call.nonfinite.dtype != torch.int32 or not call.nonfinite.is_contiguous():
            raise TypeError(f"nonfinite: dtype {call.nonfinite.dtype}; need a contiguous int32 tensor of shape [B]")


def _check_aliasing(call: FusedStepCall) -> None:
    read_regions, written_regions = regions(call.read()), regions(call.written())
    for i, target in enumerate(written_regions):
        for other in read_regions + written_regions[:i]:
            if may_overlap(target, other) and not _is_in_place(target, other):
                check_no_overlap(target, other, "; only out is x and aux_out is aux may be the same")


def _is_in_place(target: Region, other: Region) -> bool:
    return (target.name, other.name) in _IN_PLACE and same_memory(target.tensor, other.tensor)
