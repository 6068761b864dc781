"""Plans chosen by their score, and the score itself on data whose flow is known."""

from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import grids
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import registry
from genie_samplers.solvers.choosing import AUTO, Candidate, Options, fitting_grids, ranked
from genie_samplers.solvers.exact_data import IMAGES, MIXTURES, Marginal, Mixtures, mixtures, power_law
from genie_samplers.solvers.fitting import fitted
from genie_samplers.solvers.registry import find
from genie_samplers.solvers.scoring import gaussian_score, mixture_error, score

VP, FLOW = gs.schedules.vp_linear(), gs.schedules.flow()
from_betas, tables = gs.schedules.from_betas, gs.schedules
SCHEDULES: dict[str, Schedule] = {
    "vp_linear": VP,
    "vp_cosine": gs.schedules.vp_cosine(),
    "squaredcos_50": from_betas(tables.squaredcos_betas(50)),
    "squaredcos_1000": from_betas(tables.squaredcos_betas(1000)),
    "scaled_linear": from_betas(tables.scaled_linear_betas()),
    "zero_snr": from_betas(tables.scaled_linear_betas(), zero_terminal_snr=True),
    "flow": FLOW,
    "flow_12": gs.schedules.flow(shift=12.0),
    "edm": gs.schedules.edm(),
    "ve": gs.schedules.ve(),
}
# data that took no part in the score
COARSE = power_law(3.5, variance=0.3)
QUANTILES = tuple(NormalDist().inv_cdf((n + 0.5) / 24) for n in range(24))
HELD_OUT = mixtures((0.3, 0.7), (-1.0, 0.8), (0.25, 0.4), like=COARSE, latents=QUANTILES)
NEAR = 2.0  # times the best candidate


def candidates() -> tuple[Candidate, ...]:
    return tuple(Candidate(name, Options({**find(name).options, **free})) for name, free in AUTO)


def error_of(plan: gs.Plan, schedule: Schedule) -> float:
    return float(np.hypot(mixture_error(plan, schedule, HELD_OUT), gaussian_score(plan, schedule, COARSE).error))


def error_of_a_network(plan: gs.Plan, schedule: Schedule) -> float:
    """Whose outputs are not exact: an order that a network does not bear is no best candidate."""
    return float(
        np.hypot(error_of(plan, schedule), gaussian_score(plan, schedule, COARSE)._replace(error=0.0).total(plan.nfe))
    )


@pytest.mark.parametrize(
    ("schedule", "nfe"), list(zip(SCHEDULES.values(), itertools.cycle((5, 8, 12)), strict=False)), ids=SCHEDULES.keys()
)
def test_auto_is_near_the_best_candidate_on_data_of_other_kinds(schedule: Schedule, nfe: int) -> None:
    denoise = gs.make_plan("auto", schedule, nfe, prediction="v").recipe.grid[-1] == schedule.t_zero  # type: ignore[union-attr]
    denoise = denoise and schedule.t_end != schedule.t_zero
    on = gs.schedules.Remembered(schedule, [schedule.t_max])
    errors = [
        error_of_a_network(
            fitted(find(c.solver), schedule, nfe, grid, {**c.options, "prediction": "v"}, denoise=denoise), on
        )
        for grid in fitting_grids(schedule, denoise=denoise)
        for c in candidates()
    ]
    chosen = error_of_a_network(gs.make_plan("auto", schedule, nfe, prediction="v"), on)
    assert chosen <= NEAR * min(errors)


@pytest.mark.parametrize("name", ["vp_linear", "squaredcos_50", "flow"])
def test_one_evaluation_more_is_no_cliff(name: str) -> None:
    schedule = SCHEDULES[name]
    plans = {nfe: gs.make_plan("auto", schedule, nfe, prediction="v") for nfe in range(5, 12)}
    errors = [error_of(plan, schedule) for plan in plans.values()]
    assert max(after / before for before, after in itertools.pairwise(errors)) <= 1.25


@pytest.mark.parametrize("family", ["deis_tab", "deis_log_ab", "ipndm", "unipc", "dpmpp", "dpmpp_2m"])
@pytest.mark.parametrize("name", ["squaredcos_1000", "flow"])
@pytest.mark.each_value
def test_no_family_has_a_cliff_where_measured_defaults_had(name: str, family: str) -> None:
    """On a cosine table deis_tab had errors of 34 and 9 at 12 and 15; on flow dpmpp_2m .15 at 10, dpmpp_3m .81."""
    schedule = SCHEDULES[name]
    errors = [
        error_of(gs.make_plan(family, schedule, nfe, prediction="v"), schedule) for nfe in (9, 10, 12, 15, 18, 20)
    ]
    ddim = [error_of(gs.make_plan("ddim", schedule, nfe, prediction="v"), schedule) for nfe in (9, 10, 12, 15, 18, 20)]
    assert np.all(np.array(errors) <= np.array(ddim))


def test_the_same_question_is_answered_from_memory() -> None:
    hits = ranked.cache_info().hits
    gs.make_plan("auto", VP, 7)
    gs.make_plan("auto", VP, 7, prediction="v")
    assert ranked.cache_info().hits >= hits + 1


def test_a_plan_says_what_was_chosen_and_its_json_does_not() -> None:
    plan = gs.make_plan("auto", VP, 8)
    assert plan.note.startswith("chosen of 32: ") and "; then " in plan.note
    assert plan.note in str(plan)
    again = gs.Plan.from_json(plan.to_json())
    assert again == plan and again.note == ""
    assert gs.starting_at(plan, 2).recipe.solver == plan.recipe.solver  # type: ignore[union-attr]


