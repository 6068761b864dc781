"""Grids named after what the schedulers of diffusers take by themselves, against those schedulers.

Theirs are float32: the last rounding is half a unit in the last place of 1 or, of an index of up to 1000, of 512.
"""

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import grids, schedules

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("error", "ignore::FutureWarning", "ignore:__array:DeprecationWarning")

UNIT = 2.0**-24
MULTISTEP = ("DPMSolverMultistep", "UniPCMultistep", "DEISMultistep", "SASolver")
STEPS = [1, 2, 7, 10, 48, 50, 999]


def scheduler(name: str, steps: int, *, mu: float | None = None, sigmas: Any = None, **options: Any) -> Any:
    made = getattr(diffusers, f"{name}Scheduler")(**options)
    made.set_timesteps(steps, **{key: value for key, value in (("mu", mu), ("sigmas", sigmas)) if value is not None})
    return made


def of_pipeline(file: str, name: str) -> Callable[..., Any]:
    """A function of a pipeline's file, without the imports of that file."""
    tree = ast.parse((Path(diffusers.__path__[0]) / "pipelines" / file).read_text())
    body: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    names: dict[str, Any] = {}
    exec(compile(ast.Module(body, []), file, "exec"), names)
    return names[name]


def double(values: Any) -> np.ndarray:
    return values.double().numpy()


def table(made: Any) -> schedules.AlphasCumprod:
    """The schedule of their very numbers, so that what is compared is the grid alone."""
    return schedules.from_alphas_cumprod(double(made.alphas_cumprod))


# --- indices of a table


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(
    ("spacing", "grid"), [("linspace", "dpm_linspace"), ("leading", "dpm_leading"), ("trailing", "trailing")]
)
@pytest.mark.parametrize("name", MULTISTEP)
def test_the_indices_of_the_multistep_classes(name: str, spacing: str, grid: str, steps: int) -> None:
    made = scheduler(name, steps, timestep_spacing=spacing)
    assert grids.DISCRETE_GRIDS[grid](table(made), steps).tolist() == [*made.timesteps.tolist(), -1.0]


@pytest.mark.parametrize("steps", [1, 10, 30])
def test_an_offset_moves_the_leading_indices_of_the_multistep_classes(steps: int) -> None:
    made = scheduler("DPMSolverMultistep", steps, timestep_spacing="leading", steps_offset=1)
    assert grids.dpm_leading(table(made), steps, steps_offset=1).tolist() == [*made.timesteps.tolist(), -1.0]


@pytest.mark.parametrize("steps", STEPS[1:])
@pytest.mark.parametrize("name", ["EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete"])
def test_the_indices_of_the_euler_classes_are_not_rounded(name: str, steps: int) -> None:
    made = scheduler(name, steps)
    ours = grids.euler_linspace(table(made), steps)[:-1]
    assert np.abs(double(made.timesteps) - ours).max() <= 512.0 * UNIT


@pytest.mark.parametrize("steps", STEPS[1:])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("name", ["DDPM", "EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete"])
def test_the_other_spacings_of_these_classes_are_those_of_ddim(name: str, spacing: str, steps: int) -> None:
    made = scheduler(name, steps, timestep_spacing=spacing)
    assert grids.DISCRETE_GRIDS[spacing](table(made), steps).tolist() == [*made.timesteps.tolist(), -1.0]


@pytest.mark.parametrize("steps", [7, 20, 50, 61, 300])
def test_between_indices_gamma_is_that_of_the_euler_class_but_for_the_interpolation(steps: int) -> None:
    made = scheduler("EulerDiscrete", steps)
    schedule = table(made)
    ours = grids.euler_linspace(schedule, steps)[:-1]
    low = np.minimum(np.floor(ours), 998.0)
    change = schedule.gamma_change(low, low + 1.0) / schedule.gamma(low)
    allowed = change**2 / 8.0 + 6.0 * UNIT
    assert np.all(np.abs(schedule.gamma(ours) / double(made.sigmas)[:-1] - 1.0) <= allowed)


# --- noise levels of a table


@pytest.mark.parametrize("steps", [2, 7, 20, 50])
@pytest.mark.parametrize(
    ("option", "grid"),
    [("use_karras_sigmas", "karras"), ("use_exponential_sigmas", "log_snr"), ("use_beta_sigmas", "beta")],
)
@pytest.mark.parametrize("name", ["DPMSolverMultistep", "EulerDiscrete", "UniPCMultistep"])
def test_respaced_sigmas_of_a_table(name: str, option: str, grid: str, steps: int) -> None:
    """Both ends are float32 numbers of 3 roundings each; what lies between moves by as much, and is rounded once."""
    made = scheduler(name, steps, **{option: True})
    schedule = table(made)
    plan = gs.make_plan("ddim", schedule, steps, grid=grid, denoise=True)
    assert np.all(np.abs(schedule.gamma(plan.times) / double(made.sigmas)[:-1] - 1.0) <= 8.0 * UNIT)


