"""Rows that read only the first outputs of a model that returns several."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.plan import Combination, Conversion, Init, Row

SCHEDULE = gs.schedules.vp_linear()
NAMES = ("epsilon", "gamma_d_epsilon")


class Model(gs.models.Model):
    """Returns 1, 2, ... times x; ``asked`` collects how many outputs every call was for."""

    outputs: tuple[str, ...]
    schedule = SCHEDULE

    def __init__(self, outputs: tuple[str, ...] = NAMES, asked: list[int] | None = None) -> None:
        self.outputs, self.asked = outputs, [] if asked is None else asked

    def first(self, count: int) -> Model:
        return Model(self.outputs[:count], self.asked)

    def __call__(self, x: Tensor, t: Tensor, **cond: Tensor) -> tuple[Tensor, ...]:
        self.asked.append(len(self.outputs))
        return tuple((place + 1) * x + sum(c.reshape(-1, 1) for c in cond.values()) for place in range(len(NAMES)))[
            : len(self.outputs)
        ]


def all_of(model: Model) -> Any:
    """The same model without ``first``."""
    return lambda x, t, **cond: model(x, t, **cond)


def plan() -> Plan:
    """A row that reads both outputs and one that reads the first."""
    steps = (
        Row(1.0, Combination(y=(1.0, 0.5)), converted=(Conversion(0.0, (1.0, 0.0)), Conversion(0.0, (0.0, 1.0)))),
        Row(0.5, Combination(y=(3.0,)), converted=(Conversion(0.0, (1.0, 0.0)),)),
    )
    recipe = gs.make_plan("ddim", SCHEDULE, nfe=2).recipe
    return Plan(Init(1.0), NAMES, "epsilon", steps, recipe)


def test_a_model_is_asked_only_for_the_outputs_that_the_row_reads() -> None:
    model = Model()
    x = gs.sample(model, plan(), state=torch.ones(1, 1))
    assert model.asked == [2, 1]
    assert x.tolist() == [[(1.0 + 0.5 * 2.0) * 3.0]]


def test_a_model_without_first_is_asked_for_everything() -> None:
    model = Model()
    x = gs.sample(all_of(model), plan(), state=torch.ones(1, 1))
    assert model.asked == [2, 2]
    assert torch.equal(x, gs.sample(Model(), plan(), state=torch.ones(1, 1)))


def test_a_layer_that_is_called_first_is_no_such_method() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Identity()

        def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            return x.clone(), 2 * x

    assert gs.sample(Network(), plan(), state=torch.ones(1, 1)).tolist() == [[6.0]]


@pytest.mark.parametrize("count", [1, 3])
def test_a_guided_pair_is_asked_for_the_first_outputs_of_each_half(count: int) -> None:
    model = Model()
    guided = gs.guidance.classifier_free(model, null={"c": 0.0})
    x = gs.sample(guided, plan().guided(2.0), state=torch.ones(count, 1), cond={"c": torch.ones(count)})
    first = 2.0 * (1.0 + 1.0) - 1.0 + 0.5 * (2.0 * (2.0 + 1.0) - 2.0)  # conditional outputs x + 1, 2x + 1; null x, 2x
    assert model.asked == [2, 1]
    assert x.tolist() == [[3.0 * (2.0 * (first + 1.0) - first)]] * count


def test_a_plan_that_reads_a_derivative_names_its_sources() -> None:
    network = gs.models.wrap(lambda x, t: x, SCHEDULE)
    with pytest.raises(ValueError, match=r"genie-samplers distill.*derivative='exact'.*deis_tab"):
        gs.sample(network, plan(), shape=(1, 1))


def test_a_bare_function_that_lacks_the_derivative_hears_of_its_sources() -> None:
    with pytest.raises(ValueError, match=r"returned 1 outputs in row 0.*genie-samplers distill.*derivative='exact'"):
        gs.sample(lambda x, t: 0.5 * x, plan(), shape=(1, 1))


def test_a_plan_of_fewer_outputs_runs_the_first_of_a_model() -> None:
    model = Model()
    ddim = gs.make_plan("ddim", SCHEDULE, nfe=2)
    x = gs.sample(model, ddim, state=torch.ones(1, 1))
    assert model.asked == [1, 1]
    assert torch.equal(x, gs.sample(lambda x, t: x, ddim, state=torch.ones(1, 1)))


def test_a_guided_plan_of_fewer_outputs_runs_the_first_of_each_half() -> None:
    model = Model()
    guided = gs.guidance.classifier_free(model, null={"c": 0.0})
    plan = gs.make_plan("ddim", SCHEDULE, nfe=2).guided(2.0)
    gs.sample(guided, plan, state=torch.ones(1, 1), cond={"c": torch.ones(1)})
    assert model.asked == [1, 1]


@pytest.mark.parametrize("names", [("x0", "gamma_d_epsilon"), ("epsilon", "k1", "uncond.epsilon", "uncond.k1")])
def test_a_model_whose_first_outputs_are_others_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="but the model returns"):
        gs.sample(Model(outputs=names), gs.make_plan("ddim", SCHEDULE, nfe=2), state=torch.ones(1, 1))
