"""What the start of a DEIS plan costs in order: the published warm-up, an exact start, the corrected one."""

from __future__ import annotations

import pytest

import genie_samplers as gs
from genie_samplers.schedules import Schedule

from .orders import Case, slope
from .problems import VP

COSINE = (
    gs.schedules.vp_cosine()
)  # its first step on quadratic_t is long: gamma falls from 119 to 10 where there are five
NEAR = 0.25

CAPPED = [
    pytest.param("deis_tab3", COSINE, (128, 256), id="deis_tab3-cosine"),
    pytest.param("deis_rho_ab3", COSINE, (128, 256), id="deis_rho_ab3-cosine"),
    pytest.param("deis_log_ab3", COSINE, (128, 256), id="deis_log_ab3-cosine"),
    pytest.param("deis_log_ab3", VP, (512, 1024), id="deis_log_ab3-vp_linear"),
]
# a polynomial in gamma or in log gamma is still coarse over that first step at these numbers of steps
FULL = [CAPPED[0], CAPPED[3]]


@pytest.mark.parametrize(("name", "schedule", "steps"), CAPPED)
def test_lower_orders_at_the_start_cap_the_order_at_two(name: str, schedule: Schedule, steps: tuple[int, int]) -> None:
    assert slope(name, Case(steps=steps, exact=False), schedule=schedule) == pytest.approx(2.0, abs=NEAR)


@pytest.mark.parametrize(("name", "schedule", "steps"), FULL)
def test_an_exact_start_has_the_full_order(name: str, schedule: Schedule, steps: tuple[int, int]) -> None:
    assert slope(name, Case(steps=steps), schedule=schedule) >= 3.5


@pytest.mark.parametrize("name", ["deis_tab2", "deis_tab3", "deis_log_ab2", "deis_log_ab3"])
@pytest.mark.parametrize("schedule", [VP, COSINE], ids=lambda s: s.name)
def test_a_corrected_start_lifts_the_order_to_three(name: str, schedule: Schedule) -> None:
    case = Case(steps=(128, 256), exact=False, options={"warmup": "corrected"})
    assert slope(name, case, schedule=schedule) >= 3.0 - NEAR
