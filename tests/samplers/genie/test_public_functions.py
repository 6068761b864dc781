"""Forward mode through what users may put into one: the right tangent, or an error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import genie_samplers as gs
from genie_samplers import genie

from .differences import assert_first
from .oracles import MIXTURE, STATE, VP, oracle

DIRECTION = torch.tensor([[0.3, 1.0], [-0.5, 0.2], [1.0, -0.4], [0.1, 0.6]], dtype=torch.float64)
LABEL = torch.tensor([0.2, -0.4, 0.9, -1.3], dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 1, 0])
GUIDED = gs.guidance.classifier_free(oracle({0: MIXTURE, 1: MIXTURE, 2: MIXTURE}), null={"class_labels": 2})
EXACT = genie.exact(oracle(MIXTURE))
COLUMNS = torch.from_numpy(EXACT.label_of(VP)(VP.time_of_gamma(torch.exp(LABEL).numpy())))
PLAN = gs.make_plan("ddim", VP, 3)

FUNCTIONS = {
    "a wrapped model": lambda x: oracle(MIXTURE, prediction="v")(x, LABEL),
    "a guided pair": lambda x: torch.stack(GUIDED(x, LABEL, class_labels=CLASSES)),
    "an exact model": lambda x: torch.stack(EXACT(x, COLUMNS)),
    "total_derivative": lambda x: genie.total_derivative(oracle(MIXTURE), x, 0.4).gamma_d_epsilon,
    "interpolate": lambda x: gs.interpolate(x, x.flip(0) + 1.0, 3),
    "slerp_grid": lambda x: gs.slerp_grid(x, 2, 3),
}
SAMPLERS = {
    "sample": lambda x: gs.sample(oracle(MIXTURE), PLAN, state=x),
    "encode": lambda x: gs.encode(oracle(MIXTURE), gs.make_plan("ddim", VP, 3, direction="encode"), state=x),
    "rk45": lambda x: gs.rk45(oracle(MIXTURE), VP, state=x).x,
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_tangent_equals_a_finite_difference(function):
    found = torch.func.jvp(function, (STATE,), (DIRECTION,))[1]
    assert_first(lambda tau: function(STATE + tau * DIRECTION), found, 1e-4)


@pytest.mark.parametrize("function", SAMPLERS.values(), ids=SAMPLERS)
def test_samplers_refuse_a_transform(function):
    with pytest.raises(ValueError, match=r"state: .* carries a tangent or is inside a torch.func transform"):
        torch.func.jvp(function, (STATE,), (DIRECTION,))


@pytest.mark.parametrize("function", SAMPLERS.values(), ids=SAMPLERS)
def test_samplers_refuse_a_dual_number(function):
    with forward_ad.dual_level(), pytest.raises(ValueError, match="state: requires grad, carries a tangent"):
        function(forward_ad.make_dual(STATE, DIRECTION))


def test_samplers_refuse_conditioning_that_carries_a_tangent():
    def network(x: Tensor, label: Tensor, shift: Tensor) -> Tensor:
        return x + shift

    model = gs.models.wrap(network, VP)
    with forward_ad.dual_level(), pytest.raises(ValueError, match=r"outputs\[0\]: requires grad or carries a tangent"):
        cond = {"shift": forward_ad.make_dual(STATE, DIRECTION)}
        gs.sample(model, PLAN, state=STATE.clone(), cond=cond)
