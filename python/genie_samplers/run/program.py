"""A plan on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..models.outputs import FLOATS
from ..plan import Plan, RowLayout
from .named import Operator, checked_operators, checked_reductions
from .reductions import Reduction

__all__ = ["Program"]


@dataclass(frozen=True, eq=False)
class Program:
    """A plan on a device, uploaded once; read-only, shared by chunks and threads. Made by :meth:`of`.

    dtype: of the state. model_dtype: of what the network is given. table: [rows, n] or per sample [rows, B, n], in the
    compute dtype: float64 for a state of float64, else float32. backend: as of :func:`genie_ext.fused_step`. operators,
    reductions: what the plan applies and what its gains compute, by name.
    """

    plan: Plan
    device: torch.device
    dtype: torch.dtype
    model_dtype: torch.dtype
    table: Tensor
    backend: str | None = None
    operators: Mapping[str, Operator] = field(default_factory=dict)
    reductions: Mapping[str, Reduction] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        plan: Plan,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        model_dtype: torch.dtype | None = None,
        backend: str | None = None,
        operators: Mapping[str, Operator] | None = None,
        gains: Mapping[str, Reduction] | None = None,
    ) -> Program:
        """Upload the plan's table. model_dtype: the state's by default. TypeError for a dtype that is no float's.

        operators, gains: functions by the names in ``plan.operators`` and, but for those of the library, in
        ``plan.reductions``; ValueError where one is missing or has no use.
        """
        if not isinstance(plan, Plan):
            raise TypeError(f"plan: {type(plan).__name__}; pass a Plan, from make_plan or a solver function")
        if dtype not in FLOATS or model_dtype not in (None, *FLOATS):
            raise TypeError(f"dtype={dtype}, model_dtype={model_dtype}; choose {', '.join(map(str, FLOATS))}")
        named = checked_operators(plan, operators), checked_reductions(plan, gains)
        double = dtype == torch.float64
        table = torch.from_numpy(plan.table.astype(np.float64 if double else np.float32)).to(device)
        return cls(plan, table.device, dtype, model_dtype or dtype, table, backend, *named)

    def with_table(self, table: Tensor) -> Program:
        """The same rows with other numbers: [rows, n], or [rows, B, n] for B samples.

        ValueError or TypeError where rows, columns, dtype or device are not those of ``self.table``.
        """
        if not isinstance(table, Tensor):
            raise TypeError(f"table: {type(table).__name__}; pass a tensor")
        ours = (self.table.shape[0], self.table.shape[-1])
        if table.ndim not in (2, 3) or (table.shape[0], table.shape[-1]) != ours:
            raise ValueError(f"table: shape {tuple(table.shape)}; need [{ours[0]}, {ours[1]}] or one such per sample")
        if table.dtype != self.compute_dtype:
            raise TypeError(f"table: dtype {table.dtype}; a state of {self.dtype} needs {self.compute_dtype}")
        if table.device != self.table.device:
            raise ValueError(f"table: on {table.device}, but the program is on {self.table.device}; move it there")
        return replace(self, table=table)

    def for_samples(self, index: Tensor | None) -> Program:
        """The program of these samples, int64 [b], where the table is per sample; else, and for all of them, itself."""
        return self if index is None or self.table.ndim == 2 else replace(self, table=self.table.index_select(1, index))

    @property
    def compute_dtype(self) -> torch.dtype:
        return self.table.dtype

    @cached_property
    def feeds(self) -> bool:
        """Whether the network's input is another tensor than the state: scaled, or of another dtype."""
        return self.model_dtype != self.dtype or any(row.input_scale != 1.0 for row in self.plan.rows)

    @cached_property
    def layout(self) -> tuple[RowLayout, ...]:
        return self.plan.layout

    @cached_property
    def coefficients(self) -> Sequence[Tensor]:
        """Of each row, as ``genie_ext.fused_step`` takes them: views of the table, [columns] or [B, columns]."""
        return [row[..., : at.columns] for row, at in zip(self.table.unbind(0), self.layout, strict=True)]

    def predicted_x0(self, row: int, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """What the row converts the network's prediction to, as a prediction of the clean data.

        In the compute dtype or, where the outputs are in float64, in that.

        x: the state before the row; outputs: the network's there. ValueError for a row that asks no network.
        """
        layout, plan = self.layout[row], self.plan
        if not layout.converted or not layout.calls:
            raise ValueError(f"predicted_x0: row {row} calls no network; ask in a row that does")
        columns, own = layout.outputs + 3, plan.rows[row].x0 if plan.quantity != "x0" else None
        numbers = self.coefficients[row].narrow(-1, columns * (own or 0), columns).reshape(-1, columns)
        p, *q, bound, scale = numbers.reshape(*numbers.shape, *(1,) * (x.ndim - 1)).unbind(1)
        mixed = p * x
        for weight, output in zip(q, outputs, strict=False):
            mixed = mixed + weight * output
        y = scale * mixed.clamp(-bound, bound)
        if plan.quantity == "x0" or own is not None:
            return y
        alpha, sigma = (float(of(plan.rows[row].time)) for of in (plan.schedule.alpha, plan.schedule.sigma))
        return (x - sigma * y) / (alpha + sigma if plan.quantity == "flow" else alpha)
