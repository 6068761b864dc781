"""Solvers that are one and the same method under two names, and some that only look alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan, grids, numerics, predictions, solvers
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import registry

from .problems import EDM, GOLDEN_GRID, VP
from .products import pairs_first
from .textbook.cases import GRIDS, SCHEDULES, STEPS, before_zero

Array = NDArray[np.float64]
Build = tuple[str, dict[str, Any]]  # a registered name and options
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def built(solver: Build, schedule: Schedule, times: Array, prediction: str = "epsilon") -> Plan:
    name, options = solver
    recipe = {**gs.SOLVERS[name].options, **options, "prediction": prediction}
    return registry.rebuild(name, schedule, times, recipe)


def named(pairs: list[tuple[Build, Build]]) -> list[tuple[str, tuple[Build, Build]]]:
    texts = [[name + "".join(f"({value})" for value in options.values()) for name, options in pair] for pair in pairs]
    return [("-".join(text), pair) for pair, text in zip(pairs, texts, strict=True)]


def params(pairs: list[tuple[Build, Build]]) -> list[Any]:
    return [pytest.param(*pair, id=name) for name, pair in named(pairs)]


DDIM: Build = ("ddim", {})
SAME: list[tuple[Build, Build]] = [
    *((DDIM, (name, {})) for name in ("deis_tab0", "deis_rho_ab0", "deis_log_ab0", "deis_rho_euler")),
    *((DDIM, (name, {})) for name in ("ipndm1", "dpmpp_1m")),
    (DDIM, ("dpm_solver_2s", {"order": 1})),
    *((DDIM, (name, {"noise_scale": 0.0})) for name in ("gddim", "ei_sde")),
    (("euler_ode", {}), ("euler_maruyama", {"noise_scale": 0.0})),
    (("ddpm", {}), ("ddim", {"eta": 1.0})),
    (("ddpm", {}), ("gddim", {"noise_scale": 1.0})),
    (("edm_heun", {}), ("deis_rho_heun", {})),
    (("dpmpp_2m", {}), ("dpmpp_2m_sde", {"eta": 0.0})),
    (("dpmpp_1m", {"variant": "published"}), ("dpmpp_1m", {"variant": "exact"})),
    *(((f"deis_{u}0", {}), (f"deis_{u}0", {"warmup": "corrected"})) for u in ("tab", "rho_ab", "log_ab")),
]


@pairs_first(
    {
        "pair": dict(named(SAME)),
        "schedule": SCHEDULES,
        "grid": {name: name for name in ("quadratic_t", "to_zero")},
    }
)
@pytest.mark.each_value
def test_two_names_of_one_method(pair: tuple[Build, Build], schedule: Schedule, grid: str) -> None:
    one, other = pair
    times = GRIDS[grid](schedule, STEPS)
    assert built(one, schedule, times).allclose(built(other, schedule, times))


@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
def test_ddim_is_first_order_dpmpp_for_every_prediction(prediction: str) -> None:
    assert built(DDIM, VP, GOLDEN_GRID, prediction).allclose(built(("dpmpp_1m", {}), VP, GOLDEN_GRID, prediction))


ONE_STEP: list[tuple[Build, Build]] = [
    *((DDIM, (f"unipc{order}", {})) for order in (1, 2, 3)),
    *((DDIM, (name, {})) for name in ("deis_tab3", "ipndm4", "dpmpp_2m", "dpmpp_3m")),
    (("ddpm", {}), ("dpmpp_2m_sde", {})),
]


@pytest.mark.parametrize(("one", "other"), params(ONE_STEP))
@every_schedule
@pytest.mark.each_value
def test_one_step_of_a_multistep_method_is_first_order(one: Build, other: Build, schedule: Schedule) -> None:
    times = grids.uniform_t(schedule, 1)
    assert built(one, schedule, times).allclose(built(other, schedule, times))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("grid", ["uniform_t", "karras", "rising"])
def test_tab_is_rho_ab_where_time_is_gamma(order: int, grid: str) -> None:
    times = GRIDS[grid](EDM, STEPS)
    assert solvers.deis_tab(EDM, times, order=order).allclose(solvers.deis_rho_ab(EDM, times, order=order))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("grid", ["uniform_t", "karras", "rising"])
def test_tab_is_log_ab_where_time_is_log_gamma(order: int, grid: str) -> None:
    ve = SCHEDULES["ve"]
    times = GRIDS[grid](ve, STEPS)
    assert solvers.deis_tab(ve, times, order=order).allclose(solvers.deis_log_ab(ve, times, order=order))


def weights(plan: Plan) -> list[tuple[float, tuple[float, ...]]]:
    """Of every row: of the state, and of the outputs, newest first."""
    return [(row.x.x, (*row.x.y, *row.x.history)) for row in plan.rows]


@pytest.mark.parametrize(("build", "start", "order"), [(solvers.s_pndm, 1, 2), (solvers.f_pndm, 3, 4)])
@pytest.mark.parametrize("grid", ["uniform_t", "to_zero"])
@every_schedule
def test_pndm_is_ipndm_after_its_start(
    build: Callable[..., Plan], start: int, order: int, schedule: Schedule, grid: str
) -> None:
    times = GRIDS[grid](schedule, STEPS)
    after = STEPS - start
    assert weights(build(schedule, times))[-after:] == weights(solvers.ipndm(schedule, times, order=order))[-after:]


@pytest.mark.parametrize("order", [1, 2, 3])
@every_schedule
def test_exact_dpmpp_is_adams_bashforth_in_lambda(order: int, schedule: Schedule) -> None:
    times = before_zero("karras", schedule)
    plan = solvers.dpmpp(schedule, times, order=order, variant="exact", lower_order_final=False, prediction="x0")
    expected = [
        numerics.x0_weights(schedule, times[n - min(n, order - 1) : n + 1][::-1], times[n + 1], variable="log_gamma")
        for n in range(STEPS)
    ]
    actual = [of_outputs for _, of_outputs in weights(plan)]
    assert np.concatenate(actual) == pytest.approx(np.concatenate(expected), rel=1e-12, abs=0)


@every_schedule
def test_unip_2_is_dpmpp_2m(schedule: Schedule) -> None:
    times = grids.power_gamma(schedule, 3)
    (_, (newest, oldest)) = weights(solvers.unipc(schedule, times, order=2, prediction="x0"))[1]
    # the row also corrects the state before it: by -a B(h)/2 (m_1 - m_0), carried on by sigma'/sigma
    h = schedule.half_log_snr(times[1]) - schedule.half_log_snr(times[0])
    corrected = -0.5 * schedule.alpha(times[1]) * np.expm1(-h) * schedule.sigma(times[2]) / schedule.sigma(times[1])
    plain = solvers.dpmpp(schedule, times, order=2, lower_order_final=False, prediction="x0")
    expected = weights(plain)[1][1]
    scale = max(map(abs, expected))
    assert [newest - corrected, oldest + corrected] == pytest.approx(expected, rel=0, abs=1e-12 * scale)


DIFFERENT: list[tuple[Build, Build]] = [
    *(((f"deis_tab{r}", {}), (f"deis_rho_ab{r}", {})) for r in (1, 2, 3)),
    *(((f"deis_tab{r}", {}), (f"deis_log_ab{r}", {})) for r in (1, 2, 3)),
    *(((f"deis_rho_ab{r}", {}), (f"deis_log_ab{r}", {})) for r in (1, 2, 3)),
    *(((f"deis_tab{r}", {}), (f"deis_tab{r + 1}", {})) for r in (0, 1, 2)),
    *(((f"dpmpp_{r}m", {"variant": "published"}), (f"dpmpp_{r}m", {"variant": "exact"})) for r in (2, 3)),
    *(((f"unipc{p}", {"variant": "bh1"}), (f"unipc{p}", {"variant": "bh2"})) for p in (1, 2, 3)),
    *(((f"deis_{u}3", {}), (f"deis_{u}3", {"warmup": "corrected"})) for u in ("tab", "rho_ab", "log_ab")),
    (("deis_tab1", {}), ("deis_tab1", {"warmup": "corrected"})),
    (("dpmpp_3m", {}), ("unipc3", {})),
    (("ddim", {"eta": 0.5}), ("gddim", {"noise_scale": 0.5})),
    (("ddpm", {}), ("ei_sde", {"noise_scale": 1.0})),
    (("ddpm", {}), ("ddim", {"eta": 1.0, "sigma_hat": True})),
    (DDIM, ("ei_score", {})),
    (DDIM, ("euler_ode", {})),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), params(DIFFERENT))
def test_methods_that_are_not_the_same(one: Build, other: Build) -> None:
    assert not built(one, VP, GOLDEN_GRID).allclose(built(other, VP, GOLDEN_GRID), rtol=1e-6)
