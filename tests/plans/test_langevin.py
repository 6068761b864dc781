"""Annealed Langevin and predictor-corrector plans: their numbers, their laws on Gaussian data, what is refused."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers.plan import Apply, Plan, Row
from genie_samplers.solvers.annealed_langevin import level_transfer, step_ratio

from .langevin_recursion import geometric, pds_mask, radial, spectrum, variances, zones
from .plans import recipe_of, unfit_too

pytestmark = unfit_too
VE, VP = gs.schedules.ve(), gs.schedules.vp_linear()
TABLE = gs.schedules.from_betas(np.linspace(1e-4, 0.02, 1000))
FLAT = gs.schedules.flow()
ONE = np.ones((32, 32))
MASK = pds_mask()


def quiet(name: str, schedule: gs.schedules.Schedule, *arguments: Any, **options: Any) -> Plan:
    """Also with so few evaluations that the samples are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.UnfitWarning)
        return gs.make_plan(name, schedule, *arguments, **options)


def pc(schedule: gs.schedules.Schedule = VE, nfe: int = 6, denoise: bool | None = None, **options: Any) -> Plan:
    return quiet("predictor_corrector", schedule, nfe, denoise=denoise, options=options)


def langevin(nfe: int = 21, **options: Any) -> Plan:
    return quiet("annealed_langevin", VE, nfe, options=options)


def predictions_of(plan: Plan) -> list[Row]:
    """Of a plan without corrector: one row per step."""
    return [row for row in plan.rows if row.calls]


# --- the recursion


@pytest.mark.parametrize(
    ("count", "noise", "score", "printed"),
    [
        (1000, ONE, ONE, [1.002, 1.008, 1.025, 1.043, 1.054]),
        (100, ONE, ONE, [1.038, 1.020, 1.025, 1.042, 1.052]),
        (100, radial(0.948, 0.895), ONE, [1.038, 1.020, 1.026, 0.937, 0.844]),
        (100, MASK, MASK**2, [0.986, 0.976, 1.005, 1.026, 1.036]),
        (100, 1.0 / MASK, MASK**-2, [1.101, 1.079, 1.049, 1.056, 1.065]),
        (100, 0.95 * ONE, ONE, [0.937, 0.921, 0.925, 0.940, 0.949]),
        (50, ONE, ONE, [1.125, 1.077, 1.046, 1.046, 1.052]),
        (50, radial(0.892, 0.798), ONE, [1.125, 1.076, 1.046, 0.833, 0.671]),
        (50, MASK, MASK**2, [1.041, 0.979, 0.988, 1.010, 1.022]),
    ],
    ids=["1000", "100", "100-tdas", "100-pds", "100-inverted", "100-scalar", "50", "50-tdas", "50-pds"],
)
def test_the_recursion_gives_the_printed_table(
    count: int, noise: np.ndarray, score: np.ndarray, printed: list[float]
) -> None:
    law = variances(geometric(count), spectrum(), noise, score)
    assert [round(each, 3) for each in zones(law.last / spectrum())] == printed


# --- the numbers of the rows


@pytest.mark.parametrize(
    ("options", "nfe"),
    [
        ({}, 12), ({"n_steps": 2}, 12), ({"n_steps": 3}, 12), ({"corrector": "none"}, 6), ({"corrector": "ald"}, 8),
        ({"filter": "pds"}, 6), ({"filter": "tdas", "n_steps": 2}, 9),
    ],
)  # fmt: skip
def test_evaluations_are_steps_times_corrections_and_one(options: dict[str, Any], nfe: int) -> None:
    plan = pc(nfe=nfe, **options)
    n = 0 if options.get("corrector") == "none" else options.get("n_steps", 1)
    assert plan.nfe == nfe == (len(recipe_of(plan).grid) - 1) * (n + 1)


def test_a_number_that_no_steps_make_is_refused() -> None:
    with pytest.raises(ValueError, match="nfe=7; predictor_corrector makes 8 evaluations"):
        pc(nfe=7)