@pytest.mark.parametrize("steps", [2, 7, 20, 50])
def test_lu_lambdas_are_equal_steps_in_log_gamma(steps: int) -> None:
    """Their log gamma of up to 5 is float32."""
    made = scheduler("DPMSolverMultistep", steps, use_lu_lambdas=True)
    schedule = table(made)
    plan = gs.make_plan("ddim", schedule, steps, grid="log_snr", denoise=True)
    error = schedule.half_log_snr(plan.times) + np.log(double(made.sigmas)[:-1])
    assert np.abs(error).max() <= 8.0 * UNIT + 3.0 * 8.0 * UNIT


@pytest.mark.parametrize("steps", [7, 20, 50])
@pytest.mark.parametrize(("respacing", "grid"), [("exponential", "log_snr"), ("beta", "beta")])
def test_the_multistep_classes_truncate_the_times_of_those_sigmas(respacing: str, grid: str, steps: int) -> None:
    made = scheduler("DPMSolverMultistep", steps, **{f"use_{respacing}_sigmas": True})
    ours = np.array(gs.make_plan("ddim", table(made), steps, grid=grid, denoise=True).times)
    assert made.timesteps.tolist() == np.floor(ours + 1e-3).tolist()


def test_beta_sigmas_of_one_step_start_at_the_last_index() -> None:
    assert grids.beta_gamma(schedules.vp_linear(), 1).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.5, 0.7), (1.0, 1.0), (2.0, 3.0), (0.3, 4.0)])
def test_the_quantiles_of_the_beta_distribution(a: float, b: float) -> None:
    quantile = pytest.importorskip("scipy.stats").beta.ppf
    p = np.linspace(0.0, 1.0, 101)
    ours = grids.beta_quantile(p, a, b)
    assert np.abs(ours - quantile(p, a, b)).max() <= 1e-14
    assert (ours[0], ours[-1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("p", "a", "message"), [([1.5], 0.6, "probability=.*from 0 to 1"), ([0.5], 0.0, r"a=0\.0, b=0\.6: give positive")]
)
def test_what_is_no_probability_or_shape_is_refused(p: list[float], a: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grids.beta_quantile(p, a, 0.6)


def test_beta_needs_a_finite_gamma() -> None:
    with pytest.raises(ValueError, match=r"starts at gamma=inf .*: take flow_beta on flow"):
        grids.beta_gamma(schedules.flow(), 5)


# --- flow


def euler(steps: int, **options: Any) -> np.ndarray:
    return double(scheduler("FlowMatchEulerDiscrete", steps, **options).sigmas)


@pytest.mark.parametrize("steps", [1, 2, 8, 20, 50])
@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0, 12.0])
def test_the_default_grid_of_flow_match_euler_shifts_twice(shift: float, steps: int) -> None:
    ours = grids.flow_sigmas(steps, spacing="flow_match", shift=shift)
    assert np.abs(euler(steps, shift=shift)[:-1] - ours).max() <= UNIT


def test_the_exact_grid_shifts_once() -> None:
    """Published of shift 3 and 8 steps: the last timestep is 8.93 in place of 2.99."""
    twice, once = (
        1000.0 * grids.flow_sigmas(8, spacing=name, shift=3.0)[-1] for name in ("flow_match", "flow_match_exact")
    )
    assert (round(twice, 2), round(once, 2)) == (8.93, 2.99)


def test_without_a_shift_the_two_are_one() -> None:
    exact = grids.flow_sigmas(9, spacing="flow_match_exact")
    np.testing.assert_array_equal(grids.flow_sigmas(9, spacing="flow_match"), exact)


@pytest.mark.parametrize("steps", [1, 2, 8, 50])
@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_dynamic_shifting(kind: str, steps: int) -> None:
    ours = grids.flow_sigmas(steps, spacing="flow_match", mu=1.15, time_shift_type=kind)
    theirs = euler(steps, mu=1.15, use_dynamic_shifting=True, time_shift_type=kind, shift=3.0)
    assert np.abs(theirs[:-1] - ours).max() <= UNIT


