"""Weights of values and derivatives against 60-digit solutions of the equations that define them.

The weights w_j of the values and c_j of the derivatives d/du integrate u^k, k = 0, 1, .., exactly:

    sum_j w_j u_j^k + sum_j c_j k u_j^(k-1) = integral of u^k
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from mpmath import mp, mpf

from genie_samplers import grids, numerics
from genie_samplers.schedules import Schedule

from .exact_schedules import Exact, alpha_at, diffusion_squared_at
from .exact_weights import END, FORMS, SCHEDULES, TOLERANCE, VARIABLES, WEIGHTS, gamma_at, moment, node_values
from .products import pairs_first

pytestmark = pytest.mark.filterwarnings("error")
every_variable = pytest.mark.parametrize("variable", VARIABLES)
every_quantity = pytest.mark.parametrize("quantity", FORMS)
MASKS = {"newest": (True, False), "oldest": (False, True), "both": (True, True), "three": (True, True, False)}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


@pytest.fixture(autouse=True)
def sixty_digits() -> Iterator[None]:
    gamma_at.cache_clear()  # values of other precisions
    with mp.workdps(60):
        yield
    gamma_at.cache_clear()


def exact_weights(
    schedule: Schedule, times: Sequence[float], t_next: float, mask: Sequence[bool], variable: str, quantity: str
) -> list[Exact]:
    """Of the values, then of gamma_d_epsilon where the mask says so."""
    nodes, arrival, sign = [mpf(t) for t in times], mpf(t_next), 1 if quantity == "epsilon" else -1
    u, chosen = node_values(schedule, variable, nodes), [j for j, given in enumerate(mask) if given]
    size = len(u) + len(chosen)
    powers = range(size)
    columns = [[value**k for k in powers] for value in u]
    columns += [[k * u[j] ** (k - 1) if k else mpf(0) for k in powers] for j in chosen]
    moments = [moment(schedule, variable, k, sign, nodes[0], arrival) for k in powers]
    solved = mp.lu_solve(mp.matrix(columns).T, mp.matrix(moments))
    scale = alpha_at(schedule, arrival) * (1 if sign == 1 else gamma_at(schedule, arrival))
    units = [mpf(1)] * len(u) + [derivative_unit(schedule, nodes[j], variable, quantity) for j in chosen]
    return [scale * weight * unit for weight, unit in zip(solved, units, strict=True)]


def derivative_unit(schedule: Schedule, t: Exact, variable: str, quantity: str) -> Exact:
    """d y / du = d log gamma / du * d y / d log gamma, of which the last is gamma_d_epsilon or -gamma times it."""
    gamma = gamma_at(schedule, t)
    rate = {
        "log_gamma": lambda: mpf(1),
        "gamma": lambda: 1 / gamma,
        "t": lambda: diffusion_squared_at(schedule, t) / (2 * (alpha_at(schedule, t) * gamma) ** 2),
    }[variable]()
    return rate if quantity == "epsilon" else -gamma * rate


def row_error(
    schedule: Schedule, times: Sequence[float], t_next: float, mask: Sequence[bool], variable: str, quantity: str
) -> float:
    """Largest error of a weight, relative to the largest weight."""
    weights = numerics.hermite_weights(
        schedule, times, t_next, derivatives=mask, variable=variable, quantity=quantity
    )  # fmt: skip
    exact = exact_weights(schedule, times, t_next, mask, variable, quantity)
    actual = [*weights.values.tolist(), *weights.derivatives[np.array(mask)].tolist()]
    errors = (abs(a - e) for a, e in zip(actual, exact, strict=True))
    return float(max(errors) / max(map(abs, exact)))


@pairs_first(
    {
        "way": {"falling": 1, "rising": -1},
        "mask": MASKS,
        "quantity": {quantity: quantity for quantity in FORMS},
        "variable": {variable: variable for variable in VARIABLES},
        "name": {name: name for name in ("vp_linear", "vp_cosine", "sub_vp", "ve", "edm", "flow", "coarse_alpha_bar")},
    },
)
@pytest.mark.each_value
def test_weights_integrate_powers_of_their_variable(
    variable: str, quantity: str, mask: tuple[bool, ...], name: str, way: int
) -> None:
    schedule, end = SCHEDULES[name], len(mask)
    times = grids.quadratic_t(schedule, 6, t_end=END.get(name)).tolist()[1:][::way]
    assert row_error(schedule, times[:end][::-1], times[end], mask, variable, quantity) <= TOLERANCE


@pytest.mark.parametrize("gap", [1e-2, 1e-3, 1e-4])
@every_mask
@every_quantity
@every_variable
@pytest.mark.each_value
def test_weights_of_close_times_keep_their_digits(
    variable: str, quantity: str, mask: tuple[bool, ...], gap: float
) -> None:
    """The basis of n steps apart has roundings of u over a gap of u, about eps / gap."""
    times = [0.5 + j * gap for j in range(len(mask))]
    slack = TOLERANCE + 16.0 * float(np.finfo(np.float64).eps) / gap
    assert row_error(SCHEDULES["vp_linear"], times, 0.5 - gap, mask, variable, quantity) <= slack


@every_quantity
@every_variable
def test_a_single_value_with_its_derivative_weighs_as_in_order_0(variable: str, quantity: str) -> None:
    weights = numerics.hermite_weights(
        SCHEDULES["vp_linear"], [0.5], 0.4, derivatives=[True], variable=variable, quantity=quantity
    )
    assert weights.values.tolist() == WEIGHTS[quantity](SCHEDULES["vp_linear"], [0.5], 0.4, variable=variable).tolist()
    assert row_error(SCHEDULES["vp_linear"], [0.5], 0.4, [True], variable, quantity) <= TOLERANCE


@every_quantity
@every_variable
def test_without_derivatives_the_weights_are_adams_bashforths(variable: str, quantity: str) -> None:
    schedule, times = SCHEDULES["vp_cosine"], [0.4, 0.6, 0.9]
    weights = numerics.hermite_weights(
        schedule, times, 0.3, derivatives=[False] * 3, variable=variable, quantity=quantity
    )  # fmt: skip
    assert weights.values.tolist() == WEIGHTS[quantity](schedule, times, 0.3, variable=variable).tolist()
    assert not weights.derivatives.any()


@pytest.mark.parametrize("variable", ["t", "gamma"])
def test_x0_is_extrapolated_to_t_zero_with_its_derivatives(variable: str) -> None:
    """alpha' = 1 there, so x_0 = u^3 gives u(t_zero)^3."""
    schedule, nodes = SCHEDULES["edm"], np.array([0.1, 3.0])
    weights = numerics.hermite_weights(
        schedule, nodes, 0.0, derivatives=[True, True], variable=variable, quantity="x0"
    )  # fmt: skip
    # d x_0 / d log gamma = 3 gamma^3 = -gamma gamma_d_epsilon
    terms = [*(weights.values * nodes**3), *(weights.derivatives * -3.0 * nodes**2)]
    assert abs(sum(terms)) <= 16.0 * float(np.finfo(np.float64).eps) * np.abs(terms).sum()


