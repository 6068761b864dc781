"""Statistics of a network over noised data, from which analytic_ddpm and analytic_ddim make their variances."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .. import predictions
from .._arguments import boolean, integer, real, reals, shown
from ..files import read_json, unreadable, write_text
from ..models import as_model
from ..plan import Combination, Conversion, Plan, Row
from ..run import AnyModel, sample
from ..run.noise import noised
from ..schedules import AlphasCumprod, Schedule, check_schedule, from_dict
from ..solvers import ddim

__all__ = ["AnalyticStatistics", "analytic"]

Array = NDArray[np.float64]

_FORMAT = {"format": "genie_samplers analytic statistics", "version": 1}
_FIX = "write one with `genie-samplers calibrate analytic`"
_FLOOR = 1e-3  # a network that errs by all the noise: its variance of x_0 is gamma^2, of which 0.1 % is left out
_NODES = 20
_LEAST = 10  # images: with d elements each, the statistic is off by about 1 / sqrt(N d)


@dataclass(frozen=True)
class AnalyticStatistics:
    """ms_eps[i] = E|eps|^2 / d at times[i], over ``samples`` noised images; most: bound of the variance of x_0 | x."""

    schedule: Schedule
    times: tuple[float, ...]
    ms_eps: tuple[float, ...]
    samples: int
    most: float | None = 1.0

    def options(self, schedule: Schedule | None = None) -> dict[str, object]:
        """Of ``make_plan("analytic_ddpm" or "analytic_ddim", options=)``; ValueError for another schedule."""
        if schedule is not None and schedule != self.schedule:
            raise ValueError(f"schedule={schedule!r}; the statistics were measured on {self.schedule!r}, measure again")
        return {"times": self.times, "ms_eps": self.ms_eps, "most": self.most}

    def save(self, path: Path | str) -> None:
        """As JSON."""
        numbers = {"times": self.times, "ms_eps": self.ms_eps, "samples": self.samples, "most": self.most}
        write_text(
            path, json.dumps({**_FORMAT, "schedule": self.schedule.to_dict(), **numbers}, allow_nan=False) + "\n"
        )

    @staticmethod
    def load(path: Path | str) -> AnalyticStatistics:
        """Read :meth:`save`'s file; ValueError naming the file, what is wrong with it and the fix."""
        found = read_json(Path(path), _FIX)
        with unreadable(Path(path), _FIX):
            keys = {*_FORMAT, "schedule", "times", "ms_eps", "samples", "most"}
            if {key: found.get(key) for key in _FORMAT} != _FORMAT or found.keys() != keys:
                raise ValueError(f"format {shown(found.get('format'))}, keys {sorted(found)}")
            times, ms_eps = (tuple(reals(found[name], name).tolist()) for name in ("times", "ms_eps"))
            return AnalyticStatistics(
                from_dict(found["schedule"]), times, ms_eps, integer(found["samples"], "samples"), found["most"]
            )


def analytic(
    model: AnyModel,
    schedule: Schedule,
    images: Tensor,
    *,
    times: ArrayLike | None = None,
    nodes: int = _NODES,
    residual: bool = False,
    most: float | None = 1.0,
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    prediction: str | None = None,
    batch_size: int | None = None,
) -> AnalyticStatistics:
    """Measure ms_eps of ``model`` over noised ``images`` [N, ...], by one evaluation of each image at each time.

    times: where; by default ``nodes`` of equal steps in log gamma over the schedule, of a table whole indices.
    residual: 1 - E|eps - z|^2 / d in place of E|eps|^2 / d: the same for a perfect network, with far less Monte Carlo
    error at large gamma, and what the network gets wrong counts as unknown (Bao et al., arXiv 2206.07309). most: bound
    of the variance of x_0 given x, 1 for data in [-1, 1], None for none. seed: of the noise; cond, shared, batch_size:
    as for ``sample``. Published: N = 50,000 for CIFAR-10, 1,000 for LSUN. Bao et al., arXiv 2201.06503.

    ValueError or TypeError naming the argument; fewer than 10 images are refused.
    """
    check_schedule(schedule)
    prediction = prediction or as_model(model).prediction or "epsilon"
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim < 2:
        raise TypeError("images: need a float tensor [N, ...] of clean data")
    if len(images) < _LEAST:
        raise ValueError(f"images: {len(images)} of them; give {_LEAST} or more, hundreds for a statistic to trust")
    at = _default_times(schedule, nodes) if times is None else _checked_times(schedule, times)
    most = None if most is None else real(most, "most")
    if most is not None and not 0.0 < most < np.inf:
        raise ValueError(f"most={most}; give a positive finite number, or None for no bound")
    residual = boolean(residual, "residual")
    measured = []
    for t in at.tolist():
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        x = noised(images, alpha, sigma, seed=seed, sample_ids=range(len(images)), draw=0)
        epsilon = sample(
            model, _epsilon_plan(schedule, t, prediction), state=x, seed=seed, cond=cond, shared=shared,
            batch_size=batch_size, progress=False,
        ).double()  # fmt: skip
        if residual:
            off = epsilon - (x.double() - alpha * images.double()).to(epsilon) / sigma
            measured.append(max(_FLOOR, 1.0 - float(off.square().mean())))
        else:
            measured.append(float(epsilon.square().mean()))
    low = min(measured)
    if not low > 0.0:
        worst = at[measured.index(low)]
        raise ValueError(f"model: ms_eps={low} at t={worst}; check its prediction type and schedule")
    return AnalyticStatistics(schedule, tuple(at.tolist()), tuple(measured), len(images), most)


def _default_times(schedule: Schedule, nodes: int) -> Array:
    """Rising."""
    start, end = (float(schedule.log_gamma(t)) for t in schedule.finite_ends)
    log_gamma = np.linspace(start, end, integer(nodes, "nodes", least=2))
    times = schedule.time_of_half_log_snr(-log_gamma)
    if isinstance(schedule, AlphasCumprod):
        times = np.rint(times)
    return np.unique(times[schedule.gamma(times) > 0.0])


def _checked_times(schedule: Schedule, times: ArrayLike) -> Array:
    """Those that analytic_ddpm takes, refused before the network is asked."""
    at = reals(times, "times")
    if at.ndim != 1 or at.size == 0 or len(np.unique(at)) < at.size:
        raise ValueError(f"times={times}; give a list of different times, or None for {_NODES}")
    gamma = schedule.gamma(at)
    if not (gamma > 0.0).all() or not np.isfinite(gamma).any():
        raise ValueError(f"times={times}; need times of noise, gamma > 0, and one at least where gamma is finite")
    return at


def _epsilon_plan(schedule: Schedule, t: float, prediction: str) -> Plan:
    """Whose result is the noise prediction at its start."""
    p, q = (float(v) for v in predictions.to_epsilon(prediction, schedule, t))
    row = Row(t, Combination(y=(1.0,)), converted=(Conversion(p, (q,)),))
    return replace(ddim(schedule, (t, schedule.t_zero), prediction=prediction), rows=(row,))