@pytest.mark.parametrize("prediction", ["x0", "v", "flow"])
def test_the_choice_depends_on_no_prediction(prediction: str) -> None:
    best = [gs.make_plan("auto", FLOW, 6, prediction=p).recipe.options["order"] for p in (prediction, "v")]  # type: ignore[union-attr]
    assert best[0] == best[1]


@pytest.mark.parametrize("name", ["deis_tab2", "unipc3", "ipndm4", "flow_ab3", "dpmpp_2m", "dpm_solver_3s", "edm_heun"])
def test_the_score_of_gaussian_data_is_the_error_of_the_samples(name: str) -> None:
    """One mode, its latents at +-1, of which every state is affine."""
    times = grids.power_gamma(VP, 7)
    options = {key: value for key, value in find(name).options.items()}
    plan = registry.rebuild(name, VP, times, {**options, "prediction": "v"})
    data = Mixtures((1.0,), (0.3,), (0.6,), (1.0,), (1.0,), (-1.0, 1.0))
    spectrum = type(IMAGES)((0.36,), (1.0,), 0.3)
    assert gaussian_score(plan, VP, spectrum).error == pytest.approx(mixture_error(plan, VP, data), rel=1e-9)


def test_the_flow_of_a_mixture_keeps_the_probability_below() -> None:
    start, end = Marginal.at(VP, 1.0), Marginal.at(VP, 1e-3)
    x = MIXTURES.start * start.sigma
    there = MIXTURES.flow(start, end, x)
    assert np.all(np.diff(there, axis=1) > 0.0)
    assert MIXTURES.flow(end, start, there) == pytest.approx(x, rel=0, abs=1e-9)


def test_a_disturbance_of_one_output_moves_the_result_by_the_response() -> None:
    """Of DDIM in one step to gamma = 0 the result is x0 itself."""
    plan = registry.rebuild("ddim", VP, [1.0, 0.0], {"prediction": "epsilon"})
    gamma = float(VP.gamma(1.0))
    assert gaussian_score(plan, VP, IMAGES).response == pytest.approx(gamma / np.hypot(1.0, gamma / 150.0), rel=1e-12)


def test_a_stochastic_plan_is_scored_by_its_deviation() -> None:
    plan = gs.make_plan("ddpm", VP, 40, grid="karras")
    assert 0.0 < score(plan, VP).error < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "dpm++_2n"}, "did you mean"),
        ({"name": "ipmdm"}, "did you mean ipndm"),
        ({"nfe": None}, "nfe: missing"),
        ({"options": {"order": 2}}, "'auto' chooses them"),
        ({"times": [1.0, 0.5], "grid": "karras"}, "grid='karras': beside times= or sigmas="),
        ({"times": [0.5, 1.0]}, "times: from 0.5 to 1.0"),
        ({"times": [1.0, 0.5], "sigmas": [1.0]}, "both given"),
        ({"times": [1.0, 0.5], "nfe": 3}, "nfe=3; on these 2 times"),
        ({"shift": 2.0, "grid": "karras"}, "shift=2.0: of the grid 'shifted_t'"),
        ({"shift": 2.0, "mu": 0.5}, "both given; mu is the logarithm of the shift"),
        ({"sigmas": [[1.0]]}, r"sigmas has shape \(1, 1\)"),
        ({"sigmas": [100.0, 1.0], "shift": 3.0}, "not of vp_linear; leave them out"),
        ({"end": 0.1, "denoise": True}, "with denoise=True"),
        ({"prediction": "v-ish"}, "prediction='v-ish'; choose one of"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        gs.make_plan(**{"name": "auto", "schedule": VP, "nfe": None if "times" in arguments else 5} | arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("dpm++_2m", "dpmpp_2m"), ("DPM++2M", "dpmpp_2m"), ("euler", "ddim"), ("uni-pc", "unipc"), ("heun", "edm_heun")],
)
def test_other_libraries_spellings_are_known(spelling: str, name: str) -> None:
    assert gs.make_plan(spelling, VP, 21, grid="karras") == gs.make_plan(name, VP, 21, grid="karras")


def test_heun_is_flow_matchings_from_pure_noise() -> None:
    assert gs.make_plan("heun", FLOW, 7, prediction="flow_prediction") == gs.make_plan(
        "flow_heun", FLOW, 7, prediction="flow"
    )


def test_own_times_and_sigmas_are_taken_as_they_are() -> None:
    sigmas = np.linspace(1.0, 0.25, 4)
    by_sigma = gs.make_plan("ddim", FLOW, sigmas=sigmas, prediction="flow")
    assert by_sigma == gs.make_plan("ddim", FLOW, 4, times=[*sigmas, 0.0], prediction="flow")
    shifted = gs.make_plan("ddim", FLOW, sigmas=sigmas, mu=np.log(3.0), prediction="flow")
    assert shifted.allclose(gs.make_plan("ddim", gs.schedules.flow(shift=3.0), 4, grid="shifted_t", prediction="flow"))
    stretched = gs.make_plan("ddim", FLOW, 4, shift_terminal=0.02, prediction="flow")
    assert stretched.recipe.grid[-2:] == pytest.approx((0.02, 0.0), rel=1e-12)  # type: ignore[union-attr]
    edm = gs.make_plan("ddim", gs.schedules.edm(), sigmas=[80.0, 5.0, 0.0])
    assert edm.recipe.grid == (80.0, 5.0, 0.0)  # type: ignore[union-attr]


def test_the_end_of_a_grid_may_be_given() -> None:
    assert gs.make_plan("ddim", VP, 5, end=0.05).recipe.grid[-1] == 0.05  # type: ignore[union-attr]


def test_a_family_leaves_the_callers_own_option_alone() -> None:
    plan = gs.make_plan("deis_tab", VP, 10, options={"order": 1})
    assert plan.recipe.options["order"] == 1  # type: ignore[union-attr]
