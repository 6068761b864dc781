"""What `diagnose` finds where epsilon along the flow is known in closed form, and what it advises."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import genie_samplers as gs
from genie_samplers import grids
from genie_samplers.genie import WIDTHS, Candidate, Diagnosis, candidates, diagnose, measure
from genie_samplers.genie.plan_search import GRIDS
from genie_samplers.models.wrap import LABELS, WrappedModel

from .command_line import refused, run
from .genie.oracles import GAUSSIAN, MIXTURE, SCHEDULES, gamma_of_999t, oracle

VP = gs.schedules.vp_linear()
F64 = torch.float64
SHAPE = (3, 2)
STEP = float(VP.log_gamma(VP.t_max) - VP.log_gamma(VP.t_end)) / 10
ROUNDING = 1e-10  # 2^-52, times 100 of the division by the width, times 1000 for log gamma as a function of t

AMPLITUDE, FREQUENCY = 0.01, 50.0


def function_of(label: str, function: Callable[[Tensor], Tensor]) -> WrappedModel:
    """A network whose epsilon is the same everywhere in space."""
    return gs.models.wrap(lambda x, at: function(at)[:, None] * torch.ones_like(x), VP, label=LABELS[label](VP))


def rippled(label: Tensor) -> Tensor:
    return gamma_of_999t(label).log() + AMPLITUDE * torch.sin(FREQUENCY * label)


def expected_roughness(epsilon: Callable[..., np.ndarray], slope: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """[n, 2] from epsilon(gamma moved to) along the flow's tangent."""
    central = [(epsilon(gamma * np.exp(w)) - epsilon(gamma * np.exp(-w))) / (2 * w) for w in WIDTHS]
    return np.stack([np.abs(d - slope) / np.abs(d) for d in central], axis=1)


def test_a_parabola_in_log_gamma_leaves_each_line_its_own_error():
    found = diagnose(function_of("log_gamma", torch.square), shape=SHAPE, dtype=F64)
    u = np.log(found.gamma)
    change = np.abs(STEP**2 - 2 * u * STEP)
    np.testing.assert_allclose(found.change, change / u**2, rtol=ROUNDING)
    np.testing.assert_allclose(found.with_derivative, STEP**2 / change, rtol=ROUNDING)
    np.testing.assert_allclose(found.with_history, 2 * STEP**2 / change, rtol=ROUNDING)
    np.testing.assert_array_less(found.roughness, ROUNDING)  # a central difference is a parabola's slope


def test_two_gammas_per_step_from_the_first_with_a_history_to_the_last_with_a_step_to_come():
    found = diagnose(function_of("log_gamma", torch.square), shape=SHAPE, nfe=4, dtype=F64)
    last = float(VP.log_gamma(VP.t_end))
    step = (float(VP.log_gamma(VP.t_max)) - last) / 4
    np.testing.assert_allclose(np.log(found.gamma), last + step * np.array([2.5, 2.0, 1.5, 1.0]), rtol=ROUNDING)
    assert (found.nfe, found.step) == (4, pytest.approx(step, rel=ROUNDING))


def test_ripples_in_a_label_of_999_t_are_rough():
    found = diagnose(function_of("999t", rippled), shape=SHAPE, dtype=F64)
    times = VP.time_of_gamma(found.gamma)
    turning = FREQUENCY * 999 * 2 * VP.sigma(times) ** 2 / VP.diffusion_squared(times)
    slope = 1 + AMPLITUDE * turning * np.cos(FREQUENCY * 999 * times)

    def epsilon(gamma: np.ndarray) -> np.ndarray:
        return np.log(gamma) + AMPLITUDE * np.sin(FREQUENCY * 999 * VP.time_of_gamma(gamma))

    # the phase is up to 5e4, so its sine is known to 5e4 times less than ROUNDING
    expected = expected_roughness(epsilon, slope, found.gamma)
    np.testing.assert_allclose(found.roughness, expected, rtol=5e4 * ROUNDING)
    assert not found.usable
    assert found.advice().solver == "ipndm" and found.advice().reason.startswith("rough")


def test_a_power_of_gamma_is_smooth_in_any_label():
    found = diagnose(function_of("999t", lambda label: gamma_of_999t(label) ** -0.2), shape=SHAPE, dtype=F64)
    missed = 0.2 * np.array(WIDTHS) / np.sinh(0.2 * np.array(WIDTHS)) - 1  # of the central difference
    np.testing.assert_allclose(found.roughness, np.tile(np.abs(missed), (16, 1)), rtol=0, atol=ROUNDING)
    assert found.advice().options == {"derivative": "exact", "derivative_below": np.inf}


