"""Step-scale targets: the defects of steps on fine trajectories, their effect, and how they are drawn from a pool."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import genie_ext
import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.genie.distillation.step_defects import StepDefect, led_steps, step_defects
from genie_samplers.genie.distillation.trajectories import Trajectories, amplification, fine_trajectories, widest
from genie_samplers.genie.heads.features import input_scale, step_features
from genie_samplers.schedules import Schedule
from genie_samplers.uses.reconstruct import decoding_plan

from .heads import SCHEDULE, SCHEDULES, correction_head, data, model, network

pytest.importorskip("diffusers", reason="the network is a diffusers UNet2DModel")

COUNT = 3
C = 2.0
NEW = genie.CorrectionHead(genie.CorrectionConfig.of(network())).eval()
OTHER = correction_head()


every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def plan(solver: str = "genie_hermite3", nfe: int = 4, *, schedule: Schedule = SCHEDULE, **options: Any) -> gs.Plan:
    return gs.make_plan(solver, schedule, nfe, grid="karras", options=options)


def coarser(fine: gs.Plan, stride: int) -> gs.Plan:
    assert fine.recipe is not None
    return gs.solvers.genie_hermite(SCHEDULE, fine.recipe.grid[::stride])


def fine_of(made: gs.Plan, parts: int = 4) -> Trajectories:
    return fine_trajectories(model(schedule=made.schedule), made, data(), COUNT, 0, first=6, parts=parts)


def targets(*plans: gs.Plan, **options: Any) -> genie.StepTargets:
    config = genie.CorrectionConfig.of(model().network)  # type: ignore[arg-type]
    return genie.StepTargets(model(), config, data(), [plans], 8, 0, **{"trajectories": COUNT, **options})


# --- trajectories


@every_schedule
def test_trajectories_start_in_noise_of_the_scale_at_t_max(schedule: Schedule) -> None:
    made = plan(schedule=schedule)
    noise = genie_ext.Noise(torch.tensor([0]), torch.arange(6, 6 + COUNT), 2)
    normals = genie_ext.normal_fill(torch.empty(COUNT, 2, 8, 8), noise=noise)
    expected = normals * float(schedule.sigma(schedule.t_max))
    assert torch.equal(fine_of(made).states[0], expected)


def test_trajectories_are_the_flow_at_the_times_of_the_grid() -> None:
    """From their first states a plan of many more steps passes through the same states."""
    made = plan()
    fine = fine_of(made, parts=12)
    seen = [fine.states[0]]
    assert made.recipe is not None
    times = gs.grids.subdivided(SCHEDULE, made.recipe.grid, 40)
    finer = gs.solvers.deis_tab(SCHEDULE, times, order=3)
    kept: list[torch.Tensor] = []
    gs.sample(model(), finer, state=fine.states[0], cond=fine.cond, on_row=lambda event: kept.append(event.x))
    seen += kept[39::40]
    worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(fine.states, seen, strict=True))
    assert len(fine.states) == 5 and worst < 1e-2


def test_epsilons_are_the_networks_at_the_states() -> None:
    fine = fine_of(plan())
    label = torch.full((COUNT,), fine.labels[2])
    assert torch.equal(fine.epsilons[2], model()(fine.states[2], label, **fine.cond))
    assert fine.labels[2] == float(SCHEDULE.log_gamma(plan().times[2]))


def test_trajectories_belong_to_their_numbers() -> None:
    one, again, other = (fine_trajectories(model(), plan(), data(), 2, 0, first=n) for n in (4, 4, 6))
    assert torch.equal(one.states[-1], again.states[-1]) and not torch.equal(one.states[0], other.states[0])


def test_trajectories_may_be_solved_a_few_at_a_time() -> None:
    together, apart = (
        fine_trajectories(model(), plan(), data(), 3, 0, first=4, parts=4, batch_size=size) for size in (None, 2)
    )
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(together.states, apart.states, strict=True))
    assert all(
        torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(together.epsilons, apart.epsilons, strict=True)
    )
    assert together.labels == apart.labels and len(together.states) == 5


@every_schedule
def test_disturbances_of_normal_data_grow_by_the_ratio_of_deviations(schedule: Schedule) -> None:
    """The flow of N(0, c^2) data is x = sqrt(alpha^2 c^2 + sigma^2) z, solved here with its exact epsilon."""
    times = gs.grids.power_gamma(schedule, 400)

    def rate(t: np.ndarray) -> np.ndarray:
        return schedule.sigma(t) / (schedule.alpha(t) ** 2 * C**2 + schedule.sigma(t) ** 2)

    normal = gs.models.wrap(lambda x, rate: rate[:, None] * x, schedule, label=rate)
    made = gs.solvers.deis_tab(schedule, times, order=3)
    ends = gs.sample(normal, made, state=torch.tensor([[1.0], [2.0]], dtype=torch.float64))
    assert float(ends[1] - ends[0]) == pytest.approx(amplification(schedule, times, C)[0], rel=1e-3)


def test_the_widest_direction_is_the_first_principal_component() -> None:
    images = data().images
    centred = (images - images.mean(0)).flatten(1).double()
    assert widest(images) == pytest.approx(float(torch.linalg.svdvals(centred)[0]) / len(images) ** 0.5, rel=1e-6)


# --- the defects of steps


@pytest.mark.parametrize(
    ("solver", "schedule", "options"),
    [
        ("genie_ttm2", "vp_linear", {}),
        ("genie_hermite3", "vp_linear", {"derivative_below": 5.0}),
        ("genie_hermite", "vp_linear", {"afs": True}),
        ("genie_ttm2", "edm", {"afs": True}),
        ("genie_hermite3", "ve", {"derivative_below": 5.0}),
        ("genie_hermite", "flow", {}),
    ],
    ids=lambda value: "-".join(value) or "all" if isinstance(value, dict) else value,
)
def test_corrected_steps_stay_on_the_trajectory(solver: str, schedule: str, options: dict[str, Any]) -> None:
    """In the loop a model whose correction is the target ends every step on the next fine state."""
    made = plan(solver, schedule=SCHEDULES[schedule], **options)
    fine = fine_of(made)
    found = step_defects(made, fine, 2, C)
    reading = [number for number, row in enumerate(made.rows) if row.outputs > 1]
    answers = dict(zip(reading, found, strict=True))
    asked = iter([number for number, row in enumerate(made.rows) if row.calls])

    def answer(x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
        row = next(asked)
        minus_c1 = -answers[row].correction() if row in answers else torch.zeros_like(x)
        return fine.epsilons[row], minus_c1, torch.zeros_like(x), torch.zeros_like(x)

    states: list[torch.Tensor] = []
    gs.sample(
        answer, made, state=fine.states[0],
        on_row=lambda event: (states.append(event.x), fine.states[event.row + 1])[1],
    )  # fmt: skip
    worst = max(float((states[row] - fine.states[row + 1]).abs().max()) for row in reading)
    assert reading and worst <= 1e-4 * float(fine.states[1].abs().max())


@every_schedule
def test_the_head_learns_from_what_it_will_see_in_the_solver(schedule: Schedule) -> None:
    """x, epsilon, history and step are those that the loop hands it on the same states."""
    made = plan("genie_hermite", values=3, schedule=schedule)
    fine, head = fine_of(made), correction_head()
    seen: list[tuple[torch.Tensor, ...]] = []

    def keep(_: torch.nn.Module, given: tuple[Any, ...]) -> None:
        x, epsilon, history, _, step = given
        history = [*history, *[torch.zeros_like(x)] * (2 - len(history))]
        seen.append(tuple(v.clone() for v in (x, epsilon, step, *history)))

    head.register_forward_pre_hook(keep)
    gs.sample(
        genie.with_head(model(schedule=schedule), head), made, state=fine.states[0], cond=fine.cond,
        on_row=lambda event: fine.states[event.row + 1],
    )  # fmt: skip

    def agree(shown: tuple[torch.Tensor, ...], defect: StepDefect) -> bool:
        history = [torch.stack(v) for v in zip(*(defect.history(sample, 2) for sample in range(COUNT)), strict=True)]
        expected = (defect.scale * defect.x, defect.epsilons[0], defect.features.expand(COUNT, -1), *history)
        return all(torch.allclose(a, b, rtol=1e-4, atol=1e-3) for a, b in zip(shown, expected, strict=True))

    assert [agree(*pair) for pair in zip(seen, step_defects(made, fine, 2, C), strict=True)] == [True] * 4
    assert seen[3][4].any()
    assert 0.5 < float(seen[0][0].std()) < 2.0


def test_a_gain_is_what_a_correction_makes_of_the_last_state() -> None:
    made = plan()
    (*_, first, last) = step_defects(made, fine_of(made), 2, C)
    weights = [row.x.y[1] for row in made.rows]
    assert made.recipe is not None
    grown = amplification(SCHEDULE, np.array(made.recipe.grid[1:]), C)
    assert (first.gain, last.gain) == pytest.approx((weights[2] * grown[2], weights[3]))


@pytest.mark.parametrize("sample", range(COUNT))
def test_the_correction_of_a_trajectory_is_that_among_all(sample: int) -> None:
    defect = step_defects(plan(), fine_of(plan()), 2, C)[2]
    assert torch.equal(defect.correction(sample), defect.correction()[sample])


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_epsilons_are_made_of_other_predictions(prediction: str) -> None:
    fine = fine_trajectories(model(prediction), plan(), data(), COUNT, 0, first=0)
    exact = genie.total_derivative(model(prediction), fine.states[2], plan().times[2], cond=fine.cond).epsilon
    assert torch.allclose(fine.epsilons[2], exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_the_defect_of_a_short_step_is_the_derivative_itself() -> None:
    times = gs.grids.given(SCHEDULE, [0.5, 0.499])
    made = gs.solvers.genie_ttm2(SCHEDULE, times)
    fine = fine_of(made)
    (defect,) = step_defects(made, fine, 2, C)
    exact = genie.total_derivative(model(), defect.x, 0.5, cond=fine.cond).gamma_d_epsilon
    assert float((defect.correction() - exact).norm() / exact.norm()) < 0.1  # a difference quotient of float32


# --- the pool


def test_a_chunk_is_a_function_of_its_number() -> None:
    source = targets(plan(), pool_chunks=2)
    chunks = [source.chunk(number, NEW) for number in (0, 1, 2, 3, 0)]
    assert torch.equal(chunks[0].target, chunks[4].target)
    assert torch.equal(chunks[3].target, targets(plan(), pool_chunks=2).chunk(3, NEW).target)
    assert not torch.equal(chunks[0].target, chunks[1].target) and not torch.equal(chunks[0].target, chunks[2].target)


def test_a_pool_is_kept_for_so_many_chunks_and_then_makes_way_for_a_new_one() -> None:
    source = targets(plan(), pool_chunks=2)
    pools = []
    for number in range(3):
        source.chunk(number, NEW)
        (pool,) = source._pool.values()
        pools.append(pool)
    first, second, third = pools
    assert first is second and first is not third
    assert not torch.equal(first.solved[0].fine.states[0], third.solved[0].fine.states[0])


def test_fine_trajectories_are_far_finer_than_the_defects_of_steps() -> None:
    """Beside ten times as many steps, in what corrections make of the last state."""
    made = plan("genie_hermite3", nfe=6)
    usual, finer = (fine_trajectories(model(), made, data(), COUNT, 0, first=0, parts=n) for n in (None, 120))
    of_usual, of_finer = (
        torch.cat([defect.gain * defect.correction() for defect in step_defects(made, fine, 2, C)])
        for fine in (usual, finer)
    )
    assert float((of_usual - of_finer).norm() / of_finer.norm()) < 0.03


def test_the_features_are_those_of_the_state_and_its_class() -> None:
    source = targets(plan())
    at = source.chunk(0, NEW)
    x, _, _, last, step = at.inputs
    (pool,) = source._pool.values()
    row = next(
        n for n, defect in enumerate([defect for defect, _ in pool.steps]) if torch.equal(defect.features, step[3])
    )
    sample = next(n for n in range(COUNT) if torch.equal(pool.steps[row][0].x[n], x[3]))
    cond = {"class_labels": pool.steps[row][1]["class_labels"][sample : sample + 1]}
    with source.head.captured(source.model.network) as features:
        source.model(x[3:4], step[3:4, 0], **cond)
    assert torch.allclose(last[3:4], features.last, atol=1e-4)


def test_the_expected_loss_is_the_mean_over_plans_of_the_share_left() -> None:
    """Of a head of zeros it is one: sum over rows of chance, weight and squared target."""
    fine = plan(nfe=6)
    source = targets(fine, coarser(fine, 2))
    source.chunk(0, NEW)
    (pool,) = source._pool.values()
    squares = np.array([float(defect.correction().double().square().sum()) / COUNT for defect, _ in pool.steps])
    of_plan = (pool.chance * pool.weight * squares).tolist()
    assert len(of_plan) == 9 and pool.chance.sum() == pytest.approx(1.0)
    assert sum(of_plan[:6]) == pytest.approx(0.5) and sum(of_plan[6:]) == pytest.approx(0.5)
    errors = pool.solved[0].errors
    assert np.array(of_plan[:6]) == pytest.approx(0.5 * errors / errors.sum())


def test_steps_are_drawn_by_the_root_of_their_share() -> None:
    source = replace(targets(plan(nfe=5)), size=4000)
    features = source.chunk(0, NEW).inputs[-1]
    (pool,) = source._pool.values()
    drawn = [int((features == defect.features).all(1).sum()) for defect in [defect for defect, _ in pool.steps]]
    assert drawn == pytest.approx(4000 * pool.chance, abs=1.5)  # strata leave each count within one of its chance
    assert (pool.chance**2 / pool.chance[0] ** 2) == pytest.approx(pool.solved[0].errors / pool.solved[0].errors[0])


# --- the solver's own steps


def reading_rows(made: gs.Plan) -> list[int]:
    return [number for number, row in enumerate(made.rows) if row.outputs > 1]


def unit(state: torch.Tensor, made: gs.Plan, row: int) -> torch.Tensor:
    """The state before a row as the head is given it."""
    return state * torch.from_numpy(input_scale(made.schedule, np.array(made.times)))[row].float()


@torch.no_grad()
@pytest.mark.parametrize(
    ("head", "schedule", "options"),
    [
        (NEW, "vp_linear", {"afs": True}),
        (OTHER, "vp_linear", {"derivative_below": 5.0}),
        (OTHER, "edm", {}),
        (NEW, "ve", {"derivative_below": 5.0}),
        (OTHER, "flow", {"afs": True}),
    ],
    ids=["zero-vp_linear-afs", "other-vp_linear-below", "other-edm-all", "zero-ve-below", "other-flow-afs"],
)
def test_steps_that_a_head_leads_are_those_of_the_loop(
    head: genie.CorrectionHead, schedule: str, options: dict[str, Any]
) -> None:
    made = plan("genie_hermite", values=3, schedule=SCHEDULES[schedule], **options)
    network, fine = model(schedule=made.schedule), fine_of(made)
    states: list[torch.Tensor] = [fine.states[0]]
    gs.sample(
        genie.with_head(network, head), made, state=fine.states[0], cond=fine.cond,
        on_row=lambda event: states.append(event.x),
    )  # fmt: skip
    led = led_steps(network, head, made, fine, torch.arange(COUNT))
    same = [torch.equal(s.x, unit(states[row], made, row)) for s, row in zip(led, reading_rows(made), strict=True)]
    assert all(same)


@torch.no_grad()
@every_schedule
def test_a_head_of_zeros_leads_along_the_plan_s_own_run_from_noise(schedule: Schedule) -> None:
    """From the very noise of the trajectories the network alone takes the same steps."""
    made = plan("genie_hermite", values=3, schedule=schedule)
    fine = fine_of(made)
    assert made.recipe is not None
    alone = gs.solvers.deis_log_ab(schedule, made.recipe.grid, order=2)
    states: list[torch.Tensor] = [fine.states[0]]
    gs.sample(
        model(schedule=schedule), alone, state=fine.states[0], cond=fine.cond,
        on_row=lambda event: states.append(event.x),
    )  # fmt: skip
    led = led_steps(model(schedule=schedule), NEW, made, fine, torch.arange(COUNT))
    assert torch.equal(led[0].x, unit(fine.states[0], made, 0))
    apart = [float((s.x - unit(states[row], made, row)).abs().max()) for row, s in enumerate(led)]
    assert max(apart) <= 1e-4


@torch.no_grad()
def test_a_step_that_is_led_should_end_on_the_fine_trajectory() -> None:
    made, samples = plan("genie_hermite", values=3), torch.tensor([2, 0])
    fine = fine_of(made)
    led = led_steps(model(), OTHER, made, fine, samples)

    def ends_there(number: int) -> bool:
        """By the row's own weights; vp_linear has states of unit size."""
        step, weights = led[number], made.rows[number].x
        reached = weights.x * step.x + weights.y[0] * step.epsilon + weights.y[1] * step.target
        reached = reached + sum(w * v for w, v in zip(weights.history, step.history, strict=True))
        return torch.allclose(reached, fine.states[number + 1][samples], atol=1e-4)

    features = torch.from_numpy(step_features(made, 2)).float()
    assert [ends_there(number) for number in (2, 3)] == [True, True]
    assert torch.equal(torch.stack([step.features[0] for step in led]), features)


