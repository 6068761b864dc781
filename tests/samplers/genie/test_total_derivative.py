"""The total derivative of networks whose epsilon is known in closed form."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext import wants_gradients
from genie_samplers import genie
from genie_samplers.predictions import PREDICTIONS

from .oracles import ALPHAS, GAUSSIAN, LABELS, MIXTURE, SCHEDULES, STATE, Mixture, oracle

GAMMAS = torch.tensor([0.2, 0.7, 2.0, 9.0], dtype=torch.float64)
DATA = {"gaussian": GAUSSIAN, "mixture": MIXTURE}
every_data = pytest.mark.parametrize("data", DATA.values(), ids=DATA)
every_method = pytest.mark.parametrize("method", ["forward", "double_backward", "auto"])


def times_of(schedule: str) -> Tensor:
    return torch.from_numpy(SCHEDULES[schedule].time_of_gamma(GAMMAS.numpy()))


def expected(data: Mixture, schedule: str, x: Tensor = STATE, gamma: Tensor = GAMMAS) -> genie.TotalDerivative:
    xbar, g = x / ALPHAS[schedule](gamma)[:, None], gamma[:, None]
    first, second = data.d_epsilon(xbar, gamma), data.d2_epsilon(xbar, gamma)
    return genie.TotalDerivative(data.epsilon(xbar, gamma), g * first, g**2 * second)


def assert_close(found: Tensor | None, wanted: Tensor | None, *, relative: float = 1e-12) -> None:
    assert found is not None and wanted is not None
    assert float((found - wanted).abs().max()) <= relative * float(wanted.abs().max())


def test_the_closed_form_of_the_mixture_is_that_of_the_gaussian():
    v = 0.25 + GAMMAS[:, None] ** 2
    away = STATE - torch.tensor([0.4, -0.3], dtype=torch.float64)
    assert_close(GAUSSIAN.d_epsilon(STATE, GAMMAS), 0.25 * away / v**2)
    assert_close(GAUSSIAN.d2_epsilon(STATE, GAMMAS), -0.75 * GAMMAS[:, None] * away / v**3)


PAIRS = set(zip(PREDICTIONS * 2, [*SCHEDULES, *SCHEDULES], strict=False))
"""Every prediction and every schedule at least once."""


@every_data
@pytest.mark.parametrize(
    ("prediction", "schedule"),
    [
        pytest.param(*pair, marks=() if pair in PAIRS else pytest.mark.product)
        for pair in itertools.product(PREDICTIONS, SCHEDULES)
    ],
)
def test_both_derivatives_of_every_prediction_and_schedule(data, prediction, schedule):
    model = oracle(data, schedule, prediction=prediction)
    found = genie.total_derivative(model, STATE, times_of(schedule), order=2)
    wanted = expected(data, schedule)
    assert_close(found.epsilon, wanted.epsilon)
    assert_close(found.gamma_d_epsilon, wanted.gamma_d_epsilon)
    assert_close(found.gamma2_d2_epsilon, wanted.gamma2_d2_epsilon)


@pytest.mark.parametrize(
    "data", [MIXTURE, pytest.param(GAUSSIAN, marks=pytest.mark.product)], ids=["mixture", "gaussian"]
)
@every_method
@pytest.mark.parametrize("label", LABELS)
def test_labels_that_are_linear_in_t_or_log_gamma_or_neither(data, method, label):
    model = oracle(data, label=label)
    found = genie.total_derivative(model, STATE, times_of("vp_linear"), order=2, method=method)
    wanted = expected(data, "vp_linear")
    assert_close(found.gamma_d_epsilon, wanted.gamma_d_epsilon)
    # the third's slopes are those of a series of up to 14 terms, each rounded at 4 eps: 14^2 / 0.25^2 in the second one
    assert_close(found.gamma2_d2_epsilon, wanted.gamma2_d2_epsilon, relative=1e-11 if label == "power" else 1e-12)


def test_one_time_serves_the_whole_batch():
    model, t = oracle(MIXTURE), float(times_of("vp_linear")[1])
    found = genie.total_derivative(model, STATE, t)
    wanted = expected(MIXTURE, "vp_linear", gamma=GAMMAS[1].repeat(4))
    assert_close(found.gamma_d_epsilon, wanted.gamma_d_epsilon)
    assert found.gamma2_d2_epsilon is None


def test_a_function_of_epsilon_with_a_schedule_is_a_model():
    wrapped = oracle(MIXTURE, label="999t")
    found = genie.total_derivative(lambda x, t: wrapped(x, t), STATE, times_of("vp_linear"), wrapped.schedule)
    assert_close(found.gamma_d_epsilon, expected(MIXTURE, "vp_linear").gamma_d_epsilon)


def test_conditioning_reaches_the_network():
    model = oracle({0: GAUSSIAN, 1: MIXTURE})
    ones = torch.ones(4, dtype=torch.int64)
    found = genie.total_derivative(model, STATE, times_of("vp_linear"), cond={"class_labels": ones})
    assert_close(found.gamma_d_epsilon, expected(MIXTURE, "vp_linear").gamma_d_epsilon)


def test_nothing_changes_at_gamma_0():
    found = genie.total_derivative(lambda x, t: x * torch.cos(t)[:, None], STATE, 0.0, gs.schedules.vp_linear())
    assert_close(found.epsilon, STATE)
    assert torch.equal(found.gamma_d_epsilon, torch.zeros_like(STATE))


def test_no_graph_is_recorded_without_gradients():
    with torch.no_grad():
        found = genie.total_derivative(oracle(MIXTURE), STATE, times_of("vp_linear"), method="double_backward")
    assert not found.gamma_d_epsilon.requires_grad


@every_method
def test_it_runs_in_inference_mode(method):
    with torch.inference_mode():
        found = genie.total_derivative(oracle(MIXTURE), STATE.clone(), times_of("vp_linear"), method=method)
    assert_close(found.gamma_d_epsilon, expected(MIXTURE, "vp_linear").gamma_d_epsilon)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_rounds_and_no_more(dtype):
    # x and what the network makes of it are rounded to the dtype; eps'' is the condition of eps' in x
    found = genie.total_derivative(oracle(GAUSSIAN), STATE.to(dtype), times_of("vp_linear"))
    wanted = expected(GAUSSIAN, "vp_linear", STATE.to(dtype).double()).gamma_d_epsilon
    assert_close(found.gamma_d_epsilon, wanted, relative=16.0 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(("order", "passes"), [(1, [False]), (2, [False, True])])
def test_the_plain_pass_sees_plain_tensors_and_serves_the_first_derivative(order, passes):
    model, seen = oracle(MIXTURE), []

    def network(x: Tensor, label: Tensor) -> Tensor:
        seen.append(wants_gradients(x))
        return model(x, label)

    genie.total_derivative(network, STATE, 0.5, model.schedule, order=order)
    assert seen == passes


class Checkpoint(torch.autograd.Function):
    """As written by hand in some networks: its backward pass recomputes, and cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sin(3.0 * x)

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            return torch.autograd.grad(torch.sin(3.0 * x), x, gradient.detach())[0]