def test_differences_and_derivative_of_gaussian_data_are_along_the_flow():
    found = diagnose(oracle(GAUSSIAN), shape=SHAPE, dtype=F64)
    g, v = found.gamma, 0.25 + found.gamma**2

    def epsilon(moved: np.ndarray) -> np.ndarray:
        """Of xbar + (moved - gamma) epsilon, over xbar - mean."""
        return moved * (1 + (moved - g) * g / v) / (0.25 + moved**2)

    expected = expected_roughness(epsilon, 0.25 * g / v**2, g)
    # a slope of 0.25 / gamma^2 of epsilon is what rounding is relative to
    np.testing.assert_allclose(found.roughness, expected, rtol=0, atol=ROUNDING * 4 * float(g.max()) ** 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_states_of_gaussian_data_stay_on_the_flow_over_a_step(schedule):
    found = diagnose(oracle(GAUSSIAN, schedule), shape=SHAPE, dtype=F64)

    def epsilon(u: np.ndarray) -> np.ndarray:
        """Of the flow, up to a constant per sample."""
        return np.exp(u) / np.sqrt(0.25 + np.exp(2 * u))

    u = np.log(found.gamma)
    here, ahead, behind = epsilon(u), epsilon(u - found.step), epsilon(u + found.step)
    slope, change = here * 0.25 / (0.25 + found.gamma**2), ahead - here
    off = (found.step / 8) ** 4 / np.abs(change)  # order 4, in steps of an eighth
    assert np.all(np.abs(found.change - np.abs(change) / here) <= off)
    assert np.all(np.abs(found.with_derivative - np.abs(change + found.step * slope) / np.abs(change)) <= off)
    assert np.all(np.abs(found.with_history - np.abs(change + behind - here) / np.abs(change)) <= off)


@pytest.mark.parametrize("prediction", ["x0", "v", "score", "flow"])
def test_what_the_network_predicts_makes_no_difference(prediction):
    found, same = (
        diagnose(oracle(MIXTURE, prediction=p), shape=SHAPE, nfe=4, dtype=F64) for p in (prediction, "epsilon")
    )
    # the loop hands out float32 labels, in each of 80 steps to the states
    np.testing.assert_allclose(found.with_derivative, same.with_derivative, rtol=80 * 2.0**-24)
    np.testing.assert_allclose(found.roughness, same.roughness, rtol=80 * 2.0**-24)


def diagnosis(helps: list[bool], *, rough: bool = False) -> Diagnosis:
    n = len(helps)
    gamma, history = np.geomspace(1.0, 2.0 ** (1 - n), n), np.full(n, 0.7)
    derivative = np.where(helps, 0.5, 0.9)
    roughness = np.full((n, 2), 0.3 if rough else 1e-3)
    return Diagnosis(10, 0.7, gamma, np.full(n, 0.1), roughness, derivative, history)


@pytest.mark.parametrize(
    ("helps", "threshold", "usable"),
    [
        ([True, True, True, True], np.inf, True),
        ([False, True, True, True], 0.5, True),
        ([True, False, True, True], 0.25, True),
        ([True, True, False, True], 0.125, False),
        ([True, True, True, False], 0.0, False),
        ([False, False, False, False], 0.0, False),
    ],
)
def test_the_threshold_is_the_largest_gamma_below_which_the_derivative_always_helps(helps, threshold, usable):
    found = diagnosis(helps)
    assert (found.derivative_below, found.usable) == (threshold, usable)


def test_the_derivative_has_to_beat_a_constant_too():
    found = Diagnosis(10, 0.7, np.ones(1), np.ones(1), np.zeros((1, 2)), np.array([1.2]), np.array([1.5]))
    assert not found.helps.any()


@pytest.mark.parametrize(
    ("found", "solver", "reason"),
    [
        (diagnosis([False, True]), "genie_hermite3", "smooth"),
        (diagnosis([True, True], rough=True), "genie_hermite3", "rough"),
        (diagnosis([False, False]), "ipndm", "smooth"),
        (diagnosis([False, False], rough=True), "ipndm", "rough"),
    ],
    ids=["useful", "useful-but-rough", "smooth-but-useless", "rough"],
)
def test_the_advice_makes_a_plan_and_says_why(found, solver, reason):
    advice = found.advice()
    assert (advice.solver, advice.reason.split()[0]) == (solver, reason)
    assert gs.make_plan(advice.solver, VP, 5, options=advice.options).nfe == 5


def test_an_epsilon_that_never_changes_needs_no_derivative():
    found = diagnose(function_of("log_gamma", torch.ones_like), shape=SHAPE, nfe=3, dtype=F64)
    assert np.isnan(found.with_history).all()
    assert found.derivative_below == 0.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"nfe": 2}, ValueError, "nfe=2: give 3 or more"),
        ({"nfe": 51}, ValueError, "nfe=51: give 50 or fewer"),
        ({"nfe": 4.0}, TypeError, "nfe=4.0: give an integer"),
        ({"model": torch.square}, TypeError, "models.wrap"),
        ({"model": gs.models.wrap(nn.Linear(2, 2).half(), VP)}, ValueError, "torch.float16; load it in float32"),
    ],
    ids=["too-few", "too-many", "float", "function", "half"],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        diagnose(**{"model": oracle(GAUSSIAN), "shape": SHAPE, **arguments})


