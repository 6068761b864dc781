"""Golden rows and samples, and what the rows of the Adams-Bashforth family keep on every schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mpmath as mp
import pytest

import genie_samplers as gs
from genie_samplers import Plan, grids, solvers
from genie_samplers.schedules import Schedule

from .oracle import execute
from .problems import GOLDEN_GRID, GOLDEN_MIXTURE, VP, X_T, network_of
from .products import pairs_first
from .textbook.cases import SCHEDULES
from .textbook.integrals import moments
from .textbook.run import Run
from .textbook.schedules import Real, TextbookSchedule, textbook_schedule
from .textbook.table import TEXTBOOK

ADAMS_BASHFORTH = {"t": solvers.deis_tab, "gamma": solvers.deis_rho_ab, "log_gamma": solvers.deis_log_ab}
every_variable = pytest.mark.parametrize("variable", ADAMS_BASHFORTH)


@pytest.fixture(autouse=True)
def forty_digits() -> Iterator[None]:
    with mp.workdps(40):
        yield


def weights(plan: Plan, row: int) -> list[float]:
    """The row's weights of the converted outputs, newest first."""
    x = plan.rows[row].x
    return [*x.y, *x.history]


def relative_error(actual: list[float], exact: list[float] | list[Real]) -> float:
    """Largest difference over the row's largest coefficient."""
    return float(max(abs(a - e) for a, e in zip(actual, exact, strict=True)) / max(map(abs, exact)))


# --- golden values: VP linear 0.1 / 20, five steps of the t^2 grid down to 1e-3

GOLDEN_RATIOS = [17.9847506170809, 4.11992209034839, 1.74641541463291, 1.15802979052364, 1.01541876487882]
GOLDEN_ROWS = {
    "t": [
        [-16.9913710744521],
        [-4.10678969224899, 0.889186125816773],
        [-1.5149368239724, 0.673678769352201, -0.157961083667264],
        [-0.697010605811356, 0.385663191202631, -0.146971528746304, 0.0229046651219421],
        [-0.226888235990163, 0.0817181376219079, -0.0240441275242785, 0.00310629007715292],
    ],
    "gamma": [
        [-16.9913710745],
        [-3.29155007029, 0.0739465038564],
        [-1.09242652854, 0.0934081049243, -0.000200714666896],
        [-0.533631096237, 0.101122149823, -0.0029056809725, 3.4915381086e-07],
        [-0.210224257076, 0.049150800766, -0.00506568847744, 3.12089721955e-05],
    ],
    "log_gamma": [
        [-16.9913710745],
        [-3.86282557171, 0.645222005281],
        [-1.42369659363, 0.499142239627, -0.0746647842797],
        [-0.86855970779, 0.626375095393, -0.212115086588, 0.0188854207517],
        [-0.524194602629, 0.782707477128, -0.5149530385, 0.0903322281863],
    ],
}
PRINTED = {"t": 5e-14, "gamma": 5e-12, "log_gamma": 5e-12}  # 15 or 12 digits


@pytest.mark.parametrize("row", range(5))
@every_variable
def test_golden_rows_of_order_3(variable: str, row: int) -> None:
    plan = ADAMS_BASHFORTH[variable](VP, GOLDEN_GRID, order=3)
    assert relative_error(weights(plan, row), GOLDEN_ROWS[variable][row]) <= PRINTED[variable]
    assert plan.rows[row].x.x == pytest.approx(GOLDEN_RATIOS[row], rel=5e-15, abs=0)


GOLDEN_SAMPLES = {
    "deis_tab3": (
        lambda: solvers.deis_tab(VP, GOLDEN_GRID, order=3),
        [-1.2114054828479, -0.33584767883969, 0.70659478075324, 1.01547502628602, 1.46586410274548],
    ),
    "ipndm4": (
        lambda: solvers.ipndm(VP, grids.uniform_t(VP, 5), order=4),
        [-1.37333950381337, -0.426737772862991, 0.888343310419035, 1.07006614065148, 1.30888394650483],
    ),
}


@pytest.mark.parametrize(("build", "golden"), GOLDEN_SAMPLES.values(), ids=GOLDEN_SAMPLES.keys())
def test_golden_samples_of_the_mixture(build: Callable[[], Plan], golden: list[float]) -> None:
    plan = build()
    assert execute(plan, X_T, network_of(plan, GOLDEN_MIXTURE, VP))[-1] == pytest.approx(golden, rel=1e-12, abs=0)