@pytest.mark.parametrize("variable", ["gamma", "log_gamma"])
def test_epsilon_is_integrated_down_to_t_zero_with_its_derivatives(variable: str) -> None:
    assert row_error(SCHEDULES["vp_linear"], [0.1, 0.3], 0.0, [True, True], variable, "epsilon") <= TOLERANCE


@pytest.mark.parametrize(
    ("times", "t_next", "mask", "message"),
    [
        ([0.5, 0.6], 0.4, [True], r"derivatives has 1 entries for 2 times: give one for each"),
        ([0.0], 0.4, [True], r"derivatives: that at t_zero=0.0 is given, where gamma = 0: leave it out"),
        ([0.5, 0.5], 0.4, [True, True], r"times=\[0.5, 0.5\]: the nodes must differ"),
    ],
)
def test_derivatives_that_determine_no_polynomial_are_refused(
    times: list[float], t_next: float, mask: list[bool], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        numerics.hermite_weights(
            SCHEDULES["vp_linear"], times, t_next, derivatives=mask, variable="gamma", quantity="epsilon"
        )


def test_an_unknown_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quantity='v'; choose one of epsilon, x0"):
        numerics.hermite_weights(
            SCHEDULES["vp_linear"], [0.5], 0.4, derivatives=[False], variable="gamma", quantity="v"
        )  # fmt: skip