def test_candidates_are_on_every_grid_with_and_without_the_derivative_below_the_threshold_found():
    chosen = candidates(0.3)
    below = [c.options.get("derivative_below") for c in chosen]
    assert [b for b in below if b is not None] == [b for b in (0.3, 2.0, 10.0, np.inf) for _ in GRIDS]
    assert len(chosen) == len(GRIDS) * (4 + 3) == len({(c.solver, c.grid, str(c.options)) for c in chosen})
    assert len(candidates(0.0)) == len(candidates(np.inf)) == len(GRIDS) * (3 + 3)


def test_the_fine_solution_measured_against_itself_has_no_error():
    (found,) = measure(oracle(MIXTURE), [Candidate("deis_tab3", "karras")], 12, shape=SHAPE, fine_steps=12)
    assert found.rmse == 0.0


def test_the_best_candidate_comes_first_and_is_the_one_that_is_exact():
    seen = []
    line = function_of("log_gamma", torch.positive)  # of which a line from the first evaluation on knows all
    found = measure(line, candidates(), 5, shape=SHAPE, on_result=seen.append)
    assert found == sorted(seen, key=lambda result: result.rmse)
    assert [result.candidate.options["derivative_below"] for result in found[:3]] == [np.inf] * 3


@pytest.fixture
def small_unet(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    diffusers = pytest.importorskip("diffusers")
    diffusers.UNet2DModel(
        sample_size=request.param, in_channels=2, out_channels=2, block_out_channels=(8,), norm_num_groups=2,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), layers_per_block=1,
    ).save_pretrained(tmp_path / "unet")  # fmt: skip
    return tmp_path / "unet"


def test_the_command_diagnoses_the_embedded_network(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    out = tmp_path / "d.png"
    text = run("diagnose", "--nfe", 3, "--count", 1, "--out", out)
    with open(tmp_path / "d.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["gamma", "change", "rough_0.01", "rough_0.1", "derivative", "history"]
    assert [round(float(row["gamma"]), 2) for row in rows] == [1.26, 0.26]
    assert all(float(row["rough_0.01"]) < 0.01 for row in rows)
    assert Image.open(out).format == "PNG"
    assert "\nadvice: " in text and "best at" not in text


@pytest.mark.parametrize("small_unet", [8], indirect=True)
def test_the_command_measures_candidates_on_a_network_of_the_user_s(tmp_path: Path, small_unet: Path) -> None:
    given = (
        "--network",
        small_unet,
        "--schedule",
        "vp_linear",
        "--label",
        "999t",
        "--nfe",
        3,
        "--count",
        1,
        "--fine",
        5,
    )
    text = run("diagnose", *given, "--measure", "--out", tmp_path / "d.png")
    assert text.count(" rmse ") >= len(candidates())
    assert "best at 3 evaluations: " in text and ", grid " in text


@pytest.mark.parametrize("small_unet", [None], indirect=True)
def test_the_command_refuses_a_network_without_a_size(tmp_path: Path, small_unet: Path) -> None:
    text = refused("diagnose", "--network", small_unet, "--out", tmp_path / "d.png")
    assert "no sample_size" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--count", 0), "'--count': 0 is not in the range"),
        (("--nfe", 2), "nfe=2"),
        (("--out", "d.txt"), "d.txt"),
        (("--label", "999t"), "the embedded network has log_gamma"),
        (("--device", "nowhere"), "--device nowhere"),
    ],
)
def test_the_command_names_bad_input(arguments, message, tmp_path, monkeypatch):
    pytest.importorskip("diffusers")
    monkeypatch.chdir(tmp_path)
    assert message in refused("diagnose", *arguments)


def test_a_candidate_that_asks_for_a_head_is_refused_and_not_called_infinite():
    of_a_head = Candidate("genie_hermite3", "karras", {"derivative": "head"})
    with pytest.raises(ValueError, match="give the network a distilled head"):
        measure(oracle(MIXTURE), [of_a_head], 3, shape=SHAPE, fine_steps=3)


def test_a_network_that_fails_stops_the_measurement():
    def network(x: Tensor, at: Tensor) -> Tensor:
        raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        measure(gs.models.wrap(network, VP), [Candidate("ddim", "karras")], 3, shape=SHAPE, fine_steps=3)


def test_a_candidate_whose_state_becomes_infinite_comes_last_and_stops_no_other():
    def network(x: Tensor, at: Tensor) -> Tensor:
        return torch.where(at[:, None] == label_of_one_step, torch.inf, 0.1) * x

    label_of_one_step = float(np.float32(VP.label(grids.GRIDS["quadratic_t"](VP, 3)[1])))
    wrapped = gs.models.wrap(network, VP)
    chosen = [Candidate("ddim", "quadratic_t"), Candidate("ddim", "karras")]
    found = measure(wrapped, chosen, 3, shape=SHAPE, fine_steps=7)
    assert [result.candidate.grid for result in found] == ["karras", "quadratic_t"]
    assert np.isfinite(found[0].rmse) and found[1].rmse == np.inf
