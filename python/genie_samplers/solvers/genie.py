"""GENIE: exponential integration of a polynomial through noise predictions and their derivatives, with memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import choice, integer
from ..numerics import VARIABLES, HermiteWeights, hermite_weights, transfer, x0_transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import PlanBuilder, checked_grid, from_pure_noise
from .derivative_options import DERIVATIVES, DerivativeOptions, checked_derivative_options, gamma_d_epsilon
from .registry import Solver, register

__all__ = ["genie_hermite", "genie_ttm2"]

Array = NDArray[np.float64]

_VALUES = (1, 2, 3, 4)
_QUANTITIES = {"epsilon": transfer, "x0": x0_transfer}
_NAMES = {(2, 1): "genie_hermite3", (2, 2): "genie_hermite4"}


class _Interpolant(NamedTuple):
    """The polynomial in ``variable`` through the newest values and the derivatives of the newest among them."""

    values: int
    derivatives: int
    variable: str
    quantity: str


def genie_ttm2(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    variable: str | None = None,
    quantity: str = "epsilon",
    derivative: str = "correction",
    derivative_below: float | str | None = "default",
    afs: bool = False,
    prediction: str = "epsilon",
) -> Plan:
    """The second truncated Taylor method on dv/dgamma = epsilon, v = x / alpha.

        x' = (a'/a) x + a' h eps + a' h^2/2 (d eps/d gamma),      h = gamma' - gamma

    Order 2, one evaluation per step, no history, deterministic; where the derivative is not used it is DDIM. With
    ``variable`` = "log_gamma", the default for corrections (None), epsilon is a line in log gamma; with ``quantity`` =
    "x0", too, the x0 prediction D is:

        x' = (s'/s) x + a' (1 - e^-r) D + a' (e^-r - 1 + r) dD/dr,      r = log(gamma/gamma')

    Other options, and what the network returns: :func:`genie_hermite`, of which this is values = derivatives = 1.
    Dockhorn et al., arXiv 2210.05475.
    """
    uses = checked_derivative_options(derivative, derivative_below, afs)
    if variable is None:
        variable = "log_gamma" if uses.derivative == "correction" else "gamma"
    return _plan(
        "genie_ttm2", schedule, grid, _interpolant(1, 1, variable, quantity), uses,
        prediction=prediction, options={"variable": variable, "quantity": quantity},
    )  # fmt: skip


def genie_hermite(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    values: int = 2,
    derivatives: int = 1,
    variable: str = "log_gamma",
    quantity: str = "epsilon",
    derivative: str | None = None,
    derivative_below: float | str | None = "default",
    afs: bool = False,
    prediction: str = "epsilon",
) -> Plan:
    """GENIE with memory: the Hermite polynomial through the last predictions and derivatives, integrated exactly.

        x' = (a'/a) x + a' int p(u(gamma)) dgamma,      p(u_j) = eps_j,  dp/dlog gamma (u_j) = gamma_j (d eps/d gamma)_j

    through the newest ``values`` predictions and the derivatives of the newest ``derivatives`` of them, as far as there
    are any; u is ``variable``. ``quantity`` = "x0" integrates x0 predictions over kappa = 1/gamma instead. Global order
    values + derivatives with an exact start, one evaluation per step, deterministic. values = r + 1, derivatives = 0 is
    deis_tab, deis_rho_ab or deis_log_ab of degree r.

    The derivative is total, along the ODE. ``derivative``: "exact", the network's second output is gamma_d_epsilon =
    gamma d eps/d gamma; "head", its outputs after the prediction are k1, k2, k3 of a distilled head; "correction", they
    are c1, c2, c3, the same of the newest derivative minus the slope there of the polynomial through the values, so
    that a head of zeros leaves the multistep method; None, a correction, or exact derivatives where there are two. It
    is used where gamma <= ``derivative_below`` (None: everywhere; "default": of a head below 100, else everywhere),
    never at gamma = 0, and a correction never in a step to there. ``afs``: the first step, if it is from t_max, asks no
    network: epsilon is the normalised state, without a derivative. A step to gamma = 0 in x0 and log gamma has order 1.
    Dockhorn et al., arXiv 2210.05475; the memory is ours.
    """
    interpolant = _interpolant(values, derivatives, variable, quantity)
    if derivative is None:
        derivative = "correction" if interpolant.derivatives < 2 else "exact"
    uses = checked_derivative_options(derivative, derivative_below, afs)
    if uses.derivative == "correction" and interpolant.derivatives > 1:
        raise ValueError(f"derivatives={derivatives}: a correction belongs to the newest prediction alone; give 1 or 0")
    return _plan(
        _NAMES.get((interpolant.values, interpolant.derivatives), "genie_hermite"), schedule, grid, interpolant,
        uses, prediction=prediction, options=interpolant._asdict(),
    )  # fmt: skip


def _interpolant(values: int, derivatives: int, variable: str, quantity: str) -> _Interpolant:
    values = choice(integer(values, "values"), "values", _VALUES)
    derivatives = choice(integer(derivatives, "derivatives"), "derivatives", range(values + 1))
    variable = choice(variable, "variable", VARIABLES)
    return _Interpolant(values, derivatives, variable, choice(quantity, "quantity", _QUANTITIES))


def _plan(
    name: str,
    schedule: Schedule,
    grid: ArrayLike,
    interpolant: _Interpolant,
    uses: DerivativeOptions,
    *,
    prediction: str,
    options: Mapping[str, object],
) -> Plan:
    times = checked_grid(schedule, grid)
    outputs = DERIVATIVES[uses.derivative] if interpolant.derivatives else ()
    builder = PlanBuilder(schedule, prediction=prediction, quantity=interpolant.quantity, derivatives=outputs)
    used = uses.used(schedule, times)
    for n, (time, t_next) in enumerate(itertools.pairwise(times)):
        if n == 0 and uses.analytic_start(schedule, times):
            builder.add_analytic(time, t_next)
            continue
        if from_pure_noise(schedule, time):
            builder.add_first_order(time, t_next)
            continue
        if uses.derivative == "correction" and t_next == schedule.t_zero:
            used[n] = False  # a step of infinite width in log gamma, which no head knows
        latest, slopes = _conditions(schedule, interpolant, t_next, n, used)
        of_values, of_slopes = _weights(schedule, times[latest], t_next, interpolant, slopes)
        if uses.derivative == "correction":
            of_values = _weights(schedule, times[latest], t_next, interpolant, [False] * len(slopes)).values
        ratio = float(_QUANTITIES[interpolant.quantity](schedule, time, t_next)[0])
        builder.add(
            time, dict(zip(latest, of_values, strict=True)), x=ratio,
            derivatives=dict(zip(latest, of_slopes, strict=True)),
            derivative=gamma_d_epsilon(uses.derivative, schedule, time) if slopes[0] else (),
        )  # fmt: skip
    return builder.plan(name, times, {**options, **uses._asdict()})


def _weights(
    schedule: Schedule, nodes: Array, t_next: float, interpolant: _Interpolant, slopes: list[bool]
) -> HermiteWeights:
    return hermite_weights(
        schedule, nodes, t_next,
        derivatives=slopes, variable=interpolant.variable, quantity=interpolant.quantity,
    )  # fmt: skip


def _conditions(
    schedule: Schedule, interpolant: _Interpolant, t_next: float, n: int, used: list[bool]
) -> tuple[list[int], list[bool]]:
    """The rows whose values step n interpolates, newest first, and for each whether its derivative, too."""
    to_clean = t_next == schedule.t_zero and (interpolant.variable, interpolant.quantity) == ("log_gamma", "x0")
    if to_clean or from_pure_noise(schedule, t_next):
        return [n], [False]  # no limit but that of order 1
    latest = list(range(n, max(n - interpolant.values, -1), -1))
    return latest, [used[row] and n - row < interpolant.derivatives for row in latest]


_GRIDS = ("uniform_t", "shifted_t", "karras")  # those that distilled heads were taught

register(
    Solver(
        "genie_ttm2", genie_ttm2, order=2, grids=_GRIDS,
        summary="GENIE, second truncated Taylor method; options variable, quantity, derivative, derivative_below, afs",
    ),
    Solver(
        "genie_hermite3", genie_hermite, order=3, options={"values": 2, "derivatives": 1}, grids=_GRIDS,
        summary="GENIE with memory, two predictions and a derivative; options as genie_ttm2",
    ),
    Solver(
        "genie_hermite4", genie_hermite, order=4, options={"values": 2, "derivatives": 2}, grids=_GRIDS,
        summary="GENIE with memory, two predictions and their exact derivatives; options as genie_ttm2",
    ),
    Solver(
        "genie_hermite", genie_hermite, order=3, options={"derivatives": 1}, grids=_GRIDS,
        choices=tuple({"values": values} for values in (1, 2, 3)),
        summary="GENIE with memory and one derivative, values and grid by score",
    ),
)  # fmt: skip
