"""models.wrap: networks of other libraries as the engine wants them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import predictions

from .fakes import SCHEDULE, solver_plan


class Net(nn.Module):
    """Returns 0.5 x in the shape that ``form`` makes of it, and remembers its arguments."""

    def __init__(self, form: Any = lambda y: y, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5, dtype=dtype))
        self.form = form
        self.seen: list[tuple[Tensor, Tensor, dict[str, Any]]] = []

    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Any:
        self.seen.append((x, t, cond))
        return self.form(self.weight * x)


FORMS = {
    "tensor": lambda y: y,
    "diffusers output": lambda y: SimpleNamespace(sample=y),
    "tuple": lambda y: (y, "state"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_network_may_return_a_tensor_a_diffusers_output_or_a_tuple(form: Any) -> None:
    model = gs.models.wrap(Net(form), SCHEDULE)
    x = gs.sample(model, solver_plan("deis_tab1"), shape=(2, 3))
    assert_same_bits(x, gs.sample(lambda x, t: 0.5 * x, solver_plan("deis_tab1"), shape=(2, 3)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_and_device_are_those_of_the_parameters(dtype: torch.dtype) -> None:
    net = Net(dtype=dtype)
    model = gs.models.wrap(net, SCHEDULE)
    assert (model.dtype, model.device) == (dtype, torch.device("cpu"))
    assert gs.models.wrap(Net().to("meta"), SCHEDULE).device == torch.device("meta")
    gs.sample(model, solver_plan("ddim", 2), shape=(1, 2))
    assert {x.dtype for x, _, _ in net.seen[-2:]} == {dtype}


def test_dtype_follows_a_network_that_is_moved_after_wrapping() -> None:
    net = Net()
    model = gs.models.wrap(net, SCHEDULE)
    net.double()
    assert model.dtype == torch.float64
    assert gs.sample(model, solver_plan("ddim", 2), shape=(1, 2)).isfinite().all()


@pytest.mark.parametrize(("network", "schedule"), [(3, SCHEDULE), (Net(), "vp_linear")], ids=["network", "schedule"])
def test_what_cannot_be_wrapped_is_named(network: Any, schedule: Any) -> None:
    with pytest.raises(TypeError, match=r"network: int is not callable|schedule='vp_linear': give a Schedule"):
        gs.models.wrap(network, schedule)


@pytest.mark.parametrize("network", [nn.Identity(), lambda x, t: x], ids=["module", "function"])
def test_a_network_without_parameters_asks_for_no_dtype_and_no_device(network: Any) -> None:
    model = gs.models.wrap(network, SCHEDULE)
    assert (model.dtype, model.device) == (None, None)


def test_a_function_gets_the_dtype_of_the_state() -> None:
    seen: list[Tensor] = []
    model = gs.models.wrap(lambda x, t: seen.append(x) or 0.5 * x, SCHEDULE)
    gs.sample(model, solver_plan("ddim", 1), state=torch.ones(1, 2, dtype=torch.float64))
    assert [x.dtype for x in seen] == [torch.float64]


def test_the_label_is_the_schedules_unless_given() -> None:
    net, own = Net(), Net()
    gs.sample(gs.models.wrap(net, SCHEDULE), solver_plan("ddim", 2), shape=(1, 2))
    gs.sample(
        gs.models.wrap(own, SCHEDULE, label=SCHEDULE.log_gamma),
        solver_plan("ddim", 2),
        shape=(1, 2),
    )
    times = list(solver_plan("ddim", 2).times)
    assert [t.item() for _, t, _ in net.seen] == pytest.approx([999.0 * t for t in times], rel=2.0**-24)
    assert [t.item() for _, t, _ in own.seen] == pytest.approx(list(SCHEDULE.log_gamma(times)), rel=2.0**-24)


@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
def test_the_prediction_must_be_the_plans(prediction: str) -> None:
    model = gs.models.wrap(Net(), SCHEDULE, prediction=prediction)
    assert gs.sample(model, solver_plan("ddim", 2, prediction=prediction), shape=(1, 2)).shape == (
        1,
        2,
    )
    other = "epsilon" if prediction != "epsilon" else "v"
    with pytest.raises(ValueError, match=rf"plan: reads \('{other}',\), but the model returns \('{prediction}',\)"):
        gs.sample(model, solver_plan("ddim", 2, prediction=other), shape=(1, 2))


def test_an_unknown_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction='noise'; choose one of epsilon, x0, v, score, flow"):
        gs.models.wrap(Net(), SCHEDULE, prediction="noise")


def test_defaults_stand_in_for_missing_conditioning() -> None:
    net = Net()
    text = torch.ones(4)
    model = gs.models.wrap(net, SCHEDULE, defaults={"label": 10, "weight": 0.5, "flag": True, "text": text})
    model(torch.ones(3, 2), torch.ones(3), weight=torch.zeros(3))
    cond = net.seen[0][2]
    assert (cond["label"].tolist(), cond["label"].dtype) == ([10, 10, 10], torch.int64)
    assert cond["weight"].tolist() == [0.0, 0.0, 0.0]
    assert cond["flag"] is True
    assert cond["text"] is text


def test_a_fractional_default_is_one_float_per_sample() -> None:
    net = Net()
    gs.models.wrap(net, SCHEDULE, defaults={"weight": 0.5})(torch.ones(2, 2), torch.ones(2))
    assert torch.equal(net.seen[0][2]["weight"], torch.tensor([0.5, 0.5]))
