"""Grid calibration: each part against what it claims to compute, the whole on data whose flow is known."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import genie_samplers as gs
from benchmarks.calibrated_grids import with_table
from genie_samplers import Plan, calibrate, grids
from genie_samplers.calibrate import Calibrated, Reference, search
from genie_samplers.calibrate.lattice import lattice
from genie_samplers.calibrate.least_squares import least_squares
from genie_samplers.calibrate.local_error import LocalErrors, factor, is_multistep
from genie_samplers.calibrate.shortest_path import shortest_path
from genie_samplers.cli import main
from genie_samplers.solvers.registry import rebuild
from genie_samplers.uses.reconstruct import GaussianData

from ..plans.problems import DISCRETE, EDM, GOLDEN_MIXTURE, VP, ZERO_SNR
from .fakes import TABLES, thinned

ROOT = Path(__file__).parents[2]
Array = NDArray[np.float64]
Cost = Callable[..., float]

SHAPE = (12, 3)
x64 = torch.float64


class Network:
    """A float64 network of x and t, t itself its label."""

    dtype = x64

    def __init__(self, function: Callable[[torch.Tensor, float], torch.Tensor]) -> None:
        self.function = function

    def label(self, times: Array) -> Array:
        return np.asarray(times)

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.function(x, float(t[0]))


def mixture_model() -> Network:
    """The exact epsilon of the golden mixture."""
    return Network(lambda x, t: torch.from_numpy(GOLDEN_MIXTURE.epsilon(VP, x.numpy(), t)))


def multistep_plan(name: str, grid: Array) -> Plan:
    return rebuild(name, VP, grid, gs.SOLVERS[name].options)


MULTISTEP = sorted(name for name in TABLES if is_multistep(multistep_plan(name, lattice(VP, 6))))


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.record(mixture_model(), VP, shape=SHAPE, seed=1, nodes=12)


@pytest.fixture(scope="module")
def held_out() -> Reference:
    """Latents of another seed, with the exact flow in place of the recorded one."""
    record = Reference.record(mixture_model(), VP, shape=SHAPE, seed=0, nodes=2)
    exact = GOLDEN_MIXTURE.flow(VP, record.states[0].flatten().numpy(), VP.t_max, VP.t_end)
    record.states[-2] = torch.from_numpy(exact).reshape(SHAPE)
    return record


# --- the shortest path


def random_cost(seed: int) -> Cost:
    """A cost for every tuple of nodes, the same at every call."""
    return lambda *nodes: float(np.random.default_rng([seed, *nodes]).uniform())


def cost_of(cost: Cost, path: tuple[int, ...], memory: int) -> float:
    return sum(cost(*path[max(0, end - memory - 1) : end + 1]) for end in range(1, len(path)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("memory", [0, 1, 2, 3])
def test_shortest_path_is_the_best_of_all_paths(memory: int, steps: int, seed: int) -> None:
    cost = random_cost(seed)
    paths = [(0, *inner, 8) for inner in itertools.combinations(range(1, 8), steps - 1)]
    best = min(paths, key=lambda path: cost_of(cost, path, memory))
    path, total = shortest_path(cost, last=8, steps=steps, memory=memory)
    assert path == best
    assert total == pytest.approx(cost_of(cost, best, memory), rel=1e-15 * steps)


def test_every_step_is_priced_once() -> None:
    priced: list[tuple[int, ...]] = []
    shortest_path(lambda *nodes: priced.append(nodes) or 1.0, last=7, steps=4, memory=1)
    assert len(priced) == len(set(priced))


# --- local errors


def errors_of(name: str, reference: Reference) -> LocalErrors:
    states, epsilon = reference.states.double().numpy()[:-1], reference.epsilon.double().numpy()
    return LocalErrors(reference.times[:-1], factor(states, epsilon), lambda grid: multistep_plan(name, grid))


def error_of_a_run(name: str, reference: Reference, nodes: tuple[int, ...]) -> float:
    """Run the engine on the nodes and all after them, recorded outputs and states in place of its own."""
    chain = [*nodes, *range(nodes[-1] + 1, 13)]
    outputs = iter(reference.epsilon[chain])
    reached: list[torch.Tensor] = []

    def put_back(event: gs.RowEvent) -> torch.Tensor:
        reached.append(event.x)
        return reference.states[chain[event.row + 1]].clone()

    model = Network(lambda x, t: next(outputs).clone())
    plan = multistep_plan(name, reference.times[chain])
    gs.sample(model, plan, state=reference.states[0], on_row=put_back, dtype=x64)
    return float((reached[len(nodes) - 2] - reference.states[nodes[-1]]).square().mean().sqrt())


CHAINS = ((0, 12), (0, 5, 12), (0, 3, 5, 12), (0, 2, 4, 7, 12), (0, 3, 5, 8))


@thinned(  # all chains with the highest orders of the families, every other solver with one
    lambda name, nodes: MULTISTEP[name] in ("deis_tab3", "unipc3", "dpmpp_3m") or nodes == name % len(CHAINS),
    name={name: name for name in MULTISTEP},
    nodes={str(nodes): nodes for nodes in CHAINS},
)
def test_local_error_is_that_of_a_run_on_recorded_states_and_outputs(
    name: str, nodes: tuple[int, ...], reference: Reference
) -> None:
    errors = errors_of(name, reference)
    size = np.abs(errors.weights(nodes)) @ np.abs(errors.triangle).max(axis=0)
    assert errors(*nodes) == pytest.approx(error_of_a_run(name, reference, nodes), abs=1e-12 * size)


@pytest.mark.parametrize(
    ("name", "memory", "lookahead"),
    [("ddim", 0, 0), ("deis_tab1", 1, 0), ("deis_tab3", 3, 0), ("ipndm4", 3, 0), ("dpmpp_2m", 1, 1), ("unipc3", 3, 2)],
)
def test_rows_are_built_with_all_the_nodes_that_they_depend_on(
    name: str, memory: int, lookahead: int, reference: Reference
) -> None:
    errors = errors_of(name, reference)
    assert (errors.memory, errors.lookahead) == (memory, lookahead)


def test_history_beyond_the_given_nodes_follows_at_their_distance(reference: Reference) -> None:
    errors = errors_of("deis_tab3", reference)
    assert errors(6, 8, 9, 11) == errors(4, 6, 8, 9, 11) != errors(3, 6, 8, 9, 11)


def test_factor_gives_the_size_of_every_combination() -> None:
    rng = np.random.default_rng(0)
    states, epsilon, weights = rng.normal(size=(4, 5, 7)), rng.normal(size=(3, 5, 7)), rng.normal(size=7)
    direct = np.sqrt(np.mean(np.tensordot(weights, np.concatenate([states, epsilon]), axes=1) ** 2))
    assert np.linalg.norm(factor(states, epsilon) @ weights) == pytest.approx(direct, rel=1e-13)


# --- the lattice and the reference


EVERYWHERE = {"vp_linear": VP, "edm": EDM, "discrete": DISCRETE, "flow": gs.schedules.flow(), "zero_snr": ZERO_SNR}


@pytest.mark.parametrize("schedule", EVERYWHERE.values(), ids=EVERYWHERE.keys())
def test_lattice_falls_from_end_to_end_and_its_nodes_survive_subdivision(schedule: gs.schedules.Schedule) -> None:
    times = lattice(schedule, 20)
    assert (times[0], times[-1], len(times)) == (schedule.t_max, schedule.t_end, 21)
    fine = grids.subdivided(schedule, times, 4)
    assert np.all(np.diff(fine) < 0.0) and np.array_equal(fine[::4], times)


def test_reference_starts_in_the_latents_of_its_seed(reference: Reference) -> None:
    plan = gs.make_plan("deis_tab1", VP, 3)
    from_seed = gs.sample(mixture_model(), plan, shape=SHAPE, seed=1)
    assert torch.equal(gs.sample(mixture_model(), plan, state=reference.latents), from_seed)


def test_reference_is_a_hundred_times_closer_to_the_flow_than_ten_evaluations(reference: Reference) -> None:
    exact = GOLDEN_MIXTURE.flow(VP, reference.states[0].flatten().numpy(), VP.t_max, VP.t_end)
    error = np.sqrt(np.mean((reference.states[-2].flatten().numpy() - exact) ** 2))
    assert error < 0.01 * reference.rmse(gs.make_plan("deis_tab2", VP, 10))


def test_reference_holds_the_network_s_outputs_at_its_nodes(reference: Reference) -> None:
    states = reference.states[:-1].numpy()
    exact = [GOLDEN_MIXTURE.epsilon(VP, x, float(np.float32(t))) for x, t in zip(states, reference.times, strict=False)]
    # x0 and back: two roundings of terms of the size of x / sigma
    rounding = 8 * np.finfo(np.float64).eps * np.abs(states).max() / float(VP.sigma(VP.t_end))
    assert np.abs(reference.epsilon.numpy() - np.stack(exact)).max() <= rounding


# --- least squares


def test_least_squares_solves_a_linear_problem_in_one_step() -> None:
    rng = np.random.default_rng(3)
    matrix, target = rng.normal(size=(9, 3)), rng.normal(size=9)
    start = np.zeros(3)
    found = least_squares(
        lambda u: matrix @ u - target, start, -target, allowed=lambda u: True, evaluations=20
    )  # fmt: skip
    exact = np.linalg.lstsq(matrix, target, rcond=None)[0]
    least = np.sum((matrix @ exact - target) ** 2)
    assert found.residual @ found.residual - least < 1e-3 * (target @ target - least)


def rosenbrock(u: Array) -> Array:
    return np.array([1.0 - u[0], 10.0 * (u[1] - u[0] ** 2)])


def test_least_squares_follows_a_curved_valley() -> None:
    start = np.array([-1.2, 1.0])
    found = least_squares(rosenbrock, start, rosenbrock(start), allowed=lambda u: True, evaluations=80)
    assert np.allclose(found.point, 1.0, atol=0.05)


@pytest.mark.parametrize("budget", [0, 1, 3, 4, 7, 20])
def test_least_squares_keeps_to_its_evaluations_and_never_gets_worse(budget: int) -> None:
    called: list[Array] = []
    start = np.array([-1.2, 1.0])
    found = least_squares(
        lambda u: called.append(u) or rosenbrock(u), start, rosenbrock(start), allowed=lambda u: True,
        evaluations=budget,
    )  # fmt: skip
    assert len(called) == found.evaluations <= budget
    assert np.array_equal(rosenbrock(found.point), found.residual)
    assert found.residual @ found.residual <= rosenbrock(start) @ rosenbrock(start)


def test_least_squares_steps_on_allowed_points_only() -> None:
    start = np.array([-1.2, 1.0])
    found = least_squares(rosenbrock, start, rosenbrock(start), allowed=lambda u: bool(u[0] < 0.5), evaluations=60)
    assert -1.2 < found.point[0] < 0.5


# --- the whole


def grid_of(plan: Plan) -> Array:
    assert plan.recipe is not None
    return np.array(plan.recipe.grid)


@thinned(  # every solver at one of the numbers of evaluations
    lambda solver, nfe: solver % 2 == nfe,
    solver={name: name for name in ("ddim", "deis_tab1", "deis_tab2", "dpmpp_2m")},
    nfe={"4": 4, "5": 5},
)
def test_calibrated_grid_beats_every_standard_grid_from_held_out_starts(
    solver: str, nfe: int, reference: Reference, held_out: Reference
) -> None:
    found = search(reference, solver, nfe)
    standard = [held_out.rmse(gs.make_plan(solver, VP, nfe, grid=name)) for name in gs.grids.GRIDS]
    assert held_out.rmse(found.plan) < min(standard)


@pytest.fixture(scope="module")
def found(reference: Reference) -> Calibrated:
    return search(reference, "deis_tab2", 4)


def test_what_is_found_is_no_worse_than_any_start(found: Calibrated, reference: Reference) -> None:
    assert found.start_rmse.keys() == {*gs.grids.GRIDS, "shortest_path"}
    assert found.rmse == reference.rmse(found.plan) < min(found.start_rmse.values())


def test_found_grid_falls_between_the_schedule_s_ends(found: Calibrated) -> None:
    times = grid_of(found.plan)
    assert (times[0], times[-1], len(times)) == (VP.t_max, VP.t_end, 5)
    assert np.all(np.diff(times) < 0.0)


def test_saved_plan_samples_the_same_bits(found: Calibrated) -> None:
    read = Plan.from_json(found.plan.to_json())
    assert (read.nfe, read.recipe) == (4, found.plan.recipe)
    a, b = (gs.sample(mixture_model(), plan, shape=SHAPE, seed=3) for plan in (read, found.plan))
    assert torch.equal(a, b)


def test_grid_is_record_and_search_in_one(found: Calibrated) -> None:
    again = calibrate.grid(mixture_model(), VP, "deis_tab2", 4, shape=SHAPE, seed=1, nodes=12)
    assert again.plan == found.plan


@pytest.mark.parametrize(("solver", "nfe"), [("edm_heun", 5), ("dpm_solver_2s", 5)])
def test_solvers_of_several_stages_are_refined_without_a_shortest_path(
    solver: str, nfe: int, reference: Reference
) -> None:
    found = search(reference, solver, nfe)
    assert "shortest_path" not in found.starts and found.path_cost is None
    assert found.rmse < min(found.start_rmse.values())
    assert found.plan.nfe == nfe


def test_one_step_has_nothing_to_refine(reference: Reference) -> None:
    found = search(reference, "ddim", 1)
    assert found.runs == len(found.starts)
    assert found.plan == gs.make_plan("ddim", VP, 1)


def test_nodes_too_close_to_move_stay(reference: Reference) -> None:
    found = search(reference, "edm_heun", 401)
    assert found.plan == found.starts[min(found.start_rmse, key=found.start_rmse.__getitem__)]


@pytest.mark.parametrize(
    ("solver", "nfe", "options", "message"),
    [
        ("nothing", 5, {}, "solver='nothing'"),
        ("ddpm", 5, {}, "solver='ddpm' draws noise"),
        ("deis_tab1", 0, {}, "nfe=0"),
        ("deis_rho_heun", 5, {}, "nfe=5"),
        ("deis_tab1", 13, {}, "steps=13; 13 nodes allow 1 to 12"),
        ("deis_tab1", 5, {"runs": -1}, "runs=-1"),
        ("deis_tab1", 5, {"options": {"order": 2}}, "options: order=2"),
    ],
)
def test_search_refuses_what_it_cannot_calibrate(solver, nfe, options, message, reference: Reference) -> None:
    with pytest.raises(ValueError, match=message):
        search(reference, solver, nfe, **options)


def test_the_prediction_is_the_model_s_own() -> None:
    found = calibrate.grid(GaussianData(VP, 0.5, prediction="v"), VP, "ddim", 2, shape=(2, 3), nodes=3, runs=2)
    assert found.plan.outputs == ("v",)


def test_reference_needs_two_nodes() -> None:
    with pytest.raises(ValueError, match="nodes=1: give 2 or more"):
        Reference.record(mixture_model(), VP, shape=SHAPE, nodes=1)


def test_reference_refuses_a_plan_that_ends_elsewhere(reference: Reference) -> None:
    plan = gs.solvers.ddim(VP, [1.0, 0.5])
    with pytest.raises(ValueError, match=r"its last time is 0\.5"):
        reference.rmse(plan)


def test_path_cost_is_that_of_the_path(found: Calibrated) -> None:
    assert found.path_cost is not None and 0.0 < found.path_cost < math.inf


# --- the command, and what the documentation says


def command(*arguments: object) -> Result:
    pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")
    return CliRunner().invoke(main, [str(a) for a in arguments])


TINY = ("--latents", 1, "--check-latents", 1, "--nodes", 2, "--runs", 2, "--nfe", 2)


@pytest.mark.filterwarnings("ignore::genie_samplers.UnfitWarning")  # deis_rho_heun with 2 evaluations
def test_command_writes_a_plan_that_sample_runs(tmp_path: Path) -> None:
    out, picture = tmp_path / "plan.json", tmp_path / "samples.png"
    result = command("calibrate", "grid", "--solver", "ddim,deis_rho_heun", *TINY, "--out", out)
    assert result.exit_code == 0, result.output
    plan = Plan.from_json(out.read_text())
    assert plan.nfe == 2 and f"{out}: " in result.output and "held-out rmse: calibrated" in result.output
    assert command("sample", "--plan", out, "--count", 1, "--out", picture).exit_code == 0
    assert picture.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seed", 3, "--check-seed", 3), "--check-seed 3 is --seed too"),
        (("--latents", 0), "'--latents': 0 is not in the range 1<=x"),
        (("--out", "plan.png"), "plan.png"),
        (("--solver", ","), "Invalid value for '--solver': ','"),
    ],
)
def test_command_refuses_bad_options_before_the_network_runs(arguments: tuple[object, ...], message: str) -> None:
    result = command("calibrate", "grid", *arguments)
    assert result.exit_code in (1, 2) and message in result.output
    assert "fine solution" not in result.output


def test_table_of_the_documentation_is_the_csv_beside_it() -> None:
    page = (ROOT / "docs" / "calibrate.md").read_text(encoding="utf-8")
    with open(ROOT / "docs" / "images" / "calibrate.csv", newline="", encoding="utf-8") as file:
        assert with_table(page, list(csv.DictReader(file))) == page