def test_golden_flow_and_noise_of_the_mixture() -> None:
    flow = [-1.26140740213701, -0.661412882807019, 0.696503069586785, 1.05295366923372, 1.5799157402353]
    noise = [-1.71774529080564, -0.656656528212849, 0.118723122166729, 0.802870324226161, 1.99060789990516]
    assert GOLDEN_MIXTURE.flow(VP, X_T, 1.0, 1e-3) == pytest.approx(flow, rel=1e-12, abs=0)
    assert GOLDEN_MIXTURE.epsilon(VP, X_T, 0.5) == pytest.approx(noise, rel=1e-12, abs=0)


# --- invariants of the Adams-Bashforth family


@pairs_first(
    {
        "variable": {variable: variable for variable in ADAMS_BASHFORTH},
        "grid": {name: name for name in ("quadratic_t", "karras")},
        "power": {str(power): power for power in range(4)},
        "schedule": SCHEDULES,
    },
)
@pytest.mark.each_value
def test_rows_integrate_powers_of_their_variable(variable: str, schedule: Schedule, grid: str, power: int) -> None:
    """sum_j C_j u_j^k = a' integral of u^k dgamma, k up to the order; k = 0: the DDIM weight."""
    book, times = textbook_schedule(schedule), grids.GRIDS[grid](schedule, 6)
    plan = ADAMS_BASHFORTH[variable](schedule, times, order=3)
    exact_times = [mp.mpf(t) for t in times.tolist()]
    u = [{"t": t, "gamma": book.gamma(t), "log_gamma": -book.lam(t)}[variable] for t in exact_times]
    errors = [moment_error(book, weights(plan, n), u, exact_times, n, variable, power) for n in range(power, 6)]
    assert max(errors) <= 1e-12


def moment_error(
    book: TextbookSchedule, row: list[float], u: list[Real], times: list[Real], n: int, variable: str, power: int
) -> float:
    """Relative to the row's largest term."""
    terms = [c * u[n - j] ** power for j, c in enumerate(row)]
    exact = book.alpha(times[n + 1]) * moments(book, variable, times[n], times[n + 1])[power]
    return float(abs(sum(terms) - exact) / max(map(abs, terms)))


@pytest.mark.parametrize("order", [1, 2, 3])
@every_variable
def test_the_first_rows_are_those_of_the_lower_orders(variable: str, order: int) -> None:
    rows, build = range(order), ADAMS_BASHFORTH[variable]
    warm = [build(VP, GOLDEN_GRID, order=order).rows[n] for n in rows]
    assert warm == [build(VP, GOLDEN_GRID, order=n).rows[n] for n in rows]


# --- rows on their own

SHORT_STEPS = [(1.0, 0.65), (0.65, 0.6499), (0.3, 1e-3), (0.02, 0.01)]
STOCHASTIC = {
    "ddpm": ("ddpm", {}, lambda times: solvers.ddim(VP, times, eta=1.0)),
    "ddim-eta": ("ddim", {"eta": 0.3}, lambda times: solvers.ddim(VP, times, eta=0.3)),
    "gddim": ("gddim", {"noise_scale": 0.3}, lambda times: solvers.gddim(VP, times, noise_scale=0.3)),
    "ei_sde": ("ei_sde", {"noise_scale": 0.3}, lambda times: solvers.ei_sde(VP, times, noise_scale=0.3)),
}


@pytest.mark.parametrize(("name", "options", "build"), STOCHASTIC.values(), ids=STOCHASTIC.keys())
@pytest.mark.parametrize("times", SHORT_STEPS)
def test_every_coefficient_of_a_short_step_keeps_its_digits(
    name: str, options: dict[str, float], build: Callable[[tuple[float, ...]], Plan], times: tuple[float, ...]
) -> None:
    run = Run(
        textbook_schedule(VP), [mp.mpf(t) for t in times], prediction="epsilon", evaluations=1, draws=1
    )  # fmt: skip
    exact = TEXTBOOK[name](run, **options).rounded(3)
    (row,) = build(times).rows
    assert [row.x.x, *row.x.y, *row.x.draws] == pytest.approx(exact, rel=1e-13, abs=0)


@pytest.mark.parametrize(("steps", "start"), [(12, 4), (9, 3)])
def test_dpmpp_keeps_the_order_of_its_last_step_when_it_starts_later(steps: int, start: int) -> None:
    plan = solvers.dpmpp(VP, grids.power_gamma(VP, steps))
    assert gs.starting_at(plan, start).rows[-1].x == plan.rows[-1].x


def test_dpmpp_does_not_start_from_clean_data() -> None:
    with pytest.raises(ValueError, match=r"t=0.0 is t_zero, where sigma = 0: use the epsilon form"):
        solvers.dpmpp(VP, [0.0, 0.5, 1.0])
