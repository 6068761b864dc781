"""Samples: any plan with any model, chunk by chunk.

Nothing in a chunk waits for the device: the finiteness of every state is recorded there and read once at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from genie_ext import reuse_key

from .._eager import eager
from ..models.contract import Model, as_model, warn_if_training
from ..models.fit import fitted
from ..models.outputs import OutputReader
from ..plan import Call, Plan
from .errors import NonFiniteError, nonfinite_message
from .inputs import Chunk, Inputs, gather_inputs
from .loop import ask, run_rows
from .named import Operator, checked_operators, checked_reductions
from .program import Program
from .progress import progress_bar
from .reductions import REDUCTIONS, Reduction
from .start import Start, starting_point
from .state import PlanState
from .workspace import KEPT, Workspace

__all__ = ["AnyModel", "OnRow", "RowEvent", "sample"]

AnyModel = Model | Callable[..., Any]


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


_COUPLED = (
    "a gain of this plan takes means over the batch, so that each sample depends on the others: in chunks or shards "
    "they would come out otherwise; leave batch_size and sample_ids out, or make the plan with gains per sample"
)

OnRow = Callable[[RowEvent], Tensor | None]


@eager
def sample(
    model: AnyModel,
    plan: Plan,
    *,
    shape: Sequence[int] | None = None,
    seed: int = 0,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    state: Tensor | None = None,
    image: Tensor | None = None,
    start: int | None = None,
    sample_ids: Sequence[int] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
    on_row: OnRow | None = None,
    progress: bool | None = None,
    check_finite: bool = True,
    operators: Mapping[str, Operator] | None = None,
    gains: Mapping[str, Reduction] | None = None,
) -> Tensor:
    """Run ``plan`` with ``model`` and return the final states, [B, ...] of ``dtype``.

    model(x, t, **cond) returns the plan's outputs in order, each of x's shape; t is float32 [b] or [b, m], the
    network's own label, or the schedule's. All else that is asked of it: :class:`genie_samplers.models.Model`.
    shape: [B, ...] of the samples. Or state: the state at the plan's first time, in place of noise. Or image: clean
    data (SDEdit, arXiv 2108.01073), brought to the time ``plan.recipe.grid[start]`` as alpha image + sigma z, from
    where the rest of the plan runs; start is 0 by default. seed: 64 bits.
    cond: keyword arguments of the model with one entry per sample: tensors and arrays [B, ...], lists of B numbers or
    strings, and dicts, lists and tuples of such, to any depth. shared: keyword arguments that all samples share, passed
    as they are.
    sample_ids: B integers in 0..2^32-1 (0..B-1 by default); id i gets the same noise in any batch, on any device and
    backend. batch_size: the network always sees batches of this size, the last one padded. device: where to run (the
    model's, else that of state or image, else the CPU). dtype: of the state. on_row: called after each row, may return
    a replacement state. progress: bar on stderr; None shows it on a terminal only. check_finite: False returns samples
    with inf or NaN in them. operators, gains: of a plan that names them, as of :meth:`Program.of`.

    Raises ValueError or TypeError for bad arguments and outputs, and :class:`NonFiniteError` naming row and samples,
    with the samples of earlier chunks, when a state became inf or NaN.
    """
    model = fitted(as_model(model), plan)
    warn_if_training(model)
    plan, beginning = starting_point(plan, state=state is not None, image=image is not None, start=start)
    name, x = ("image", image) if image is not None else ("state", state)
    inputs = gather_inputs(
        model, plan, shape=shape, seed=seed, cond=cond, shared=shared, x=x, name=name, sample_ids=sample_ids,
        batch_size=batch_size, device=device, dtype=dtype,
    )  # fmt: skip
    if on_row is not None and not callable(on_row):
        raise TypeError(f"on_row: {type(on_row).__name__} is not callable; pass a function of one RowEvent")
    named = checked_operators(plan, operators), checked_reductions(plan, gains)
    if plan.couples_samples:
        _refuse_parts(inputs)
    run = _Run(model.sharing(inputs.shared), plan, beginning, inputs, backend, on_row, check_finite, named)
    chunks = range(0, inputs.count, inputs.batch_size)
    with torch.no_grad(), progress_bar(len(chunks) * len(plan.rows), show=progress) as bar:
        if len(chunks) == 1:
            return run.chunk(0, bar)
        result = torch.empty(inputs.shape, dtype=inputs.dtype, device=inputs.device)
        for first in chunks:
            run.finished = result[:first]
            run.chunk(first, bar, result[first : first + inputs.batch_size])
    return result


def _refuse_parts(inputs: Inputs) -> None:
    """ValueError for a part of a run whose samples depend on each other."""
    if inputs.batch_size != inputs.count:
        raise ValueError(f"batch_size={inputs.batch_size} for {inputs.count} samples: {_COUPLED}")
    if inputs.all_ids != tuple(range(inputs.count)):
        raise ValueError(f"sample_ids: {inputs.all_ids[0]}, ..: {_COUPLED}")


class _Run:
    """One call of :func:`sample`."""

    def __init__(
        self,
        model: Model,
        plan: Plan,
        start: Start,
        inputs: Inputs,
        backend: str | None,
        on_row: OnRow | None,
        check_finite: bool,
        named: tuple[Mapping[str, Operator], Mapping[str, Reduction]],
    ) -> None:
        self.model, self.plan, self.start, self.inputs, self.backend = model, plan, start, inputs, backend
        self.on_row, self.check_finite, self.reader = on_row, check_finite, OutputReader()
        self.operators, self.reductions = named
        self.finished: Tensor | None = None  # samples of earlier chunks

    @cached_property
    def program(self) -> Program:
        inputs = self.inputs
        return Program.of(
            self.plan, device=inputs.device, dtype=inputs.dtype, model_dtype=inputs.model_dtype, backend=self.backend,
            operators=self.operators,
            gains={name: made for name, made in self.reductions.items() if name not in REDUCTIONS},
        )  # fmt: skip

    def chunk(self, first: int, bar: Any, out: Tensor | None = None) -> Tensor:
        """Run every row for the samples from ``first`` on; returns their final states, [n, ...], ``out`` if given."""
        chosen = self.inputs.select(first)
        workspace = self._workspace(chosen)
        state, labels = workspace.state, workspace.labels
        before = state.x

        def answer(call: Call, state: PlanState) -> Any:
            return ask(self.model, call, state, labels[call.row], chosen.cond)

        def recorded(call: Call, state: PlanState) -> Any:
            """As ``answer``, for on_row, which may ask what the outputs predicted from the state before the row."""
            nonlocal before
            before = state.x.clone()
            return state.read(answer(call, state))

        def after(call: Call, outputs: Any) -> None:
            if self.on_row is not None:
                predicted_x0 = partial(state.program.predicted_x0, call.row, before, outputs)
                self._report(self.on_row, call, first, state, predicted_x0)
            bar.update()

        run_rows(state, answer if self.on_row is None else recorded, after)
        if self.check_finite:
            self._raise_if_nonfinite(state, first)
        return KEPT.finished(workspace, self.inputs.count - first, out)

    def _workspace(self, chosen: Chunk) -> Workspace:
        """A kept or a new one, its state at the first row."""
        inputs, key, x = self.inputs, self._key(chosen), chosen.x
        if key is not None and (kept := KEPT.take(key)) is not None:
            kept.restart(x, inputs.given_seed, chosen.sample_ids, self.reader)
            return kept
        if x is None:
            x = torch.empty((inputs.batch_size, *inputs.shape[1:]), dtype=inputs.dtype, device=inputs.device)
        with torch.inference_mode(False), torch.no_grad():  # later runs may be outside the mode
            noise = inputs.noise(chosen) if self.start.noise or self.plan.stochastic else None
            program = self.program.for_samples(chosen.index)
            state = PlanState(program, x, noise, start=self.start, reader=self.reader)
        return Workspace(key, state, inputs.labels, chosen.sample_ids)

    def _key(self, chosen: Chunk) -> Hashable:
        """All that a workspace is made of; None: it serves this chunk alone."""
        inputs = self.inputs
        reuse = reuse_key(inputs.device, backend=self.backend)
        if reuse is None or (chosen.index is not None and len(self.plan.guidance or ()) > 1):
            return None
        # what is kept keeps its plan, so another plan has another id
        shape, labels = (inputs.batch_size, *inputs.shape[1:]), inputs.row_labels
        types = (inputs.device, inputs.dtype, inputs.model_dtype)
        # so it does with operators and reductions
        named = tuple((name, id(f)) for of in (self.operators, self.reductions) for name, f in of.items())
        return id(self.plan), self.start, shape, types, labels.shape, labels.tobytes(), reuse, named

    def _report(
        self, on_row: OnRow, call: Call, first: int, state: PlanState, predicted_x0: Callable[[], Tensor]
    ) -> None:
        count = min(self.inputs.batch_size, self.inputs.count - first)
        open_question = [predicted_x0]

        def answer() -> Tensor:
            if not open_question:  # the network may reuse the memory of its outputs
                raise RuntimeError(f"predicted_x0: row {call.row} is over; call predicted_x0 inside on_row")
            return open_question[0]()[:count]

        event = RowEvent(
            plan=self.plan,
            row=call.row,
            time=call.time,
            next_time=self._time_after(call.row),
            ends_step=state.between_steps,
            x=state.x[:count].clone(),
            sample_ids=self.inputs.all_ids[first : first + count],
            samples=slice(first, first + count),
            predicted_x0=answer,
        )
        replacement = on_row(event)
        open_question.clear()
        if replacement is not None:
            _replace(state, event, replacement)

    def _time_after(self, row: int) -> float:
        plan = self.plan
        if row + 1 < len(plan.rows):
            return plan.rows[row + 1].time
        return math.nan if plan.recipe is None else plan.recipe.grid[-1]

    def _raise_if_nonfinite(self, state: PlanState, first: int) -> None:
        """The only wait for the device in a chunk: one look at what start and rows found, [1 + rows, b]."""
        ids = self.inputs.all_ids
        chunk = ids[first : first + self.inputs.batch_size]
        # nobody sees what pads the last chunk, and on_row cannot replace it
        flags = None if state.nonfinite is None else state.nonfinite[:, : len(chunk)]
        if flags is None or not flags.any():
            return
        entry = int(flags.any(dim=1).nonzero()[0])
        bad = [i for i, flag in zip(chunk, flags[entry].tolist(), strict=True) if flag]
        shown = f"{bad[:8]}{' ...' if len(bad) > 8 else ''}"
        row = entry - 1 if entry else None
        message = nonfinite_message(self.plan, row, shown)
        finished = state.x.new_empty((0, *state.x.shape[1:])) if self.finished is None else self.finished.clone()
        raise NonFiniteError(message, row=row, sample_ids=bad, finished=finished, finished_ids=ids[:first])


def _replace(state: PlanState, event: RowEvent, replacement: object) -> None:
    if not isinstance(replacement, Tensor):
        raise TypeError(f"on_row: returned {type(replacement).__name__}; return a tensor, or None to keep the state")
    if replacement.shape != event.x.shape:
        raise ValueError(f"on_row: returned shape {tuple(replacement.shape)}; need {tuple(event.x.shape)}")
    if not event.ends_step:
        raise ValueError(
            f"on_row: replaced the state in row {event.row}, a stage whose step goes on from aux; replace it only "
            "where event.ends_step is true"
        )
    padding = state.x[len(replacement) :]
    state.replace(torch.cat([replacement.to(state.x), padding]) if len(padding) else replacement)
