"""The samples still under way: their states, the rows that move them and the norms that judge them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arguments import reals
from ..models import Model
from ..models.batches import map_batches, pick
from ..models.outputs import OutputReader
from ..run import Call, PlanState, Program, ask, run_rows
from ..run.inputs import Inputs
from ..schedules import Schedule
from .attempt_plan import AttemptPlan, Numbers

__all__ = ["ActiveSamples"]

Array = NDArray[np.float64]


class ActiveSamples:
    """b samples at their last accepted states ``x``; ``next`` and ``error`` [b, ...] are what an attempt leaves."""

    def __init__(self, model: Model, schedule: Schedule, inputs: Inputs, x: Tensor, backend: str | None) -> None:
        self.model, self.label = model.sharing(inputs.shared), model.label_of(schedule)
        self.inputs, self.backend = inputs, backend
        self.index = np.arange(inputs.count)
        self.x, self.reader = x, OutputReader()
        self.state: PlanState | None = None  # of the last attempt
        self.epsilon = torch.empty(0, device=x.device)
        self.programs: dict[int, Program] = {}

    def evaluate(self, steps: AttemptPlan, numbers: Numbers) -> Tensor:
        """Epsilon at the states, which is kept as theirs."""
        self.run(steps, numbers)
        self.epsilon = self._last.value(steps.base)
        return self.epsilon

    def run(self, steps: AttemptPlan, numbers: Numbers) -> None:
        """The rows that ``numbers`` are of, from the states."""
        table = torch.from_numpy(numbers.table)
        table = table[:, 0] if table.shape[1] == 1 else table
        whole = self._program(steps)
        program = whole.with_table(table.to(whole.compute_dtype).to(self.x.device))
        labels = self._labels(numbers.times)
        cond = {name: map_batches(value, self._chosen) for name, value in self.inputs.cond.items()}
        cond |= self.inputs.shared

        def answer(call: Call, state: PlanState) -> Any:
            return ask(self.model, call, state, labels[call.row - numbers.first], cond)

        known = {} if numbers.known is None else {numbers.known: self.epsilon}
        self.state = PlanState(program, self.x, first_row=numbers.first, aux=self.x, values=known, reader=self.reader)
        run_rows(self.state, answer, until=numbers.last + 1)

    @property
    def next(self) -> Tensor:
        return self._last.x

    @property
    def error(self) -> Tensor:
        aux = self._last.aux
        if aux is None:
            raise RuntimeError("error: no attempt was made")
        return aux

    def squares(self, values: Tensor, ratio: Array, floor: Array, rtol: float, *others: Tensor) -> Tensor:
        """Per sample the sum of (values / (floor + rtol max(ratio |x|, |others|)))^2, float64 [b].

        Its bits depend on neither batch, threads nor device.
        """
        size = self._spread(ratio) * self.x.double().abs()
        for other in others:
            size = torch.maximum(size, other.double().abs())
        scaled = values.double() / (self._spread(floor) + rtol * size)
        return _sum_by_halves(scaled.square().flatten(1))

    def read(self, *sums: Tensor) -> tuple[Array, NDArray[np.bool_]]:
        """The sums [k, b] and whether a state became inf or NaN [b]: the only wait for the device."""
        table = torch.stack([*sums, self._nonfinite().double()]).cpu().numpy()
        return table[:-1], (table[-1] != 0) | ~np.isfinite(table[:-1]).all(axis=0)

    def accept(self, accepted: NDArray[np.bool_], steps: AttemptPlan) -> None:
        """``next`` becomes the state where accepted [b or 1], and its epsilon that of the next base."""
        mask = self._spread(accepted)
        self.x = torch.where(mask, self.next, self.x)
        self.epsilon = torch.where(mask, self._last.value(steps.newest), self.epsilon)

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Only these samples from now on."""
        rows = torch.from_numpy(np.flatnonzero(kept)).to(self.x.device)
        self.index, self.state = self.index[kept], None
        self.x, self.epsilon = self.x[rows], self.epsilon[rows]

    @property
    def _last(self) -> PlanState:
        if self.state is None:
            raise RuntimeError("no attempt was made")
        return self.state

    def _nonfinite(self) -> Tensor:
        flags = self._last.nonfinite
        return torch.zeros(len(self.index), device=self.x.device) if flags is None else flags.amax(0)

    def _program(self, steps: AttemptPlan) -> Program:
        if id(steps) not in self.programs:
            self.programs[id(steps)] = Program.of(
                steps.plan, device=self.x.device, dtype=self.x.dtype, model_dtype=self.inputs.model_dtype,
                backend=self.backend,
            )  # fmt: skip
        return self.programs[id(steps)]

    def _labels(self, times: Array) -> Sequence[Tensor]:
        """Of each row, float32 [b] or [b, m]."""
        labels = reals(self.label(times.ravel()), "model.label")
        labels = labels.reshape(*times.shape, *labels.shape[1:])
        labels = np.broadcast_to(labels, (len(times), len(self.index), *labels.shape[2:]))
        with torch.inference_mode(False):
            return torch.from_numpy(labels.astype(np.float32)).to(self.x.device).unbind(0)

    def _chosen(self, value: Any) -> Any:
        if len(self.index) == self.inputs.count:
            return value
        return pick(value, self.index.tolist())

    def _spread(self, values: NDArray[Any]) -> Tensor:
        """[g] shaped to broadcast over a sample."""
        return torch.from_numpy(values).to(self.x.device).reshape(-1, *(1,) * (self.x.ndim - 1))


def _sum_by_halves(values: Tensor) -> Tensor:
    """[b, n] -> [b], as additions of whole tensors: torch.sum's order depends on batch and threads."""
    while values.shape[1] > 1:
        half = values.shape[1] // 2
        summed = values[:, :half] + values[:, half : 2 * half]
        values = torch.cat([summed, values[:, 2 * half :]], dim=1) if values.shape[1] % 2 else summed
    return values[:, 0]
