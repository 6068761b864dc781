"""The one loop: runs any plan with any model, one fused_step per row.

Nothing in the loop waits for the device: table, labels, seed and sample ids are uploaded once, the finiteness of every
state is recorded on the device and read once at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genie_ext import FusedStepCall, Noise, resolve

from ._inputs import Inputs, gather_inputs
from ._outputs import check_outputs, first_outputs, fitted_model
from ._start import Start, starting_point
from .guidance import for_run
from .plan import Plan, RowLayout
from .progress import progress_bar

__all__ = ["Model", "RowEvent", "sample"]

Model = Callable[..., Tensor | tuple[Tensor, ...]]
STREAM_PLAN = 1


@dataclass(frozen=True)
class RowEvent:
    """What ``on_row`` sees after a row."""

    plan: Plan  # that runs: the rest of the one given where ``start`` is
    row: int
    time: float  # of the row's network call
    next_time: float  # of the new state; NaN after the last row of a plan without recipe
    ends_step: bool  # False after a stage whose step goes on from aux: such a state cannot be replaced
    x: Tensor  # [b, ...] the new state, a copy
    sample_ids: tuple[int, ...]
    samples: slice  # which of the run's samples these are
    predicted_x0: Callable[[], Tensor]  # computed only when called, inside on_row


OnRow = Callable[[RowEvent], Tensor | None]


@torch.no_grad()
def sample(
    model: Model,
    plan: Plan,
    *,
    shape: Sequence[int] | None = None,
    seed: int = 0,
    cond: Mapping[str, object] | None = None,
    x_init: Tensor | None = None,
    start: int | None = None,
    sample_ids: Sequence[int] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
    on_row: OnRow | None = None,
    progress: bool | None = None,
) -> Tensor:
    """Run ``plan`` with ``model`` and return the final states, [B, ...] of ``dtype``.

    model(x, t, **cond) returns the plan's outputs in order, each of x's shape; t is float32 [b], the network's own
    label (``model.label(times)`` where the model has one, else the schedule's default), or [b, m] where that returns
    [rows, m]. A model that depends on more than the time has ``rows(plan)`` in its place; one that has ``looks_back``
    = True is also given ``past``: the earlier converted outputs that the row reads, newest first, if any. x is in
    ``model.dtype`` where the model has one, else in ``dtype``.
    shape: [B, ...] of the samples; or x_init: the starting states, in place of noise. start: image to image (SDEdit,
    arXiv 2108.01073): x_init is clean data, brought to the time plan.recipe.grid[start] as alpha x_init + sigma z, and
    plan.starting_at(start) runs from there. seed: 64 bits. cond: keyword arguments of the model; tensors whose first
    dimension is B are sliced with the samples. sample_ids: B integers in 0..2^32-1 (0..B-1 by default); id i gets the
    same noise in any batch, on any device and backend. batch_size: the network always sees batches of this size, the
    last one padded. device: where to run (the model's, else x_init's, else the CPU). dtype: of the state. on_row:
    called after each row, may return a replacement state. progress: bar on stderr; None shows it on a terminal only.

    Raises ValueError or TypeError for bad arguments and outputs, and ValueError naming row and samples when a state
    became inf or NaN.
    """
    model = fitted_model(model, plan)
    plan, beginning = starting_point(plan, x_init, start)
    inputs = gather_inputs(
        model, plan, shape=shape, seed=seed, cond=cond, x_init=x_init, sample_ids=sample_ids,
        batch_size=batch_size, device=device, dtype=dtype,
    )  # fmt: skip
    if on_row is not None and not callable(on_row):
        raise TypeError(f"on_row: {type(on_row).__name__} is not callable; pass a function of one RowEvent")
    run = _Run(model, plan, beginning, inputs, backend, on_row)
    chunks = range(0, inputs.count, inputs.batch_size)
    result = torch.empty(inputs.shape, dtype=inputs.dtype, device=inputs.device)
    flags = torch.zeros(
        (len(chunks), 1 + len(plan.instructions), inputs.batch_size), dtype=torch.int32, device=inputs.device
    )
    with progress_bar(len(chunks) * len(plan.instructions), show=progress) as bar:
        for chunk, first in enumerate(chunks):
            states = run.chunk(first, flags[chunk], bar)
            result[first : first + inputs.batch_size] = states[: inputs.count - first]
    _raise_if_nonfinite(flags, inputs)
    return result


class _Run:
    """Buffers and device tables of one call of :func:`sample`, reused by every chunk."""

    def __init__(
        self, model: Model, plan: Plan, start: Start, inputs: Inputs, backend: str | None, on_row: OnRow | None
    ) -> None:
        self.model, self.plan, self.start, self.inputs = for_run(model, inputs), plan, start, inputs
        self.on_row = on_row
        shape = (inputs.batch_size, *inputs.shape[1:])
        self.compute = compute = torch.float64 if inputs.dtype == torch.float64 else torch.float32
        _, self.fused_step = resolve("fused_step", inputs.device, backend)
        self.table = torch.from_numpy(np.array(plan.table)).to(compute).to(inputs.device)
        self.start_row = torch.tensor(
            [start.signal, start.noise, plan.instructions[0].input_scale], dtype=compute, device=inputs.device
        )
        self.x = torch.empty(shape, dtype=inputs.dtype, device=inputs.device)
        self.aux = torch.empty_like(self.x) if any(r.writes_aux for r in plan.layout) else None
        self.slots = [torch.empty_like(self.x, dtype=compute) for _ in range(plan.slots)]
        scaled = any(step.input_scale != 1.0 for step in plan.instructions)
        separate = scaled or inputs.model_dtype != inputs.dtype
        self.x_in = torch.empty_like(self.x, dtype=inputs.model_dtype) if separate else None
        self.copied: set[str] = set()

    def chunk(self, first: int, flags: Tensor, bar: Any) -> Tensor:
        """Run every row for the samples from ``first`` on; returns the buffer that holds their final states."""
        chosen = self.inputs.select(first)
        self._begin(first, chosen.sample_ids, flags[0])
        noise = Noise(self.inputs.seed, chosen.sample_ids, STREAM_PLAN)
        per_sample = self.table.ndim == 3  # [rows, B, n]
        table = self.inputs.take(self.table, first, dim=1) if per_sample else self.table
        for row, layout in enumerate(self.plan.layout):
            outputs = self._call_network(row, layout, chosen.cond)
            before = self.x.clone() if self.on_row is not None else self.x
            coefficients = table[row][..., : layout.columns]
            self._step(layout, coefficients, outputs, noise, flags[1 + row])
            if self.on_row is not None:
                x0 = partial(self._predicted_x0, row, before, outputs, coefficients)
                self._report(self.on_row, row, first, x0, flags[1 + row])
            bar.update()
        return self.x

    def _begin(self, first: int, sample_ids: Tensor, flag: Tensor) -> None:
        """Fill the state (and the network's input) with the start."""
        given = self.inputs.starting_states(first)
        if given is not None:
            self.x.copy_(given)
        self.fused_step(
            FusedStepCall(
                x=self.x, outputs=(), history=(), converted=0, aux=None, row=self.start_row,
                draws=(0,), noise=Noise(self.inputs.seed, sample_ids, self.start.stream),
                out=self.x, aux_out=None, stored=(), x_in=self.x_in, nonfinite=flag,
            )
        )  # fmt: skip

    def _call_network(self, row: int, layout: RowLayout, cond: Mapping[str, object]) -> tuple[Tensor, ...]:
        if layout.calls == 0:
            return ()
        x = self.x if self.x_in is None else self.x_in
        guided = self.plan.guidance is not None
        network = self.model.conditional if guided and layout.calls == 1 else self.model  # type: ignore[attr-defined]
        read = self.plan.outputs[: self.plan.instructions[row].outputs]
        network, names = first_outputs(network, self.plan.outputs, len(read))
        if layout.calls == 2:
            names = (*names, *(f"uncond.{name}" for name in names))
        t = self.inputs.labels[row]
        past = [self.slots[s] for s in layout.history] if getattr(network, "looks_back", False) else []
        given = (x, t, *past)
        versions = [_version(v) for v in given]
        outputs = network(x, t, past=past, **cond) if past else network(x, t, **cond)
        if [_version(v) for v in given] != versions:
            raise ValueError(f"model: wrote into its input x, t or past in row {row}; work on a copy (x = x.clone())")
        checked = check_outputs(outputs, names, self.x, row, (self.x, x), self.copied)
        return tuple(o for o, name in zip(checked, names, strict=True) if name.removeprefix("uncond.") in read)

    def _step(self, layout: RowLayout, row: Tensor, outputs: tuple[Tensor, ...], noise: Noise, flag: Tensor) -> None:
        self.fused_step(
            FusedStepCall(
                x=self.x, outputs=outputs, history=[self.slots[s] for s in layout.history],
                row=row, converted=layout.converted,
                aux=self.aux if layout.reads_aux else None, draws=layout.draws, noise=noise,
                out=self.x, aux_out=self.aux if layout.writes_aux else None,
                stored=[None if s is None else self.slots[s] for s in layout.store],
                x_in=self.x_in, nonfinite=flag,
            )
        )  # fmt: skip

    def _report(self, on_row: OnRow, row: int, first: int, predicted_x0: Callable[[], Tensor], flag: Tensor) -> None:
        count = min(self.inputs.batch_size, self.inputs.count - first)
        open_question = [predicted_x0]

        def ask() -> Tensor:
            if not open_question:  # the network may reuse the memory of its outputs
                raise RuntimeError(f"predicted_x0: row {row} is over; call predicted_x0 inside on_row")
            return open_question[0]()[:count]

        event = RowEvent(
            plan=self.plan,
            row=row,
            time=self.plan.instructions[row].time,
            next_time=self._time_after(row),
            ends_step=row + 1 == len(self.plan.layout) or not self.plan.layout[row + 1].reads_aux,
            x=self.x[:count].clone(),
            sample_ids=self.inputs.all_ids[first : first + count],
            samples=slice(first, first + count),
            predicted_x0=ask,
        )
        replacement = on_row(event)
        open_question.clear()
        if replacement is not None:
            self._replace(event, replacement, flag)

    def _replace(self, event: RowEvent, replacement: Tensor, flag: Tensor) -> None:
        row, count = event.row, len(event.x)
        if not isinstance(replacement, Tensor):
            raise TypeError(
                f"on_row: returned {type(replacement).__name__}; return a tensor, or None to keep the state"
            )
        if replacement.shape != event.x.shape:
            raise ValueError(f"on_row: returned shape {tuple(replacement.shape)}; need {tuple(event.x.shape)}")
        if not event.ends_step:
            raise ValueError(
                f"on_row: replaced the state in row {row}, a stage whose step goes on from aux; replace it only where "
                "event.ends_step is true"
            )
        x, new = self.x[:count], replacement.to(self.x)
        if self.x_in is not None and row + 1 < len(self.plan.instructions):
            x_in = self.x_in[:count]
            scaled = new.to(self.compute) * self.plan.instructions[row + 1].input_scale
            # what was kept stays as the step left it, scaled before the state was rounded
            x_in.copy_(torch.where(new == x, x_in, scaled.to(x_in)))
        x.copy_(new)
        flag[:count] |= ~x.isfinite().flatten(1).all(1)

    def _time_after(self, row: int) -> float:
        if row + 1 < len(self.plan.instructions):
            return self.plan.instructions[row + 1].time
        return math.nan if self.plan.recipe is None else self.plan.recipe.grid[-1]

    def _predicted_x0(self, row: int, before: Tensor, outputs: tuple[Tensor, ...], coefficients: Tensor) -> Tensor:
        """The row's first converted output as an x0 prediction, in the compute dtype."""
        step, layout = self.plan.instructions[row], self.plan.layout[row]
        if not layout.converted:
            raise ValueError(f"predicted_x0: row {row} calls no network; check event.row before asking")
        first = coefficients[..., : layout.outputs + 3].reshape(-1, layout.outputs + 3)
        p, *q, bound, scale = first.reshape(*first.shape, *(1,) * (before.ndim - 1)).unbind(1)
        mixed = p * before
        for weight, output in zip(q, outputs, strict=False):
            mixed = mixed + weight * output
        y = scale * mixed.clamp(-bound, bound)
        if self.plan.quantity == "x0":
            return y
        alpha, sigma = (float(f(step.time)) for f in (self.plan.schedule.alpha, self.plan.schedule.sigma))
        return (before - sigma * y) / alpha


def _version(tensor: Tensor) -> int:
    """Changes when somebody writes into the tensor; inference tensors do not count."""
    return 0 if tensor.is_inference() else tensor._version


def _raise_if_nonfinite(flags: Tensor, inputs: Inputs) -> None:
    """The only wait for the device: one look at flags [chunks, 1 + rows, batch_size], the start before the rows."""
    if not flags.any():
        return
    chunk, entry = (int(v) for v in flags.any(dim=2).nonzero()[0])
    first = chunk * inputs.batch_size
    ids = inputs.all_ids[first : first + inputs.batch_size]
    bad = [i for i, flag in zip(ids, flags[chunk, entry].tolist(), strict=False) if flag]
    shown = f"{bad[:8]}{' ...' if len(bad) > 8 else ''}"
    if entry == 0:
        raise ValueError(f"x_init: holds inf or NaN for sample ids {shown}; pass finite starting states")
    raise ValueError(
        f"model: the state became inf or NaN in row {entry - 1} for sample ids {shown}; "
        "check the network's output there, its dtype (float16 overflows) and its prediction type"
    )
