"""GENIE's orders of convergence in the plane: python -m tests.plans.genie_orders > docs/genie-orders.md"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from genie_samplers import grids

from .genie_study import GENIE, Array, Method, build, latents, sampled, table
from .isotropic_mixture import THREE
from .problems import VP

__all__ = ["METHODS", "STEPS", "error", "slope"]

STEPS = (40, 160, 320)
START, END = 2.0, 0.3  # gamma
METHODS: dict[str, Method] = {
    "DDIM": ("ddim", {}),
    "AB2 in gamma": ("deis_rho_ab1", {}),
    "Heun in gamma, two evaluations": ("deis_rho_heun", {}),
    **GENIE,
}


@cache
def error(method: str, steps: int) -> float:
    """Largest distance to the flow, over the latents. The state behind a history of one step lies on the flow."""
    start, end = VP.time_of_gamma([START, END]).tolist()
    times = grids.power_t(VP, steps, power=2.0, t_start=start, t_end=end)
    plan = build(METHODS[method], times)
    first, second, last = (float(VP.alpha(t)) * _flow(float(VP.gamma(t))) for t in times[[0, 1, -1]])
    memory = any(row.history for row in plan.rows) and not any(layout.reads_aux for layout in plan.layout)

    def replace(row: int, x: Array) -> Array:
        return second if memory and row == 0 else x

    reached = sampled(plan, THREE, first, replace)
    return float(np.linalg.norm(reached - last, axis=1).max() / VP.alpha(end))


@cache
def _flow(gamma: float) -> Array:
    """To gamma, of the latents as deviations of the start."""
    start = np.sqrt(1.0 + START**2) * latents()
    return start if gamma >= START else THREE.flow(start, START, gamma, 600)


def slope(method: str) -> float:
    """log2 of the ratio of the errors at the last two numbers of steps."""
    return float(np.log2(error(method, STEPS[1]) / error(method, STEPS[2])))


def _document() -> Iterator[str]:
    yield "# Orders of GENIE with exact derivatives\n"
    yield "Written by `python -m tests.plans.genie_orders`; `tests/plans/test_genie_tables.py` holds the slopes."
    yield ""
    yield "Three Gaussian modes in the plane whose noise prediction and total derivatives are known exactly."
    yield f"`vp_linear`, quadratic_t from gamma = {START:g} to {END:g}; largest distance to the probability flow over"
    yield "1024 latents. The first step of a method with memory is put on the flow. Slope: between N = 160 and 320."
    yield ""
    rows = [
        [name, *(f"{error(name, steps):.1e}" for steps in (STEPS[0], STEPS[-1])), f"{slope(name):.2f}"]
        for name in METHODS
    ]
    yield from table(["method", f"N = {STEPS[0]}", f"N = {STEPS[-1]}", "slope"], rows)


if __name__ == "__main__":
    print("\n".join(_document()))
