"""DEIS in its four variants, and every registered solver, on exact data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.integrations.diffusers.pipelines import MEAN, VARIANCE, exact_network, noise, sampled

pytest.importorskip("diffusers")
ours = pytest.importorskip("genie_samplers.integrations.diffusers")
solvers = pytest.importorskip("genie_samplers.solvers.registry")

DETERMINISTIC = sorted(name for name, s in solvers.SOLVERS.items() if not s.stochastic and "genie" not in name)


def error(scheduler: Any, steps: int) -> float:
    """Root mean square distance to the exact flow of the data."""
    schedule = scheduler.schedule
    x, z, last = sampled(scheduler, exact_network(schedule, "epsilon"), steps), noise().double(), float(schedule.t_max)
    alpha, sigma = float(schedule.alpha(last)), float(schedule.sigma(last))
    exact = MEAN + np.sqrt(VARIANCE) * (z - alpha * MEAN) / np.sqrt(alpha**2 * VARIANCE + sigma**2)
    return float((x - exact).square().mean().sqrt())


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("variant", ["log_ab", "tab", "rho_ab", "rho_rk"])
def test_deis_in_every_variant(variant: str, order: int) -> None:
    options = {"timestep_spacing": "trailing", "final_sigmas_type": "zero"}
    scheduler = ours.DEISScheduler(variant=variant, solver_order=order, **options)
    assert error(scheduler, 40) < 0.06
    assert len(scheduler.timesteps) == (order * 39 + 1 if variant == "rho_rk" else 40)


@pytest.mark.parametrize("solver", ["auto", *DETERMINISTIC])
def test_any_solver_of_the_registry(solver: str) -> None:
    """As many evaluations as were asked for, and samples of the data."""
    scheduler = ours.PlanScheduler(solver=solver)
    steps = {"flow_midpoint": 38, "flow_rk4": 39}.get(solver, 37)
    assert error(scheduler, steps) < 0.05
    assert scheduler.plan.nfe == len(scheduler.timesteps) == steps