def test_levels_of_ve_are_geometric_and_end_at_zero() -> None:
    sigmas = VE.sigma(recipe_of(pc(nfe=20)).grid)
    np.testing.assert_allclose(sigmas[:-1], geometric(10)[:-1], rtol=1e-4)  # t_end is 1e-5, not 0
    assert sigmas[-1] == 0.0


def test_the_last_prediction_of_ve_is_tweedies() -> None:
    plan = pc(corrector="none")
    sigma = float(VE.sigma(recipe_of(plan).grid[-2]))
    last = plan.rows[-1]
    assert (last.x.x, last.x.draws) == (1.0, ())
    assert last.x.y == pytest.approx((-sigma,), rel=1e-15)


def betas() -> list[float]:
    """Of the steps from index 7 to 6, 6 to 5, ..."""
    return np.linspace(1e-4, 0.02, 1000)[[7, 6, 5, 4]].tolist()


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("predictor", ["reverse_diffusion", "ancestral"])
def test_steps_of_vp_are_the_published_ones_of_a_table(predictor: str, place: int) -> None:
    plan = gs.make_plan(
        "predictor_corrector",
        TABLE,
        times=[7.0, 6.0, 5.0, 4.0, 3.0],
        options={"predictor": predictor, "corrector": "none"},
    )
    beta, sigma = betas()[place], float(TABLE.sigma(7.0 - place))
    row = predictions_of(plan)[place]
    a, b = {"reverse_diffusion": (2.0 - math.sqrt(1.0 - beta), beta), "ancestral": (
        1.0 / math.sqrt(1.0 - beta), beta / math.sqrt(1.0 - beta))}[predictor]  # fmt: skip
    # 1 - (alpha / alpha')^2 loses the digits that beta is smaller than 1
    assert (row.x.x, row.x.y[0], row.x.draws[0]) == pytest.approx((a, -b / sigma, math.sqrt(beta)), rel=1e-11)


def test_ancestral_steps_of_ve() -> None:
    plan = pc(corrector="none", predictor="ancestral")
    sigma, following = (float(VE.sigma(t)) for t in recipe_of(plan).grid[:2])
    row = plan.rows[0]
    noise = math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2)
    assert (row.x.x, row.x.y[0], row.x.draws[0]) == pytest.approx(
        (1.0, -(sigma**2 - following**2) / sigma, noise), rel=1e-14
    )


@pytest.mark.parametrize("schedule", [VE, VP, gs.schedules.sub_vp()], ids=["ve", "vp", "sub_vp"])
def test_euler_maruyama_is_the_solver_of_that_name(schedule: gs.schedules.Schedule) -> None:
    times = gs.grids.uniform_t(schedule, 6)
    options = {"predictor": "euler_maruyama", "corrector": "none"}
    mine = gs.make_plan("predictor_corrector", schedule, times=times, options=options)
    assert mine.allclose(gs.solvers.euler_maruyama(schedule, times))


@pytest.mark.parametrize("predictor", ["reverse_diffusion", "euler_maruyama"])
@pytest.mark.parametrize("schedule", [VE, VP], ids=["ve", "vp"])
def test_the_probability_flow_has_half_the_score_and_no_noise(schedule: gs.schedules.Schedule, predictor: str) -> None:
    whole, flow = (
        pc(schedule, corrector="none", predictor=predictor, probability_flow=flow).rows[1] for flow in (False, True)
    )
    assert (flow.x.x, flow.x.y[0], flow.x.draws) == (whole.x.x, pytest.approx(0.5 * whole.x.y[0], rel=1e-15), ())


def test_no_noise_in_a_prediction_to_clean_data() -> None:
    assert pc(VP, corrector="none").rows[-1].draws == ()
    assert pc(VP, corrector="none", denoise=False).rows[-1].draws != ()


# --- annealed Langevin