def checkpointed(x: Tensor, label: Tensor) -> Tensor:
    return Checkpoint.apply(x) + x * torch.cos(label)[:, None]  # type: ignore[no-any-return]


class Sine(torch.autograd.Function):
    """Its backward pass can be differentiated, but it has no forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx, gradient):  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient * torch.cos(ctx.saved_tensors[0])


def backward_only(x: Tensor, label: Tensor) -> Tensor:
    return Sine.apply(x * label[:, None])  # type: ignore[no-any-return]


VP = gs.schedules.vp_linear()


@pytest.mark.parametrize("method", ["double_backward", "auto"])
@pytest.mark.filterwarnings("ignore:model. has no forward-mode")
def test_a_double_backward_that_drops_paths_is_noticed(method):
    with pytest.raises(ValueError, match=r"disagrees with a finite difference.*checkpointing"):
        genie.total_derivative(checkpointed, STATE, 0.5, VP, method=method)


def test_forward_mode_refuses_what_it_cannot_differentiate():
    with pytest.raises(RuntimeError):
        genie.total_derivative(backward_only, STATE, 0.5, VP)


@pytest.mark.parametrize("order", [1, 2])
def test_auto_falls_back_with_a_warning_that_names_the_reason(order):
    with pytest.warns(UserWarning, match=r"no forward-mode derivative \(.*autograd.Function"):
        found = genie.total_derivative(backward_only, STATE, 0.5, VP, order=order, method="auto")
    wanted = genie.total_derivative(lambda x, t: torch.sin(x * t[:, None]), STATE, 0.5, VP, order=2)
    assert_close(found.gamma_d_epsilon, wanted.gamma_d_epsilon)


def test_a_network_that_ignores_its_label_has_a_double_backward():
    found = genie.total_derivative(lambda x, t: torch.sin(x), STATE, 0.5, VP, method="double_backward")
    wanted = genie.total_derivative(lambda x, t: torch.sin(x), STATE, 0.5, VP)
    assert_close(found.gamma_d_epsilon, wanted.gamma_d_epsilon)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"order": 3}, ValueError, "order=3; choose one of 1, 2"),
        ({"method": "reverse"}, ValueError, "method='reverse'; choose one of forward"),
        ({"x": torch.ones(4, dtype=torch.int64)}, TypeError, "x: torch.int64; need a float tensor"),
        ({"x": torch.ones(4)}, ValueError, r"x: shape \(4,\)"),
        ({"t": torch.ones(3)}, ValueError, r"t: shape \(3,\); give one time, or one per sample, \[4\]"),
        ({"t": 2.0}, ValueError, "t=2.0 is outside"),
        ({"model": 5}, TypeError, "model: int is not callable"),
        ({"model": lambda x, t: x}, ValueError, "schedule: missing"),
        ({"schedule": gs.schedules.edm()}, ValueError, "schedule: not the one that the model was wrapped for"),
        ({"model": gs.guidance.classifier_free(oracle(MIXTURE), null={"c": 0})}, ValueError, "model: returns"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    given = {"model": oracle(MIXTURE), "x": STATE, "t": 0.5} | change
    with pytest.raises(error, match=message):
        genie.total_derivative(**given)
