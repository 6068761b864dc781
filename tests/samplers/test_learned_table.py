"""The numbers of a plan as parameters: they say every multistep plan, and their gradients are those of the samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.calibrate.descent import Descent, DescentOptions
from genie_samplers.calibrate.learned import LearnedTable
from genie_samplers.calibrate.start import start_of
from genie_samplers.calibrate.targets import Targets

from .mixtures import SCHEDULES, SHAPE, guided_pair, model_of

ROUNDING = 1e-9  # 2.2e-16 times the ratio of the largest gamma to the least, 4e4 on edm, and a hundred operations
MULTISTEP = ("ddim", "deis_tab3", "deis_log_ab2", "ipndm", "unipc2", "dpmpp_3m", "flow_ab2", "dpm_solver_2s")


def table_of(solver: str, where: str, nfe: int = 6, **options: object) -> LearnedTable:
    schedule, prediction = SCHEDULES[where]
    start = start_of(gs.make_plan(solver, schedule, nfe, prediction=prediction))
    return LearnedTable(start, **{"history": nfe, **options})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::genie_samplers.solvers.fitness.UnfitWarning")
@pytest.mark.parametrize("where", SCHEDULES)
@pytest.mark.parametrize("solver", MULTISTEP)
def test_untouched_they_make_the_plan_that_they_started_from(solver: str, where: str) -> None:
    table = table_of(solver, where)
    start = table.start.plan
    assert table.plan().allclose(start, rtol=ROUNDING)
    assert table.template().allclose(start, rtol=ROUNDING)
    np.testing.assert_allclose(table.start.weights[..., 0].sum(1), 1.0, rtol=1e-9)


@pytest.mark.parametrize("where", SCHEDULES)
def test_the_differentiable_table_is_that_of_the_template_to_the_bit(where: str) -> None:
    table = table_of("auto", where)
    template = table.template()
    assert np.array_equal(table.table(template).detach().numpy(), template.table)
    if where != "zero_snr":
        guided = template.guided((1.5, 4.0))
        assert np.array_equal(table.table(guided).detach().numpy(), guided.table)


def moved(table: LearnedTable, name: str, place: tuple[int, ...], by: float) -> LearnedTable:
    """The same table after one number was changed."""
    values = {k: v.clone() for k, v in table.state_dict().items()}
    values[name][place] += by
    twin = LearnedTable(table.start, history=table.history, free=table.free)
    twin.load_state_dict(values)
    return twin


@pytest.mark.parametrize("guided", [False, True], ids=["plain", "guided"])
@pytest.mark.parametrize(
    ("name", "place"), [("gaps_moved", (1,)), ("shifts_moved", (2,)), ("weights_moved", (3, 1, 0))]
)
@pytest.mark.parametrize("where", ["vp_linear", "cosine", "flow", "edm"])
def test_gradients_are_those_of_the_samples(where: str, name: str, place: tuple[int, ...], guided: bool) -> None:
    model: gs.models.Model = model_of(where)
    cond: dict[str, object] = {}
    if guided:
        model = guided_pair(where)
    table = table_of("deis_tab2" if where != "flow" else "flow_ab2", where, nfe=4)
    with torch.no_grad():
        table.get_parameter("shifts_moved").add_(0.2)
    targets = Targets.record(
        model, table.start.plan, count=4, shape=SHAPE, seed=3, cond=cond, guidance=2.0 if guided else None, steps=40
    )
    options = DescentOptions(
        steps=1, learning_rate=0.01, warmup_steps=1, decay_fraction=0.5, ema_decay=0.0, batch_size=4, chunk_size=4
    )
    descent = Descent(None, model, table, targets, targets, options)

    def loss(of: LearnedTable) -> Tensor:
        descent.table = of
        return descent._loss(of.template(), range(4)) / 4

    loss(table).backward()
    step = 1e-2  # of units of 0.3: labels are float32, so smaller differences see their rounding
    above, below = (float(loss(moved(table, name, place, by)).detach()) for by in (step, -step))
    gradients = getattr(table, name).grad
    largest = float(gradients.abs().max())
    assert largest > 1e-6
    difference = (above - below) / (2 * step)
    assert float(gradients[place]) == pytest.approx(difference, rel=5e-3, abs=5e-3 * largest)


def test_a_weight_of_zero_has_a_gradient() -> None:
    table = table_of("ddim", "vp_linear", nfe=3)
    assert float(table.row_weights()[2, 0, 0].detach()) == 0.0
    model = model_of("vp_linear")
    targets = Targets.record(model, table.start.plan, count=4, shape=SHAPE, seed=3, steps=40)
    options = DescentOptions(
        steps=1, learning_rate=0.01, warmup_steps=1, decay_fraction=0.5, ema_decay=0.0, batch_size=4, chunk_size=4
    )
    Descent(None, model, table, targets, targets, options).run()
    assert float(table.row_weights()[2, 0, 0].detach()) != 0.0


def test_with_fixed_sums_a_point_mass_stays_exact() -> None:
    table = table_of("deis_tab2", "vp_linear", free=("times", "weights"))
    with torch.no_grad():
        weights, gaps = (table.get_parameter(f"{name}_moved") for name in ("weights", "gaps"))
        weights += 0.3 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(0))
        gaps += 0.3 * torch.randn(gaps.shape, generator=torch.Generator().manual_seed(1))
    plan, schedule = table.plan(), table.start.schedule
    point = 0.7

    def network(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (f(t.double().numpy())[:, None] for f in (schedule.alpha, schedule.sigma))
        return (x - torch.from_numpy(alpha) * point) / torch.from_numpy(sigma)

    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    model = gs.models.wrap(network, schedule, prediction="epsilon", label=lambda t: t)
    made = gs.sample(model, plan, state=x * float(schedule.sigma(schedule.t_max)), dtype=torch.float64, progress=False)
    end = plan.recipe.grid[-1] if plan.recipe else 0.0
    begun = (x * schedule.sigma(schedule.t_max) - schedule.alpha(schedule.t_max) * point) / schedule.sigma(
        schedule.t_max
    )
    torch.testing.assert_close(made, schedule.alpha(end) * point + schedule.sigma(end) * begun, rtol=1e-4, atol=1e-4)


REFUSED: dict[str, tuple[Callable[[], gs.Plan], str]] = {
    "noise": (lambda: gs.make_plan("ddpm", SCHEDULES["vp_linear"][0], 5), "deterministic solver"),
    "stages": (lambda: gs.make_plan("edm_heun", SCHEDULES["vp_linear"][0], 5), "twice at one time"),
    "afs": (lambda: gs.make_plan("genie_ttm2", SCHEDULES["vp_linear"][0], 5, options={"afs": True}), "leave afs out"),
    "guided": (lambda: gs.make_plan("ddim", SCHEDULES["vp_linear"][0], 5).guided(2.0), "without guidance"),
    "encode": (lambda: gs.make_plan("ddim", SCHEDULES["vp_linear"][0], 5, direction="encode"), "encodes"),
    "clip": (lambda: gs.make_plan("ddim", SCHEDULES["vp_linear"][0], 5, clip=1.0), "clamps"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_they_cannot_say_is_refused_with_the_reason(what: str) -> None:
    make, reason = REFUSED[what]
    with pytest.raises(ValueError, match=reason):
        start_of(make())


def test_a_short_history_and_an_unknown_part_are_refused() -> None:
    with pytest.raises(ValueError, match="history=1: deis_tab3 reads more"):
        table_of("deis_tab3", "vp_linear", history=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"free=.*'label'.*times, labels"):
        table_of("ddim", "vp_linear", free=("label",))
