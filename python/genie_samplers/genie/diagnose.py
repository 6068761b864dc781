"""How smooth epsilon is along a network's own flow, and what that means for solvers that use its derivative."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import grids
from .._arguments import integer
from ..flow import coefficients_at, total_derivative
from ..models import WrappedModel
from ..numerics import transfer
from ..run import RowEvent, sample
from ..solvers import deis_log_ab

__all__ = ["WIDTHS", "Advice", "Diagnosis", "diagnose"]

WIDTHS = (0.01, 0.1)
"""How far, in log gamma, the finite differences reach that the derivative is compared with."""

_ROUGH = 0.05  # far above what smooth networks show at 1 % of gamma, far below what rough ones do
_MOST_STEPS = 50
_TRAJECTORY_STEPS = 80  # the least, in all; order 4
_PER_STEP = 2  # gammas that are looked at

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Advice:
    """solver: a registered name; options: for :func:`make_plan`; reason: why, in words."""

    solver: str
    options: Mapping[str, object]
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """One entry per gamma, falling; float64. Norms are over all samples together; NaN where epsilon does not change.

    step: size of a step, in log gamma. change [n]: of epsilon over the next step, relative to epsilon. roughness
    [n, 2]: how far a central difference over +-:data:`WIDTHS` is from the derivative, relative to the difference.
    with_derivative, with_history [n]: the error of epsilon's straight line in log gamma to the end of the next step,
    relative to the change: 1 is no better than a constant epsilon. The line has the exact derivative as its slope
    (genie_ttm2 in log gamma), or passes through epsilon one step before (deis_log_ab1).
    """

    nfe: int
    step: float
    gamma: Array
    change: Array
    roughness: Array
    with_derivative: Array
    with_history: Array

    @property
    def helps(self) -> NDArray[np.bool_]:
        """[n]: the derivative is better than the history, and better than nothing."""
        return (self.with_derivative < 1.0) & (self.with_derivative < self.with_history)

    @property
    def typical_roughness(self) -> float:
        """At 1 % of gamma, the median over the gammas."""
        return float(np.median(self.roughness[:, 0]))

    @property
    def derivative_below(self) -> float:
        """Threshold for the solvers: from this gamma on down the derivative always helps; inf: everywhere; 0: nowhere.

        Everywhere and nowhere mean the gammas that were looked at.
        """
        lasting = np.logical_and.accumulate(self.helps[::-1])[::-1]
        if lasting.all():
            return np.inf
        return float(self.gamma[lasting].max(initial=0.0))

    @property
    def usable(self) -> bool:
        """The derivative helps down from some gamma over at least half of what the steps cross."""
        return bool(np.mean(self.gamma <= self.derivative_below) >= 0.5)

    def advice(self) -> Advice:
        """What to sample with, as far as smoothness tells."""
        rough = self.typical_roughness > _ROUGH
        found = f"{'rough' if rough else 'smooth'} ({self.typical_roughness:.2%} at 1 % of gamma)"
        threshold = self.derivative_below
        if self.usable:
            where = "at every gamma" if threshold == np.inf else f"below gamma = {threshold:.3g}"
            reason = f"{found}; per evaluation the exact derivative beats the epsilon of the step before {where}"
            return Advice("genie_hermite3", {"derivative": "exact", "derivative_below": threshold}, reason)
        if rough:
            reason = f"{found}; the exact derivative is that of ripples, only a step-scale head can help"
        else:
            reason = f"{found}; the exact derivative does not beat the epsilon of the step before over steps this long"
        return Advice("ipndm", {}, reason)


@torch.no_grad()
def diagnose(
    model: WrappedModel,
    *,
    shape: Sequence[int],
    nfe: int = 10,
    seed: int = 0,
    cond: Mapping[str, object] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Diagnosis:
    """Compare the network's exact derivative of epsilon along the flow with what epsilon does there.

    model: from models.wrap. No data: the states lie on the network's own trajectories from noise, [B, ...] = shape.
    nfe: 3 to 50, steps of equal size in log gamma over the schedule's ``finite_ends``, t_max to t_end as a rule; that
    size is what the derivative has to bridge, and two gammas are looked at per step. seed, cond, device, dtype: as of
    :func:`genie_samplers.sample`.

    ValueError or TypeError for bad arguments, and for a network in half precision, whose rounding is all that a small
    difference would show. The derivative: Dockhorn et al., arXiv 2210.05475.
    """
    steps = integer(nfe, "nfe", least=3)
    if steps > _MOST_STEPS:
        raise ValueError(f"nfe={nfe}: give {_MOST_STEPS} or fewer; steps shorter than that need no derivative")
    if not isinstance(model, WrappedModel):
        raise TypeError(f"model: {type(model).__name__}; give models.wrap(network, ...)")
    if model.dtype in (torch.float16, torch.bfloat16):
        raise ValueError(f"model: its weights are {model.dtype}; load it in float32 to diagnose it")
    start, end = model.schedule.finite_ends
    times = grids.uniform_half_log_snr(model.schedule, _PER_STEP * steps, t_start=start, t_end=end)
    flow = _Flow(model, dict(cond or {}))
    states = flow.states(times, shape=shape, seed=seed, cond=cond, device=device, dtype=dtype)
    step = float(model.schedule.log_gamma(times[0]) - model.schedule.log_gamma(times[-1])) / steps
    inner = times[1 + _PER_STEP : -_PER_STEP]  # with a step to come, and a recorded one behind
    local = [flow.derivative(states[t], t) for t in times[1:]]
    lines = [_lines(*window, step) for window in zip(local, local[_PER_STEP:], local[2 * _PER_STEP :], strict=False)]
    ripples = [flow.roughness(states[t], t, here) for t, here in zip(inner, local[_PER_STEP:], strict=False)]
    change, with_derivative, with_history = np.array(lines).T
    gamma = model.schedule.gamma(inner)
    return Diagnosis(steps, step, gamma, change, np.array(ripples), with_derivative, with_history)


class _Local(NamedTuple):
    """At one state: epsilon and its derivative in log gamma."""

    epsilon: Tensor
    slope: Tensor


@dataclass(frozen=True)
class _Flow:
    """A network's own probability flow."""

    model: WrappedModel
    cond: Mapping[str, object]

    def states(self, times: Array, **run: Any) -> dict[float, Tensor]:
        """On the way from noise, accurately, at all of ``times`` but the first."""
        parts = math.ceil(_TRAJECTORY_STEPS / (len(times) - 1))
        fine = grids.subdivided(self.model.schedule, times, parts)
        plan = deis_log_ab(self.model.schedule, fine, order=3, prediction=self.model.outputs[0])
        found: dict[float, Tensor] = {}

        def keep(event: RowEvent) -> None:
            if event.next_time in times:
                found[event.next_time] = event.x if self.model.dtype is None else event.x.to(self.model.dtype)

        sample(self.model, plan, on_row=keep, progress=False, **run)
        return found

    def derivative(self, x: Tensor, t: float) -> _Local:
        found = total_derivative(self.model, x, t, cond=self.cond, method="auto")
        return _Local(found.epsilon, found.gamma_d_epsilon)

    def roughness(self, x: Tensor, t: float, here: _Local) -> list[float]:
        """For each of WIDTHS how far the central difference is from the derivative, relative to the difference."""
        schedule = self.model.schedule
        gamma = float(schedule.gamma(t))

        def moved(distance: float) -> Tensor:
            """Epsilon that far along the flow's tangent; the flow's bend cancels from the difference."""
            there = float(schedule.time_of_gamma(gamma * math.exp(distance)))
            ratio, weight = transfer(schedule, t, there)
            return self._epsilon(float(ratio) * x + float(weight) * here.epsilon, there)

        differences = [(moved(width) - moved(-width)) / (2.0 * width) for width in WIDTHS]
        return [_ratio(d - here.slope, d) for d in differences]

    def _epsilon(self, x: Tensor, t: float) -> Tensor:
        on = coefficients_at(self.model, x, t)
        p, q = (c.reshape(-1, *(1,) * (x.ndim - 1)) for c in (on.p, on.q))
        return p * x + q * self.model(x, on.label, **self.cond)


def _lines(before: _Local, here: _Local, ahead: _Local, step: float) -> tuple[float, float, float]:
    """The change of epsilon over the next step, and the errors of the two lines."""
    change = ahead.epsilon - here.epsilon
    secant = (before.epsilon - here.epsilon) / step
    return (
        _ratio(change, here.epsilon),
        _ratio(change + step * here.slope, change),
        _ratio(change + step * secant, change),
    )


def _ratio(a: Tensor, b: Tensor) -> float:
    return float(torch.linalg.vector_norm(a.double()) / torch.linalg.vector_norm(b.double()))
