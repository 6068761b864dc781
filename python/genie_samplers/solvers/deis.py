"""DEIS: exponential integration of a polynomial through past noise predictions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import boolean, choice, integer
from ..numerics import epsilon_weights, transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, first_order, from_pure_noise, multistep, outputs_used, refuse_pure_noise
from .registry import Solver, register

__all__ = ["deis_log_ab", "deis_rho_ab", "deis_tab"]

_ORDERS = (0, 1, 2, 3)
_WARMUPS = ("lower_order", "gradual", "corrected")


def deis_tab(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    order: int = 3,
    warmup: str = "lower_order",
    lower_order_final: bool = False,
    prediction: str = "epsilon",
) -> Plan:
    """tAB-DEIS: the noise prediction is extrapolated by a polynomial in t.

        x_{n+1} = (a_{n+1}/a_n) x_n + sum_j C_{n,j} eps_{n-j}
        C_{n,j} = a_{n+1} int_{gamma_n}^{gamma_{n+1}} l_j(t(gamma)) dgamma          (l_j: Lagrange basis in t)

    ``order`` is the polynomial's degree r (0 is DDIM); global order r + 1 with an exact start, history r, one
    evaluation per step, deterministic. gamma is the paper's rho. Zhang and Chen, arXiv 2204.13902, eq. 14-15. Differs
    from the authors' code: coefficients by Gauss-Legendre to 1e-12 instead of a Riemann sum (docs/numerics.md).

    ``warmup``, at the same number of evaluations (docs/warmup.md): "lower_order" is the published start, row n of
    degree min(r, n). "gradual" lets the degree grow half as fast, which is better with few, long steps. "corrected"
    takes back the error of order 2 that a start of low degree leaves: rows n = 1..r first replace their state by
    (a_n/a_0) x_0 + a_n int_{gamma_0}^{gamma_n} of the polynomial through all outputs so far, whose error is of order 3.
    It helps where the first steps are short, and does harm where they are long.

    ``lower_order_final``: whether step n of N combines at most N - n outputs, as diffusers' DEIS below 15 steps.
    """
    return _adams_bashforth("deis_tab", "t", schedule, grid, order, warmup, lower_order_final, prediction)


def deis_rho_ab(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    order: int = 3,
    warmup: str = "lower_order",
    lower_order_final: bool = False,
    prediction: str = "epsilon",
) -> Plan:
    """rhoAB-DEIS: as :func:`deis_tab` with a polynomial in gamma, the variable-step Adams-Bashforth method in gamma.

    Zhang and Chen, arXiv 2204.13902. On EDM's schedule, where t = gamma, equal to deis_tab.
    """
    return _adams_bashforth("deis_rho_ab", "gamma", schedule, grid, order, warmup, lower_order_final, prediction)


def deis_log_ab(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    order: int = 3,
    warmup: str = "lower_order",
    lower_order_final: bool = False,
    prediction: str = "epsilon",
) -> Plan:
    """As :func:`deis_tab` with a polynomial in log gamma: DPM-Solver's multistep methods with exact integrals.

    Lu et al., arXiv 2206.00927, in noise prediction; degree 2 is what diffusers calls DEIS.
    """
    return _adams_bashforth("deis_log_ab", "log_gamma", schedule, grid, order, warmup, lower_order_final, prediction)


def _adams_bashforth(
    name: str, variable: str, schedule: Schedule, grid: ArrayLike, order: int, warmup: str, final: bool, prediction: str
) -> Plan:
    times = checked_grid(schedule, grid)
    order = choice(integer(order, "order"), "order", _ORDERS)
    warmup = choice(warmup, "warmup", _WARMUPS)
    final = boolean(final, "lower_order_final")
    updates = _updates(schedule, times, order, variable, gradual=warmup == "gradual", final=final)
    if warmup == "corrected":
        refuse_pure_noise(schedule, times, "warmup='corrected'", "warmup='gradual'")
        updates = _corrected(schedule, times, order, variable, updates)
    options: dict[str, object] = {"order": order, "warmup": warmup, **({"lower_order_final": True} if final else {})}
    return multistep(
        f"{name}{order}", schedule, times, updates, prediction=prediction, quantity="epsilon", options=options
    )


def _updates(
    schedule: Schedule, times: NDArray[np.float64], order: int, variable: str, *, gradual: bool, final: bool
) -> Iterator[Update]:
    """Every step's update, of the degree that its history, the warm-up and the last orders allow."""
    for n in range(len(times) - 1):
        used = outputs_used(order + 1, n, gradual=gradual)
        nodes = times[n + 1 - (min(used, len(times) - 1 - n) if final else used) : n + 1][::-1]
        if from_pure_noise(schedule, times[n]):
            yield first_order(schedule, times[n], times[n + 1])
            continue
        if variable != "t" and from_pure_noise(schedule, times[n + 1]):
            nodes = nodes[:1]  # encoding: a polynomial in gamma or log gamma has no limit at infinity
        ratio, _ = transfer(schedule, times[n], times[n + 1])
        yield Update(float(ratio), epsilon_weights(schedule, nodes, times[n + 1], variable=variable).tolist())


def _corrected(
    schedule: Schedule, times: NDArray[np.float64], order: int, variable: str, updates: Iterator[Update]
) -> Iterator[Update]:
    """The updates, those of rows 1..order preceded by the integral over all steps so far in place of the state."""
    state = np.zeros(0)  # the weights of the outputs 0, 1, .. in the state
    for n, update in enumerate(updates):
        if n > order:
            yield update
            continue
        carried, weights = np.append(state, 0.0), np.array(update.weights[::-1])
        if n > 0:
            integral = epsilon_weights(schedule, times[: n + 1], times[n], variable=variable)
            weights += update.ratio * (integral - carried)
        state = update.ratio * carried + weights
        yield Update(update.ratio, weights[::-1].tolist())


_FAMILIES = {"tab": (deis_tab, "t"), "rho_ab": (deis_rho_ab, "gamma"), "log_ab": (deis_log_ab, "log gamma")}
_CHOICES = tuple({"order": r, "warmup": warmup} for r in _ORDERS[1:] for warmup in ("lower_order", "gradual"))

register(
    *(
        Solver(
            f"deis_{kind}{r}", build, order=r + 1, options={"order": r},
            summary=f"DEIS, polynomial of degree {r} in {variable}; options warmup, lower_order_final",
        )
        for kind, (build, variable) in _FAMILIES.items()
        for r in _ORDERS
    ),
    *(
        Solver(
            f"deis_{kind}", _FAMILIES[kind][0], order=4, choices=_CHOICES,
            summary=f"DEIS in {_FAMILIES[kind][1]}, degree, warm-up and grid by score",
        )
        for kind in ("tab", "log_ab")
    ),
)  # fmt: skip
