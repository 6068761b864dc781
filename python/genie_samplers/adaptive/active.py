"""The samples still under way: their tensors, the rows that move them and the norms that judge them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_ext import FusedStepCall, resolve

from .._inputs import Inputs, map_tensors, own_label
from .._outputs import check_outputs
from ..guidance import for_run
from ..plan import Plan, RowLayout
from .rows import AttemptRows

__all__ = ["ActiveSamples"]

Array = NDArray[np.float64]


class ActiveSamples:
    """b samples at their last accepted states ``x``; ``next`` and ``error`` [b, ...] are what an attempt leaves."""

    def __init__(self, model: Any, plan: Plan, inputs: Inputs, x: Tensor, slots: int, backend: str | None) -> None:
        self.model, self.names, self.inputs = for_run(model, inputs), plan.output_names, inputs
        self.label = own_label(model, plan)
        _, self.fused_step = resolve("fused_step", inputs.device, backend)
        self.compute = torch.float64 if inputs.dtype == torch.float64 else torch.float32
        self.index = np.arange(inputs.count)
        self.x, self.next, self.error = x, x.clone(), torch.empty_like(x)
        # apart from the state, so that a network that writes into its input harms nothing
        self.x_in = x.to(inputs.model_dtype, copy=True)
        self.slots = [torch.empty_like(x, dtype=self.compute) for _ in range(slots)]
        self.flags = torch.zeros(inputs.count, dtype=torch.int32, device=inputs.device)
        self.copied: set[str] = set()

    def run(self, rows: AttemptRows) -> None:
        tables = self._upload(rows.tables)
        labels = self._labels(rows.times)
        cond = map_tensors(self.inputs.cond, self._chosen)
        for i, layout in enumerate(rows.layouts):
            outputs: tuple[Tensor, ...] = ()
            if layout.calls:
                given = self.model(self.x_in, labels[i], **cond)
                outputs = check_outputs(given, self.names, self.x, i, (self.x_in,), self.copied)
            self._step(layout, tables[i][0] if len(tables[i]) == 1 else tables[i], outputs)

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
        table = torch.stack([*sums, self.flags.double()]).cpu().numpy()
        return table[:-1], (table[-1] != 0) | ~np.isfinite(table[:-1]).all(axis=0)

    def accept(self, accepted: NDArray[np.bool_]) -> None:
        """``next`` becomes the state where accepted [b or 1], and the newest epsilon the first of the next step."""
        mask = self._spread(accepted)
        self.x = torch.where(mask, self.next, self.x)
        self.slots[0] = torch.where(mask, self.slots[-1], self.slots[0])

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Only these samples from now on."""
        rows = torch.from_numpy(np.flatnonzero(kept)).to(self.x.device)
        count = len(rows)
        self.index = self.index[kept]
        self.x, self.flags, self.slots[0] = self.x[rows], self.flags[rows], self.slots[0][rows]
        self.next, self.error, self.x_in = self.next[:count], self.error[:count], self.x_in[:count]
        self.slots[1:] = [slot[:count] for slot in self.slots[1:]]

    def _step(self, layout: RowLayout, row: Tensor, outputs: Sequence[Tensor]) -> None:
        self.fused_step(
            FusedStepCall(
                x=self.next, outputs=outputs, history=[self.slots[s] for s in layout.history],
                row=row, converted=layout.converted, aux=self.x if layout.reads_aux else None, draws=(), noise=None,
                out=self.next, aux_out=self.error if layout.writes_aux else None,
                stored=[None if s is None else self.slots[s] for s in layout.store],
                x_in=self.x_in, nonfinite=self.flags,
            )
        )  # fmt: skip

    def _labels(self, times: Array) -> Tensor:
        """float32 [rows, b], or [rows, b, m]."""
        labels = np.asarray(self.label(times.ravel()), dtype=np.float64)
        labels = labels.reshape(*times.shape, *labels.shape[1:])
        labels = np.broadcast_to(labels, (len(times), len(self.index), *labels.shape[2:]))
        return torch.from_numpy(labels.astype(np.float32)).to(self.x.device)

    def _chosen(self, value: Tensor) -> Tensor:
        everybody = not self.inputs.is_per_sample(value) or len(self.index) == self.inputs.count
        return value if everybody else value[torch.from_numpy(self.index).to(value.device)]

    def _upload(self, tables: Sequence[Array]) -> Sequence[Tensor]:
        """Every row's numbers, [g, columns], in one transfer."""
        groups = max(len(table) for table in tables)
        whole = np.concatenate([np.broadcast_to(table, (groups, table.shape[1])) for table in tables], axis=1)
        uploaded = torch.from_numpy(whole).to(self.compute).to(self.x.device)
        return uploaded.split([table.shape[1] for table in tables], dim=1)

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
