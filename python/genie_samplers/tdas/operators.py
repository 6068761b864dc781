"""Filters and gains as operators of a run: what ``sample(..., operators=)`` is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_ext import SpectralFilter, wants_gradients

from .._arguments import boolean
from ..files import read_json
from ..plan import Plan
from .filter_files import FIX
from .gains import NoiseGains
from .spec import FilterSpec

__all__ = ["FilterOperator", "operators", "read_filters"]


class FilterOperator:
    """``operator(value, index, out)``: out = B value, or B^T value; of gains the filter ``index`` of their bank.

    value, out: [B, C, H, W], or [B, C, ..., H, W] of which each plane is filtered by itself, as the frames of a video;
    float32 or float64. Differentiable by value. The op is prepared at the first call for each dtype, device and number
    of planes.
    """

    def __init__(self, filters: FilterSpec | NoiseGains, *, adjoint: bool = False) -> None:
        if not isinstance(filters, FilterSpec | NoiseGains):
            raise TypeError(f"filters: {type(filters).__name__}; give a FilterSpec or NoiseGains")
        self.filters, self.adjoint = filters, boolean(adjoint, "adjoint")
        self._prepared: dict[tuple[torch.dtype, torch.device, int], SpectralFilter] = {}

    def check_plan(self, plan: Plan, name: str) -> None:
        """ValueError where the plan does not hand gains the numbers of their draws. name: of this operator there."""
        if isinstance(self.filters, NoiseGains):
            self.filters.check_applied(plan, name)

    def __call__(self, value: Tensor, index: int, out: Tensor) -> None:
        self.filters.check_fits(value.shape)
        key = (value.dtype, value.device, value.shape[2:-2].numel())
        prepared = self._prepared.get(key)
        if prepared is None:  # two threads may make it twice, and get the same
            prepared = self._prepared[key] = _prepare(self.filters, *key)
        which = index if isinstance(self.filters, NoiseGains) else 0
        planes = value.flatten(1, -3) if value.ndim > 4 else value
        if wants_gradients(value):
            out.copy_(prepared(planes, index=which, adjoint=self.adjoint).view_as(value))
        else:
            prepared(planes, out.view_as(planes), index=which, adjoint=self.adjoint)


def operators(
    filters: FilterSpec | NoiseGains, *, name: str = "filter", adjoint: bool = False
) -> dict[str, FilterOperator]:
    """``{name: B}`` for ``sample(..., operators=)``; with ``adjoint`` also ``name_adjoint``, the transpose B^T.

    filters: of TDAS, which needs B alone; of PDS, which needs B^T, too; or gains, the bank of a plan's draws.
    """
    found = {name: FilterOperator(filters)}
    return found | ({f"{name}_adjoint": FilterOperator(filters, adjoint=True)} if adjoint else {})


def read_filters(path: Path | str) -> FilterSpec | NoiseGains:
    """What the .json file says it is: a filter or gains. ValueError naming the file and the fix."""
    what = read_json(Path(path), FIX).get("format")
    return NoiseGains.load(path) if isinstance(what, str) and what.endswith("gains") else FilterSpec.load(path)


def _prepare(filters: FilterSpec | NoiseGains, dtype: torch.dtype, device: torch.device, planes: int) -> SpectralFilter:
    """planes: of each channel, which follow one another."""
    if isinstance(filters, NoiseGains):
        bank = filters.bank if filters.bank.ndim == 4 else filters.bank[:, None]
        frequency, space = _repeated(bank, planes), None
    else:
        frequency = _repeated(filters.frequency, planes)
        space = None if filters.space is None else _repeated(filters.space, planes)
    transform = "dct" if filters.transform == "dct" else "dft"
    return SpectralFilter(frequency, space, transform=transform, dtype=dtype, device=device)


def _repeated(numbers: NDArray[np.float64], planes: int) -> Tensor:
    """[..., C, H, W] -> [..., C * planes, H, W]; those of all channels alike as they are."""
    alike = numbers.ndim == 2 or numbers.shape[-3] == 1
    return torch.from_numpy(numbers.copy() if alike else np.repeat(numbers, planes, axis=-3))
