"""DEIS coefficients by three quadratures, each against 30 digits.

    python -m benchmarks.quadrature

VP linear, quadratic grid, 10 steps to t = 1e-3. The authors' code sums 10,000 left rectangles in t, in float32.
Errors are the largest over the rows of full degree, relative to the row's largest coefficient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import numerics

Array = NDArray[np.float64]

SCHEDULE = gs.schedules.vp_linear()
TIMES = gs.grids.power_t(SCHEDULE, 10, power=2.0, t_end=1e-3)
RECTANGLES = 10_000


def ours(nodes: Array, t_next: float) -> Array:
    return numerics.epsilon_weights(SCHEDULE, nodes, t_next, variable="t")


def left_rectangles(dtype: type) -> Callable[[Array, float], Array]:
    """alpha' sum of l_j(t) dgamma/dt dt, all of it in ``dtype``."""

    def weights(nodes: Array, t_next: float) -> Array:
        edges = np.linspace(nodes[0], t_next, RECTANGLES + 1)
        t, width = edges[:-1].astype(dtype), dtype((t_next - nodes[0]) / RECTANGLES)
        log_alpha = SCHEDULE.log_alpha(edges[:-1]).astype(dtype)
        rate = dtype(-0.5) * (dtype(SCHEDULE.beta_min) + dtype(SCHEDULE.beta_max - SCHEDULE.beta_min) * t)
        slope = -rate * np.exp(-log_alpha) / np.sqrt(-np.expm1(dtype(2.0) * log_alpha))  # dgamma/dt
        return float(SCHEDULE.alpha(t_next)) * np.array(
            [np.sum(b * slope * width) for b in _basis(nodes.astype(dtype), t)]
        )

    return weights


def exact(nodes: Array, t_next: float) -> list[Any]:
    """The same integrals in log gamma by mpmath."""
    slope, low = mp.mpf(SCHEDULE.beta_max) - mp.mpf(SCHEDULE.beta_min), mp.mpf(SCHEDULE.beta_min)

    def decay(t: Any) -> Any:
        return t * (low + slope * t / 2)

    def time(gamma: Any) -> Any:
        return (mp.sqrt(low**2 + 2 * slope * mp.log(1 + gamma**2)) - low) / slope

    points = [mp.mpf(float(t)) for t in nodes]
    end = mp.mpf(float(t_next))
    limits = [mp.log(mp.expm1(decay(t))) / 2 for t in (points[0], end)]

    def weight(j: int) -> Any:
        def integrand(y: Any) -> Any:
            t = time(mp.exp(y))
            return mp.exp(y) * mp.fprod((t - u) / (points[j] - u) for k, u in enumerate(points) if k != j)

        return mp.exp(-decay(end) / 2) * mp.quad(integrand, limits)

    return [weight(j) for j in range(len(points))]


def _basis(nodes: Array, t: Array) -> list[Array]:
    others = [[u for k, u in enumerate(nodes) if k != j] for j in range(len(nodes))]
    return [np.prod([(t - u) / (nodes[j] - u) for u in o] or [np.ones_like(t)], axis=0) for j, o in enumerate(others)]


def largest_error(weights: Callable[[Array, float], Array], order: int) -> float:
    return max(_row_error(weights, order, n) for n in range(order, len(TIMES) - 1))


def _row_error(weights: Callable[[Array, float], Array], order: int, n: int) -> float:
    nodes, t_next = TIMES[n - min(order, n) : n + 1][::-1], float(TIMES[n + 1])
    true = exact(nodes, t_next)
    return float(
        max(abs(a - b) for a, b in zip(weights(nodes, t_next).tolist(), true, strict=True)) / max(map(abs, true))
    )


def main() -> None:
    print("| degree in t | 10,000 rectangles, float32 | the same, float64 | here |\n|---|---|---|---|")
    with mp.workdps(30):
        for order in range(4):
            columns = (
                largest_error(f, order) for f in (left_rectangles(np.float32), left_rectangles(np.float64), ours)
            )
            print(f"| {order} | {' | '.join(f'{error:.1e}' for error in columns)} |")


if __name__ == "__main__":
    main()