@pytest.mark.parametrize("steps", [2, 8, 50])
def test_what_pipelines_pass_is_linear(steps: int) -> None:
    """Passed sigmas are rounded to float32 before the shift, whose slope is at most e^mu."""
    passed = np.linspace(1.0, 1.0 / steps, steps)
    theirs = euler(steps, sigmas=passed, mu=1.15, use_dynamic_shifting=True)
    assert np.abs(theirs[:-1] - grids.flow_sigmas(steps, mu=1.15)).max() <= 4.0 * math.exp(1.15) * UNIT
    np.testing.assert_allclose(grids.flow_sigmas(steps), np.linspace(1.0, 0.0, steps + 1)[:-1], rtol=0, atol=2.0**-52)


@pytest.mark.parametrize("steps", [2, 8, 50])
@pytest.mark.parametrize("options", [{"shift": 3.0}, {"mu": 2.05}], ids=["static", "dynamic"])
def test_a_terminal_shift(options: dict[str, Any], steps: int) -> None:
    """float64 on both sides; the stretch is at most 1 / (1 - s_last)."""
    theirs = euler(steps, shift_terminal=0.1, use_dynamic_shifting="mu" in options, **options)
    ours = grids.flow_sigmas(steps, spacing="flow_match", shift_terminal=0.1, **options)
    assert np.abs(theirs[:-1] - ours).max() <= UNIT
    assert ours[-1] == pytest.approx(0.1, abs=1e-15)


@pytest.mark.parametrize("steps", [1, 2, 8, 50])
@pytest.mark.parametrize("respacing", grids.RESPACINGS)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_respaced_sigmas_of_flow_are_of_sigma_itself(shift: float, respacing: str, steps: int) -> None:
    theirs = euler(steps, shift=shift, **{f"use_{respacing}_sigmas": True})
    ours = grids.flow_sigmas(steps, spacing="flow_match", shift=shift, respacing=respacing)
    assert np.abs(theirs[:-1] - ours).max() <= UNIT


