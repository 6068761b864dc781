"""calibrate.choose: the plan that is measured best on a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_samplers.calibrate import choose

VP = gs.schedules.vp_linear()
SHAPE = (1, 2, 2)


class Gaussian(nn.Module):
    """The exact noise prediction of N(mean, deviation^2), given gamma."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean))
        self.deviation = nn.Parameter(torch.tensor(deviation))
        self.calls = 0

    def forward(self, x: Tensor, gamma: Tensor) -> Tensor:
        self.calls += 1
        gamma = gamma.reshape(-1, 1, 1, 1)
        alpha = 1.0 / (1.0 + gamma**2).sqrt()
        return gamma / (self.deviation**2 + gamma**2) * (x / alpha - self.mean)


def wrapped(deviation: float = 0.4) -> tuple[Gaussian, gs.models.WrappedModel]:
    network = Gaussian(0.2, deviation).requires_grad_(False)
    return network, gs.models.wrap(network, VP, prediction="epsilon", label=VP.gamma)


def test_the_best_measured_plan_is_chosen_and_beats_the_score_or_ties() -> None:
    _, model = wrapped()
    chosen = choose(model, VP, 6, shape=SHAPE)
    errors = [cell.rmse for cell in chosen.cells]
    assert errors == sorted(errors) and len(errors) >= 12
    assert chosen.cells[0].rmse <= chosen.auto
    assert chosen.plan.nfe == 6 and chosen.plan.note.startswith("measured: ")
    assert chosen.convergence < errors[0]
    assert str(chosen.cells[0].choice) in str(chosen)


def test_it_stays_the_best_on_latents_that_chose_nothing() -> None:
    _, model = wrapped()
    chosen = choose(model, VP, 6, shape=SHAPE)
    result = {
        name: gs.sample(model, plan, shape=(16, *SHAPE), seed=9, progress=False)
        for name, plan in {
            "chosen": chosen.plan,
            "ddim": gs.make_plan("ddim", VP, 6),
            "fine": gs.make_plan("deis_tab3", VP, 150, grid="karras"),
        }.items()
    }
    error = {name: float((x - result["fine"]).square().mean().sqrt()) for name, x in result.items()}
    assert error["chosen"] < 0.5 * error["ddim"]


def test_the_same_network_is_measured_once_and_another_anew() -> None:
    network, model = wrapped(0.3)
    first = choose(model, VP, 5, shape=SHAPE, count=2)
    calls = network.calls
    assert choose(model, VP, 5, shape=SHAPE, count=2) is first
    assert network.calls == calls
    network.deviation.fill_(0.9)
    assert choose(model, VP, 5, shape=SHAPE, count=2) is not first


def test_the_fine_solution_serves_every_number_of_evaluations() -> None:
    network, model = wrapped(0.25)
    choose(model, VP, 5, shape=SHAPE, count=2)
    first, network.calls = network.calls, 0
    choose(model, VP, 4, shape=SHAPE, count=2)
    assert first - network.calls > 200  # its steps, and those of the coarser one


def test_the_winner_is_measured_on_all_latents() -> None:
    """One sample in five is of other data, which two or eight latents may miss."""
    network = Gaussian(0.2, 0.4).requires_grad_(False)
    model = gs.models.wrap(
        network, VP, prediction="epsilon", label=VP.gamma, call=lambda net, x, t, size: net(x / size, t) / size
    )
    sizes = torch.tensor([1.0, 1.0, 1.0, 1.0, 3.0] * 4).reshape(-1, 1, 1, 1)
    chosen = choose(model, VP, 5, shape=SHAPE, count=20, cond={"size": sizes})
    fine = gs.sample(
        model, gs.make_plan("deis_tab3", VP, 120, grid="karras"), shape=(20, *SHAPE), seed=1, cond={"size": sizes},
        progress=False,
    )  # fmt: skip
    x = gs.sample(model, chosen.plan, shape=(20, *SHAPE), seed=1, cond={"size": sizes}, progress=False)
    assert float((x - fine).square().mean().sqrt()) == pytest.approx(chosen.cells[0].rmse, rel=1e-3)


def test_another_label_of_the_same_network_is_measured_anew() -> None:
    network, model = wrapped(0.3)
    first = choose(model, VP, 5, shape=SHAPE, count=2)
    other = gs.models.wrap(network, VP, prediction="epsilon", label=lambda t: 0.5 * VP.gamma(t))
    assert choose(other, VP, 5, shape=SHAPE, count=2).cells[0].rmse != first.cells[0].rmse


def test_conditioning_in_lists_of_large_tensors_is_told_apart() -> None:
    network = Gaussian(0.2, 0.4).requires_grad_(False)
    model = gs.models.wrap(
        network, VP, prediction="epsilon", label=VP.gamma,
        call=lambda net, x, t, c: net(x, t) + c[0].mean(1).reshape(-1, 1, 1, 1),
    )  # fmt: skip
    first, second = torch.zeros(2, 3000), torch.zeros(2, 3000)
    second[:, 1500] = 300.0  # printed alike
    results = [choose(model, VP, 5, shape=SHAPE, count=2, cond={"c": [value]}) for value in (first, second)]
    assert results[0] is not results[1]


def test_a_flow_network_is_measured_to_its_clean_end() -> None:
    flow = gs.schedules.flow()

    def network(x: Tensor, t: Tensor) -> Tensor:
        t = t.reshape(-1, 1, 1, 1).double() / 1000.0
        variance = 0.16 * (1.0 - t) ** 2 + t**2
        away = x.double() - (1.0 - t) * 0.2
        return (t / variance * away - 0.2 - 0.16 * (1.0 - t) / variance * away).to(x)

    chosen = choose(gs.models.wrap(network, flow, prediction="flow"), flow, 6, shape=SHAPE)
    assert chosen.plan.recipe is not None and chosen.plan.recipe.grid[-1] == 0.0
    assert np.isfinite(chosen.cells[0].rmse) and chosen.cells[0].rmse < 0.02


def test_a_network_that_runs_away_is_named() -> None:
    with pytest.raises(gs.NonFiniteError):
        choose(gs.models.wrap(lambda x, t: x * torch.inf, VP, prediction="epsilon"), VP, 5, shape=SHAPE)