def test_after_the_forced_chunks_the_head_leads() -> None:
    source = targets(plan("genie_hermite", values=3), forced_chunks=2)
    drawn, led, led_otherwise = source.chunk(1, NEW), source.chunk(2, NEW), source.chunk(2, OTHER)
    assert torch.equal(drawn.target, targets(plan("genie_hermite", values=3)).chunk(1, OTHER).target)
    assert len(led.x) == 2 * 4 and torch.equal(led.x[:2], led_otherwise.x[:2])
    assert not torch.equal(led.target[2:], led_otherwise.target[2:])


def test_the_loss_of_led_steps_is_in_units_of_what_errors_carried_on_amount_to() -> None:
    """Of the squared deviation, carried on to the last state, after every step."""
    made = plan()
    source = targets(made, forced_chunks=0)
    source.chunk(0, NEW)
    (pool,) = source._pool.values()
    (solved,) = pool.solved
    changes = torch.stack([defect.gain * defect.correction() for defect in solved.defects]).double()
    carried = float(changes.cumsum(0).square().sum()) / COUNT
    at = source.chunk(0, NEW)
    assert at.weight is not None and len(at.weight) == 2 * 4
    expected = np.repeat([defect.gain**2 * 4 / carried for defect in solved.defects], 2)
    assert at.weight.numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (plan(derivative="head"), "give a genie solver's with derivative='correction'"),
        (gs.make_plan("ddim", SCHEDULE, 4), "give a genie solver's with derivative='correction'"),
        (gs.make_plan("genie_hermite3", SCHEDULE, 4, denoise=True), "ends at gamma = 0"),
        (plan(variable="t"), "knows polynomials of epsilon in log gamma"),
        (plan().guided(2.0), "guided, or of another schedule"),
        (gs.make_plan("genie_hermite3", gs.schedules.vp_cosine(), 4), "guided, or of another schedule"),
        (plan(derivative_below=1e-3), "no row reads a correction; give more evaluations"),
        (decoding_plan(plan()), "encodes"),
    ],
    ids=["head", "ddim", "zero", "variable", "guided", "schedule", "below", "encodes"],
)
def test_plans_without_step_targets_are_named(made: gs.Plan, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        targets(made)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[plan(nfe=6), plan(nfe=4)]], "not every k-th of the first one's"),
        ([[coarser(plan(nfe=6), 2), plan(nfe=6)]], "not every k-th of the first one's"),
        ([], "give one or more groups of one or more plans"),
        ([[]], "give one or more groups of one or more plans"),
    ],
    ids=["other grid", "finest last", "none", "empty"],
)
def test_groups_are_of_one_grid_the_finest_first(groups: list[list[gs.Plan]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(targets(plan()), plans=groups)


@pytest.mark.parametrize("name", ["size", "trajectories", "pool_chunks"])
def test_numbers_that_make_no_targets_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0: give 1 or more"):
        replace(targets(plan()), **{name: 0})
