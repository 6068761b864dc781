"""The numbers of a plan as parameters: times, labels and weights of a multistep plan, differentiable, in float64."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._arguments import shown
from ..models import Model
from ..plan import Combination, Conversion, HistoryEntry, Plan, Row
from ..solvers.building import PlanBuilder
from .coordinate import Coordinate
from .start import Start

__all__ = ["FREE", "LearnedTable"]

Array = NDArray[np.float64]

FREE = ("times", "labels", "weights", "sums")
_LARGEST_UNIT = 0.3  # of a logarithm of a gap, of a step, of a weight
_ALIVE = 2.0**-1000  # in place of 0, whose term the kernel leaves out and with it the gradient of the weight


class LearnedTable(nn.Module):
    """The parameters of a calibrated plan; at first they make ``start``'s plan.

    free: of ``FREE``, what may change. times: those between the ends, by the gaps' shares of the whole way in log gamma
    (of the share of noise where that is infinite), which keeps them in order. labels: what the network is told, in
    parts of the step. weights: of all outputs that a row reads. sums: those of a row's weights of y too; without, they
    stay 1, which is exact on data of one point. history: how many earlier outputs a row reads. Parameters are how far
    each number has moved, in units of its own (:meth:`measure_in`).
    """

    def __init__(self, start: Start, *, history: int, free: Collection[str] = FREE) -> None:
        super().__init__()
        if unknown := sorted(set(free) - set(FREE)):
            raise ValueError(f"free={shown(unknown)}; choose from {', '.join(FREE)}")
        self.start, self.history, self.free = start, history, frozenset(free)
        self.coordinate = Coordinate.of(start.schedule, start.times)
        count = len(start.plan.rows)
        i, j = np.indices((count, count))
        read = (j <= i) & (j >= i - history)
        if np.any(start.weights[~read]):
            raise ValueError(f"history={history}: {start.recipe.solver} reads more of its earlier outputs; give more")
        at = self.coordinate.of_time(start.times)
        shifts = (at[:-1] - self.coordinate.of_time(start.plan.times)) / (at[:-1] - at[1:])
        begun = {"gaps": np.log(at[:-1] - at[1:]), "shifts": shifts, "weights": start.weights}
        for (name, values), part in zip(begun.items(), ("times", "labels", "weights"), strict=True):
            self.register_buffer(f"{name}_begun", torch.from_numpy(values.copy()), persistent=False)
            self.register_buffer(f"{name}_unit", torch.full(values.shape, _LARGEST_UNIT, dtype=torch.float64))
            moved = nn.Parameter(torch.zeros(values.shape, dtype=torch.float64), requires_grad=part in free)
            self.register_parameter(f"{name}_moved", moved)
        self.register_buffer("read", torch.from_numpy(read), persistent=False)

    def measure_in(self, units: Mapping[str, Tensor]) -> None:
        """Count how far a number has moved in these units, by the parameters' names; at most 0.3 of its own."""
        for name, unit in units.items():
            self.get_buffer(name.replace("_moved", "_unit")).copy_(
                unit.nan_to_num(_LARGEST_UNIT).clamp(max=_LARGEST_UNIT)
            )

    def _value(self, name: str) -> Tensor:
        buffers = (self.get_buffer(f"{name}_{what}") for what in ("begun", "unit"))
        begun, unit = buffers
        return begun + unit * self.get_parameter(f"{name}_moved")

    # --- the numbers

    def coordinates(self) -> tuple[Tensor, Tensor]:
        """Of the nodes, [N + 1], and of what the network is told, [N]."""
        first, last = self.coordinate.ends
        inner = first - (first - last) * torch.softmax(self._value("gaps"), 0).cumsum(0)[:-1]
        nodes = torch.cat([inner.new_tensor([first]), inner, inner.new_tensor([last])])
        steps = nodes[:-1] - nodes[1:]
        return nodes, (nodes[:-1] - steps * self._value("shifts")).clamp(last, first)

    def row_weights(self) -> Tensor:
        """[N, N, kinds], 0 where a row does not read."""
        weights = self._value("weights") * self.get_buffer("read")[..., None]
        if "sums" in self.free:
            return weights
        missing = (1.0 - weights[..., 0].sum(1)) / self.get_buffer("read").sum(1)
        return torch.cat(
            [weights[..., :1] + (missing[:, None] * self.get_buffer("read"))[..., None], weights[..., 1:]], dim=2
        )

    def _times(self) -> tuple[Array, Array]:
        """Of the nodes and of the labels; the start's own where nothing has moved."""
        nodes, asked = (self.coordinate.time(c.detach().numpy()) for c in self.coordinates())
        times = nodes if self.get_parameter("gaps_moved").any() else self.start.times
        return times, np.where(self._value("shifts").detach().numpy() == 0.0, times[:-1], asked)

    # --- the plan

    def plan(self) -> Plan:
        """The ordinary plan of these numbers, its rows well conditioned, with the start's recipe on the new times."""
        start = self.start
        times, asked = self._times()
        weights = self.row_weights().detach().numpy()
        outputs = start.plan.outputs
        builder = PlanBuilder(start.schedule, prediction=outputs[0], quantity=start.quantity, derivatives=outputs[1:])
        for i in range(len(asked)):
            ratio, scale = start.transfer(float(times[i]), float(times[i + 1]))
            of_y, *of_d = ({j: scale * float(kind[j]) for j in range(i + 1) if kind[j]} for kind in weights[i].T)
            builder.add(
                float(asked[i]), {i: 0.0, **of_y}, x=ratio, derivatives=of_d[0] if of_d else {},
                derivative=start.mixtures[i].tolist() if of_d else (),
            )  # fmt: skip
        made = builder.plan(start.recipe.solver, times, start.recipe.options)
        return replace(made, recipe=replace(start.recipe, grid=tuple(times.tolist())))

    def template(self) -> Plan:
        """The plan of these numbers in rows that always read all their history, so that their layout never changes."""
        start = self.start
        times, asked = self._times()
        weights = self.row_weights().detach().numpy()
        further = (0.0,) * (len(start.plan.outputs) - 1)
        rows = []
        for i, time in enumerate(asked.tolist()):
            ratio, scale = start.transfer(float(times[i]), float(times[i + 1]))
            p, q = start.conversion(time)
            converted = (Conversion(p, (q, *further)),)
            if further:
                converted += (Conversion(0.0, (0.0, *start.mixtures[i].tolist())),)
            entries = self._entries(i)
            terms = [scale * float(weights[i, e.row, e.h]) or _ALIVE for e in entries]
            combination = Combination(x=ratio, y=tuple(terms[: len(converted)]), history=tuple(terms[len(converted) :]))
            rows.append(Row(time, combination, converted=converted, history=entries[len(converted) :]))
        recipe = replace(start.recipe, grid=tuple(times.tolist()))
        return replace(start.plan, quantity=start.quantity, rows=tuple(rows), recipe=recipe)

    def _entries(self, row: int) -> tuple[HistoryEntry, ...]:
        """What a row reads: its own values, then earlier ones, newest first."""
        kinds = self.start.weights.shape[2]
        return tuple(HistoryEntry(j, h) for j in range(row, max(-1, row - self.history - 1), -1) for h in range(kinds))

    # --- gradients

    def table(self, template: Plan) -> Tensor:
        """The template's own table, guided as it is, float64 [rows, n] or [rows, B, n], with gradients."""
        carried = self._carried(template)
        values = torch.from_numpy(template.table.copy())
        return values + (carried - carried.detach()).reshape(values.shape)

    def _carried(self, template: Plan) -> Tensor:
        """[rows, B, n]: in the places of what is learned its value, elsewhere 0."""
        nodes, asked = self.coordinates()
        gap = self._least_gap(nodes)
        weights, start = self.row_weights(), self.start
        scales = torch.tensor(template.guidance or (1.0,), dtype=torch.float64)[:, None]
        rows = []
        for i, (row, layout) in enumerate(zip(template.rows, template.layout, strict=True)):
            ratio, scale = self.coordinate.along(start.transfer, gap, nodes[i], nodes[i + 1])
            p, q = self.coordinate.along(start.conversion, gap, asked[i])
            half = [q.expand(1), q.new_zeros(row.outputs - 1)]
            of_outputs = [torch.cat(half).expand(len(scales), -1)]
            if row.calls == 2:
                of_outputs = [scales * of_outputs[0], (1.0 - scales) * of_outputs[0]]
            unchanged = q.new_zeros(2 + (layout.converted - 1) * (layout.outputs + 3))  # bound and scale, and d
            terms = scale * torch.stack([weights[i, e.row, e.h] for e in self._entries(i)])
            parts = [p.expand(1), *of_outputs, unchanged, ratio.expand(1), terms]
            columns = torch.cat([part.expand(len(scales), -1) for part in parts], dim=1)
            rows.append(nn.functional.pad(columns, (0, template.table.shape[-1] - columns.shape[1])))
        return torch.stack(rows)

    def labels(self, model: Model, template: Plan) -> Tensor:
        """What the model is given in each row of the template, float32 [N] or [N, m], with gradients to all of this."""
        nodes, asked = self.coordinates()
        gap = self._least_gap(nodes)
        values, slopes = _labels(model, template), []
        for i, at in enumerate(asked.detach().tolist()):
            low, high = self.coordinate.around(at, gap)
            below, above = (_labels(model, _asking(template, i, float(self.coordinate.time(s)))) for s in (low, high))
            slopes.append((above - below) / (high - low))
        change = torch.tensordot(asked - asked.detach(), torch.from_numpy(np.stack(slopes)), dims=1)
        return (torch.from_numpy(values) + change).float()

    def _least_gap(self, nodes: Tensor) -> float:
        return float((nodes[:-1] - nodes[1:]).detach().min())


def _labels(model: Model, plan: Plan) -> Array:
    return np.asarray(model.labels(plan), dtype=np.float64)


def _asking(plan: Plan, row: int, time: float) -> Plan:
    """The plan with another time told to the network in this row."""
    rows = list(plan.rows)
    rows[row] = replace(rows[row], time=time)
    return replace(plan, rows=tuple(rows))