@pytest.mark.parametrize("steps", [2, 3, 8, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(("grid", "respacing"), [("shifted_t", None), ("karras", "karras")])
def test_the_grids_of_any_schedule_are_on_flow_what_pipelines_make_of_linear_sigmas(
    grid: str, respacing: str | None, shift: float, steps: int
) -> None:
    ours = grids.GRIDS[grid](schedules.flow(shift=shift), steps)
    sigmas = grids.flow_sigmas(steps, shift=shift, respacing=respacing)
    np.testing.assert_allclose(ours, [*sigmas, 0.0], rtol=0, atol=8.0 * 2.0**-53)


FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


@pytest.mark.parametrize("steps", [1, 2, 8, 50])
@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("name", [*MULTISTEP, "DPMSolverSinglestep"])
def test_flow_sigmas_of_the_multistep_classes(name: str, shift: float, steps: int) -> None:
    """UniPC takes 1e-6 off a first sigma of 1, whose log alpha it could not take."""
    made = scheduler(name, steps, **FLOW, flow_shift=shift)
    theirs = double(made.sigmas)[:-1]
    ours = grids.flow_sigmas(steps, spacing="unipc" if name == "UniPCMultistep" else "multistep", shift=shift)
    taken = np.where(ours == 1.0, 1.0 - 1e-6, ours)
    assert np.abs(theirs - taken).max() <= UNIT
    assert made.timesteps.tolist() == np.floor(1000.0 * taken).tolist()  # the network is asked at whole timesteps


@pytest.mark.parametrize("steps", [2, 8])
def test_unipc_shifts_dynamically_and_to_a_terminal(steps: int) -> None:
    options = {"use_dynamic_shifting": True, "shift_terminal": 0.1}
    theirs = double(scheduler("UniPCMultistep", steps, mu=1.0, **FLOW, **options).sigmas)
    ours = grids.flow_sigmas(steps, spacing="unipc", mu=1.0, shift_terminal=0.1)
    assert np.abs(theirs[1:-1] - ours[1:]).max() <= UNIT
    assert abs(theirs[0] - (ours[0] - 1e-6)) <= UNIT


@pytest.mark.parametrize("steps", [2, 3, 8, 64])
def test_the_schedule_of_mochi(steps: int) -> None:
    theirs = np.array(of_pipeline("mochi/pipeline_mochi.py", "linear_quadratic_schedule")(steps, 0.025))
    # float64: a polynomial of coefficients below 1, each of whose terms may reach 1 / threshold before they cancel
    assert np.abs(theirs - grids.linear_quadratic(steps)).max() <= 40.0 * 8.0 * 2.0**-53
    inverted = euler(steps, sigmas=theirs, invert_sigmas=True)
    assert np.abs(1.0 - inverted[:-1] - grids.flow_sigmas(steps, spacing="linear_quadratic")).max() <= 4.0 * UNIT


def test_the_parabola_of_mochi_meets_the_line_smoothly_and_reaches_one() -> None:
    rise = 1.0 - np.append(grids.linear_quadratic(40, threshold=0.1, linear_steps=10), 0.0)
    np.testing.assert_allclose(rise[:11], 0.01 * np.arange(11), rtol=0, atol=1e-15)
    np.testing.assert_allclose(np.diff(rise[10:], 3), 0.0, rtol=0, atol=1e-14)
    beyond = np.diff(rise[10:], 2)[0] / 2.0
    assert rise[11] - rise[10] == pytest.approx(0.01 + beyond, abs=1e-14)


# --- the shift that follows from the size


@pytest.mark.parametrize("length", [256, 1024, 4096, 16384])
def test_mu_of_the_number_of_tokens(length: int) -> None:
    theirs = of_pipeline("flux/pipeline_flux.py", "calculate_shift")
    assert grids.mu_of_length(length) == pytest.approx(theirs(length), rel=1e-14)
    other = {"base_shift": 0.95, "max_shift": 2.05}
    ours = grids.mu_of_length(length, base_length=1024, max_length=4096, **other)
    assert ours == pytest.approx(theirs(length, 1024, 4096, **other), rel=1e-14)


@pytest.mark.parametrize("steps", [4, 10, 50, 200])
@pytest.mark.parametrize("length", [256, 4096, 4300, 4301, 16384])
def test_mu_of_flux_2(length: int, steps: int) -> None:
    theirs = of_pipeline("flux2/pipeline_flux2.py", "compute_empirical_mu")
    assert grids.flux2_mu(length, steps) == pytest.approx(theirs(length, steps), rel=1e-14)


# --- grids by name


@pytest.mark.parametrize("steps", [2, 9])
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("name", grids.FLOW_GRIDS)
def test_a_plan_on_a_grid_of_flow_has_the_shift_of_its_schedule_and_ends_with_clean_data(
    name: str, shift: float, steps: int
) -> None:
    schedule = schedules.flow(shift=shift)
    plan = gs.make_plan("ddim", schedule, steps, grid=name, prediction="flow")
    assert (*plan.times, 0.0) == tuple(grids.FLOW_GRIDS[name](schedule, steps))
    assert plan.nfe == steps


@pytest.mark.parametrize("name", grids.FLOW_GRIDS)
def test_a_schedule_that_is_no_flow_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"schedule=VPLinear.* is no flow: take karras or beta"):
        grids.FLOW_GRIDS[name](schedules.vp_linear(), 5)


REFUSED = {
    "spacing": ({"spacing": "sgm"}, "spacing='sgm'; choose one of linear, flow_match"),
    "respacing": ({"respacing": "lu"}, "respacing='lu'; choose one of karras, exponential, beta"),
    "both shifts": ({"shift": 3.0, "mu": 1.0}, r"mu=1\.0 beside shift=3\.0: give one of them"),
    "shift": ({"shift": 0.0}, r"shift=0\.0: give a positive finite number"),
    "mu": ({"mu": 1e4}, r"mu=10000\.0 makes no exponential shift: give a number of the size of 1"),
    "linear mu": ({"mu": 0.0, "time_shift_type": "linear"}, r"mu=0\.0 makes no linear shift: give a positive number"),
    "kind": ({"mu": 1.0, "time_shift_type": "square"}, "time_shift_type='square'; choose one of exponential, linear"),
    "terminal": ({"shift_terminal": 1.0}, r"shift_terminal=1\.0: choose 0 < shift_terminal < 1"),
    "equal": ({"shift": 1e300}, "steps=5: two noise levels are equal in float64"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_options_that_make_no_grid_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grids.flow_sigmas(5, **options)


def test_one_step_cannot_end_at_a_terminal() -> None:
    with pytest.raises(ValueError, match=r"shift_terminal=0\.1: the last noise level is 1\.0; take 2 steps or more"):
        grids.flow_sigmas(1, shift_terminal=0.1)


@pytest.mark.parametrize("options", [{"threshold": 1.0}, {"linear_steps": 0}, {"linear_steps": 5}])
def test_a_line_without_a_parabola_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="choose 0 < threshold < 1 and 0 < linear_steps < 5"):
        grids.linear_quadratic(5, **options)


def test_lengths_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="base_length=4096, max_length=4096: give base_length below max_length"):
        grids.mu_of_length(1024, base_length=4096)
