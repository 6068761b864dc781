"""SDE-DPM-Solver++(2M): the multistep method on the reverse SDE's data prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import real
from ..numerics import transfer, x0_transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, multistep, resolved_lower_order_final, step_orders
from .registry import Solver, register

__all__ = ["dpmpp_2m_sde"]

Array = NDArray[np.float64]


def dpmpp_2m_sde(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    eta: float = 1.0,
    lower_order_final: bool | None = None,
    prediction: str = "epsilon",
) -> Plan:
    """SDE-DPM-Solver++(2M).

        x' = (sigma'/sigma) e^{-eta h} x + a' (1 - e^{-(1+eta) h}) (m_0 + (m_0 - m_1) / (2 r))
             + sigma' sqrt(1 - e^{-2 eta h}) z
        h = lambda' - lambda_n,   r = (lambda_n - lambda_{n-1}) / h,   m_k the x0 prediction k steps back

    Weak order 2, history 1, one evaluation per step; exact on a point mass; first step
    of order 1, and the last one by dpmpp's rule; a step to gamma = 0 is x' = m_0 without noise. eta = 1 is the reverse
    SDE, eta = 0 dpmpp_2m. Lu et al., arXiv 2211.01095; eta as in k-diffusion.
    """
    times = checked_grid(schedule, grid)
    eta = real(eta, "eta")
    if not 0.0 <= eta < np.inf:
        raise ValueError(f"eta={eta}; need a finite number >= 0")
    if eta > 0.0 and times[1] > times[0]:
        raise ValueError(f"eta={eta} on a rising grid; encoding is deterministic, so use eta=0")
    if times[0] == schedule.t_zero:
        raise ValueError(f"times[0]={times[0]!s} is t_zero, where sigma = 0; start the grid after it")
    lower_order_final = resolved_lower_order_final(lower_order_final, times)
    orders = step_orders(schedule, times, 2, lower_order_final=lower_order_final)
    updates = (_update(schedule, times, n, eta, order) for n, order in enumerate(orders))
    return multistep(
        "dpmpp_2m_sde", schedule, times, updates, prediction=prediction, quantity="x0",
        options={"eta": eta, "lower_order_final": lower_order_final},
    )  # fmt: skip


def _update(schedule: Schedule, times: Array, n: int, eta: float, order: int) -> Update:
    alpha_next, gamma, gamma_next = (
        float(v) for v in (schedule.alpha(times[n + 1]), schedule.gamma(times[n]), schedule.gamma(times[n + 1]))
    )
    if gamma_next == 0.0:
        return Update(0.0, (alpha_next,))
    if np.isinf(gamma):  # h = inf
        ratio, weight = (float(v) for v in x0_transfer(schedule, times[n], times[n + 1]))
        return Update(0.0, (weight,), float(schedule.sigma(times[n + 1]))) if eta else Update(ratio, (weight,))
    step = -_log_change(schedule, times[n], times[n + 1])  # h
    ratio = alpha_next * gamma_next / (float(schedule.alpha(times[n])) * gamma) * np.exp(-eta * step)
    weight = -alpha_next * np.expm1(-(1.0 + eta) * step)
    noise = alpha_next * gamma_next * np.sqrt(-np.expm1(-2.0 * eta * step))
    if order == 1:
        return Update(ratio, (weight,), noise)
    slope = 0.5 * step / -_log_change(schedule, times[n - 1], times[n])  # 1 / (2 r)
    return Update(ratio, (weight * (1.0 + slope), -weight * slope), noise)


def _log_change(schedule: Schedule, t: float, t_next: float) -> float:
    """log(gamma'/gamma), relatively accurate between close times."""
    _, ddim = transfer(schedule, t, t_next)
    return float(np.log1p(ddim / (schedule.alpha(t_next) * schedule.gamma(t))))


register(
    Solver(
        "dpmpp_2m_sde", dpmpp_2m_sde, order=2, stochastic=True,
        choices=({"lower_order_final": True}, {"lower_order_final": False}),
        summary="SDE-DPM-Solver++(2M), data prediction; options eta, lower_order_final",
    ),
)  # fmt: skip