@pytest.mark.parametrize(
    ("highest", "levels", "steps", "published"),
    [(50.0, 232, 5, 6.2e-6), (90.0, 500, 5, 3.3e-6), (190.0, 1086, 3, 1.8e-6), (348.0, 2311, 3, 9e-7)],
    ids=["cifar10", "celeba", "bedroom", "ffhq"],
)
def test_the_default_step_is_the_published_one(highest: float, levels: int, steps: int, published: float) -> None:
    ratio = (highest / 0.01) ** (1.0 / (levels - 1))
    assert step_ratio(ratio, steps) * 0.01**2 == pytest.approx(published, rel=0.02)  # published with two digits


@pytest.mark.parametrize(
    ("ratio", "h", "steps", "printed"),
    [
        ((50 / 0.01) ** (1 / 231), 0.062, 5, 1.056), ((90 / 0.01) ** (1 / 499), 0.033, 5, 1.031),
        ((140 / 0.01) ** (1 / 787), 0.049, 4, 1.025), ((190 / 0.01) ** (1 / 1085), 0.018, 3, 1.017),
        ((348 / 0.01) ** (1 / 2310), 0.009, 3, 1.009), (100 ** (1 / 9), 0.2, 100, 1.111),
    ],
)  # fmt: skip
def test_level_transfers_are_the_printed_ones(ratio: float, h: float, steps: int, printed: float) -> None:
    assert level_transfer(h, ratio, steps) == pytest.approx(printed, abs=6e-4)


@pytest.mark.parametrize("denoise", [True, False])
def test_evaluations_are_levels_times_steps(denoise: bool) -> None:
    plan = gs.make_plan("annealed_langevin", VE, 20 + denoise, denoise=denoise, options={"steps": 4})
    assert plan.nfe == 20 + denoise
    assert len(recipe_of(plan).grid) == 5 + denoise


def test_its_rows_are_the_published_steps() -> None:
    plan = langevin(steps=2, nfe=7, step_size=2e-5)
    sigmas = VE.sigma(recipe_of(plan).grid[:-1])
    row, e = plan.rows[3], 2e-5 * (sigmas[1] / sigmas[-1]) ** 2
    assert (row.x.x, row.x.y[0], row.x.draws[0]) == pytest.approx((1.0, -e / sigmas[1], math.sqrt(2.0 * e)), rel=1e-14)
    assert plan.init.distribution == "uniform"
    assert plan.rows[-1].x.y == pytest.approx((-sigmas[-1],), rel=1e-15)


def test_it_may_start_in_normal_noise() -> None:
    init = langevin(init="normal").init
    assert (init.distribution, init.scale) == ("normal", pytest.approx(50.0, rel=1e-15))


# --- plans


PLANS = {
    "pc": pc(), "pc-ald": pc(corrector="ald"), "pc-batch": pc(norm="batch"), "pc-tdas": pc(filter="tdas"),
    "pc-pds": pc(filter="pds"), "pc-pds-raw": pc(filter="pds", snr_norm="raw"), "pc-vp-pds": pc(VP, filter="pds"),
    "pc-pds-corrector": pc(filter="pds", scope="corrector"), "ncsn": langevin(), "ncsn-tdas": langevin(filter="tdas"),
    "ncsn-pds": langevin(filter="pds"),
}  # fmt: skip
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


@every_plan
def test_a_plan_survives_json_and_is_rebuilt(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan
    assert gs.starting_at(plan, 0) == plan
    assert gs.starting_at(plan, 1).times[-1] == plan.times[-1]


@every_plan
def test_what_a_run_is_to_be_given_is_named(plan: Plan) -> None:
    mode = recipe_of(plan).options["filter"]
    assert set(plan.operators) == {None: set(), "tdas": {"filter"}, "pds": {"filter", "filter_adjoint"}}[mode]


def test_the_scope_leaves_the_predictions_and_the_start_alone() -> None:
    plan = PLANS["pc-pds-corrector"]
    predictions = [row for row in plan.rows if row.calls and row.x.y != (0.0,)]
    assert [len(row.draws) for row in predictions] == [1, 1, 0]
    assert plan.init.operator is None
    assert pc(filter="tdas").init.operator == "filter"
    assert pc(filter="tdas", filter_init=False).init.operator is None


def test_norms_per_sample_couple_nothing() -> None:
    assert [PLANS[name].couples_samples for name in ("pc", "pc-ald", "pc-batch")] == [False, False, True]


def test_a_filter_costs_no_evaluations() -> None:
    assert PLANS["pc-pds"].nfe == PLANS["pc-tdas"].nfe == PLANS["pc"].nfe
    assert sum(isinstance(row, Apply) for row in PLANS["pc-tdas"].rows) == 5  # 3 corrections, 2 noisy predictions


# --- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"predictor": "heun"}, "predictor='heun'; choose one of reverse_diffusion, euler_maruyama, ancestral"),
        ({"corrector": "mala"}, "corrector='mala'; choose one of langevin, ald, none"),
        ({"norm": "sum"}, "norm='sum'; choose one of per_sample, batch"),
        ({"filter": "wiener"}, "filter='wiener'; choose one of tdas, pds"),
        ({"scope": "predictor"}, "scope='predictor'; choose one of both, corrector"),
        ({"snr_norm": "white"}, "snr_norm='white'; choose one of filtered, raw"),
        ({"filter_init": 1}, "filter_init"),
        ({"snr": 0.0}, "snr=0.0; need a positive finite number"),
        ({"snr": math.nan}, "snr=nan; need a positive finite number"),
        ({"n_steps": 0}, "n_steps=0: give 1 or more"),
        ({"predictor": "ancestral", "probability_flow": True}, "predictor='ancestral' has no probability flow"),
    ],
)
def test_bad_options_of_predictor_corrector(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        gs.make_plan("predictor_corrector", VE, times=[1.0, 0.5, 0.1], options=options)


@pytest.mark.parametrize(
    ("schedule", "times", "options", "message"),
    [
        (VE, [0.1, 0.5, 1.0], {}, "predictor_corrector on a rising grid: it draws noise"),
        (FLAT, [1.0, 0.5, 0.0], {"predictor": "euler_maruyama"}, r"times\[0\]=1.0 is pure noise"),
        (gs.schedules.sub_vp(), [1.0, 0.5, 0.1], {"predictor": "ancestral"}, "ancestral' on sub_vp: known for VE"),
    ],
)
def test_bad_grids_of_predictor_corrector(
    schedule: gs.schedules.Schedule, times: list[float], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gs.solvers.predictor_corrector(schedule, times, **options)


@pytest.mark.parametrize(
    ("schedule", "options", "message"),
    [
        (VP, {}, "annealed_langevin on vp_linear: its levels have alpha = 1; take ve or edm"),
        (VE, {"steps": 0}, "steps=0: give 1 or more"),
        (VE, {"step_size": 0.0}, "step_size=0.0: need more than 0 and less than"),
        (VE, {"step_size": 1.0}, "step_size=1.0: need more than 0 and less than"),
        (VE, {"init": "zeros"}, "init='zeros'; choose one of uniform, normal"),
    ],
)
def test_bad_arguments_of_annealed_langevin(
    schedule: gs.schedules.Schedule, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gs.solvers.annealed_langevin(schedule, [1.0, 0.5, 0.1], **options)


@pytest.mark.parametrize("name", ["predictor_corrector", "annealed_langevin"])
def test_it_refuses_to_encode(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} on a rising grid"):
        gs.make_plan(name, VE, 10, direction="encode")


@pytest.mark.parametrize("options", [{}, {"filter": "tdas", "corrector": "none"}])
def test_clipping_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="clip: the plan computes gains or applies operators"):
        gs.make_plan("predictor_corrector", VE, 6, clip=1.0, options=options)
