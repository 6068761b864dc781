"""Models that return the exact derivative: what they return, and the order of the solvers that read it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import genie_samplers as gs
from genie_ext import wants_gradients
from genie_samplers import Plan, genie, grids

from .oracles import MIXTURE, SCHEDULES, STATE, VP, Mixture, oracle

T = VP.time_of_gamma([0.2, 0.7, 2.0, 9.0])
CLASSES = torch.tensor([1, 0, 1, 1])
UNCONDITIONAL = 2
# the condition picks the first two parts of the mixture; "no condition" is all of it
BY_CLASS = {
    0: Mixture((1.0,), MIXTURE.means[2:], MIXTURE.variances[2:]),
    1: Mixture((0.2 / 0.7, 0.5 / 0.7), MIXTURE.means[:2], MIXTURE.variances[:2]),
    UNCONDITIONAL: MIXTURE,
}
SCALE = 2.0


def guided(**options: Any) -> gs.guidance.ClassifierFree:
    return gs.guidance.classifier_free(oracle(BY_CLASS, **options), null={"class_labels": UNCONDITIONAL})


def labels_of(model: Any) -> Tensor:
    return torch.from_numpy(model.label_of(VP)(T))


def derivatives(model: Any, order: int = 2, **cond: Tensor) -> genie.TotalDerivative:
    return genie.total_derivative(model, STATE, torch.from_numpy(T), cond=cond, order=order)


def assert_equal(found: Tensor, wanted: Tensor | None) -> None:
    """Up to roundings: the same formulas on another batch."""
    assert wanted is not None
    assert float((found - wanted).abs().max()) <= 1e-13 * float(wanted.abs().max())


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_outputs_are_the_prediction_and_its_derivatives(prediction):
    model = oracle(MIXTURE, prediction=prediction)
    exact = genie.exact(model, order=2)
    wanted = derivatives(model)
    assert exact.outputs == (prediction, "gamma_d_epsilon", "gamma2_d2_epsilon")
    out, first, second = exact(STATE, labels_of(exact))
    assert torch.equal(out, model(STATE, torch.from_numpy(model.label(T))))
    assert_equal(first, wanted.gamma_d_epsilon)
    assert_equal(second, wanted.gamma2_d2_epsilon)


@pytest.mark.parametrize(("count", "passes"), [(1, 1), (2, 1), (3, 2)])
def test_only_the_outputs_that_are_read_are_computed(count, passes):
    calls, model = [], oracle(MIXTURE)

    def network(x: Tensor, label: Tensor) -> Tensor:
        calls.append(len(x))
        return model(x, label)

    exact = genie.exact(gs.models.wrap(network, VP, label=VP.log_gamma), order=2)
    less = exact.first(count)
    assert less.outputs == ("epsilon", "gamma_d_epsilon", "gamma2_d2_epsilon")[:count]
    assert len(less(STATE, labels_of(less))) == count
    assert len(calls) == passes


def test_a_plan_pays_for_derivatives_where_it_reads_them_only():
    taken, model = [], oracle(MIXTURE)

    def network(x: Tensor, label: Tensor) -> Tensor:
        return torch.nn.functional.softplus(x) * model(x, label)  # has no rule: torch.func.jvp calls it again

    class Called(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.nn.functional.softplus:
                taken.append(wants_gradients(args[0]))
            return func(*args, **(kwargs or {}))

    exact = genie.exact(gs.models.wrap(network, VP, label=VP.log_gamma))
    plan = gs.make_plan("genie_ttm2", VP, 8, options={"derivative": "exact", "derivative_below": 1.0})
    with Called():
        gs.sample(exact, plan, shape=(3, 2), dtype=torch.float64)
    reads = [step.outputs == 2 for step in plan.rows]
    assert 0 < sum(reads) < 8
    assert (taken.count(False), taken.count(True)) == (8, sum(reads))


def test_the_pair_has_derivatives_along_the_flow_of_each():
    model = guided()
    pair = genie.exact(model)
    assert pair.outputs == ("epsilon", "gamma_d_epsilon", "uncond.epsilon", "uncond.gamma_d_epsilon")
    found = pair(STATE, labels_of(pair), class_labels=CLASSES)
    wanted = derivatives(model.conditional, 1, class_labels=CLASSES)
    twins = derivatives(model.conditional, 1, class_labels=torch.full((4,), UNCONDITIONAL))
    assert_equal(found[0], wanted.epsilon)
    assert_equal(found[1], wanted.gamma_d_epsilon)
    assert_equal(found[2], twins.epsilon)
    assert_equal(found[3], twins.gamma_d_epsilon)
    assert pair.first(1).outputs == ("epsilon", "uncond.epsilon")


@pytest.mark.parametrize("prediction", ["epsilon", "x0"])
def test_with_a_scale_it_is_the_derivative_of_the_guided_epsilon(prediction):
    model = guided(prediction=prediction)
    own_label = model.label

    def mixed(x: Tensor, t: Tensor) -> Tensor:
        conditional, unconditional = model(x, t, class_labels=CLASSES)
        return SCALE * conditional + (1.0 - SCALE) * unconditional

    exact = genie.exact(model, order=2, scale=SCALE)
    assert exact.outputs == (prediction, "gamma_d_epsilon", "gamma2_d2_epsilon")
    found = exact(STATE, labels_of(exact), class_labels=CLASSES)
    wanted = derivatives(gs.models.wrap(mixed, VP, prediction=prediction, label=own_label))
    assert_equal(found[1], wanted.gamma_d_epsilon)
    assert_equal(found[2], wanted.gamma2_d2_epsilon)
    assert exact.first(1).outputs == (prediction,)


def test_the_guided_derivative_has_the_cross_term_of_the_published_one():
    # k exact = k mixed - w (1 - w) (J_c - J_u)(eps_c - eps_u), J = d epsilon / d xbar; here w = 2, xbar = x / alpha
    model = guided()
    pair = genie.exact(model)(STATE, labels_of(genie.exact(model)), class_labels=CLASSES)
    exact = genie.exact(model, scale=SCALE)
    found = exact(STATE, labels_of(exact), class_labels=CLASSES)[1]
    label, sigma = torch.from_numpy(VP.log_gamma(T)), torch.from_numpy(VP.sigma(T))[:, None]
    apart = sigma * (pair[0] - pair[2])
    halves = [
        torch.func.jvp(lambda x, c=c: model.conditional(x, label, class_labels=c), (STATE,), (apart,))[1]
        for c in (CLASSES, torch.full((4,), UNCONDITIONAL))
    ]
    mixed = SCALE * pair[1] + (1.0 - SCALE) * pair[3]
    assert_equal(found, mixed - SCALE * (1.0 - SCALE) * (halves[0] - halves[1]))


# on steps from gamma = 1 to 0.3: float32 labels leave errors of 1e-6, the solvers make larger ones
TTM2 = partial(gs.solvers.genie_ttm2, derivative="exact", derivative_below=None)
TTM3 = partial(gs.solvers.genie_ttm3, derivative_below=None)
CONDITION = {"class_labels": CLASSES}


def final(model: Any, solver: Callable[..., Plan], steps: int, cond: dict[str, Tensor], scale: float | None) -> Tensor:
    start, end = model.schedule.time_of_gamma([1.0, 0.3])
    plan = solver(model.schedule, grids.power_t(model.schedule, steps, power=2.0, t_start=start, t_end=end))
    return gs.sample(model, plan if scale is None else plan.guided(scale), state=STATE, cond=cond)


def order_of(
    solver: Callable[..., Plan], model: Any, reference: Any, cond: dict[str, Tensor], scale: float | None = None
) -> float:
    """Observed between 10 and 20 steps, against the plain model's fine solution."""
    exact = final(reference, partial(gs.solvers.deis_rho_rk, tableau="rk4"), 60, cond, SCALE if cond else None)
    coarse, fine = (final(model, solver, steps, cond, scale) - exact for steps in (10, 20))
    return float(torch.log2(coarse.norm() / fine.norm()))


@pytest.mark.parametrize(("solver", "order"), [(gs.solvers.ddim, 1), (TTM2, 2), (TTM3, 3)], ids=["ddim", "2", "3"])
def test_truncated_taylor_methods_have_their_order(solver, order):
    model = oracle(MIXTURE)
    exact = model if order == 1 else genie.exact(model, order=order - 1)
    assert order_of(solver, exact, model, {}) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "vp_linear"])
def test_the_exact_derivative_makes_order_2_on_every_schedule(schedule):
    model = oracle(MIXTURE, schedule)
    assert order_of(TTM2, genie.exact(model), model, {}) == pytest.approx(2.0, abs=0.15)


def test_the_published_combination_of_guided_derivatives_is_of_order_1():
    model = guided()
    assert order_of(TTM2, genie.exact(model), model, CONDITION, SCALE) == pytest.approx(1.0, abs=0.15)


def test_the_derivative_along_the_guided_flow_is_of_order_2():
    model = guided()
    exact = genie.exact(model, scale=SCALE)
    assert order_of(TTM2, exact, model, CONDITION) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"order": 0}, ValueError, "order=0"),
        ({"scale": 2.0}, ValueError, "scale=2.0: the model is not guided"),
        ({"method": "reverse"}, ValueError, "method='reverse'"),
        ({"model": lambda x, t: x}, TypeError, r"model: function; give models.wrap"),
        ({"model": guided(), "scale": "2"}, TypeError, "scale='2'"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        genie.exact(**{"model": oracle(MIXTURE)} | options)


@pytest.mark.parametrize("labels", [np.zeros((3, 2, 2)), np.zeros((2, 4))], ids=["3-D", "too few"])
def test_a_label_of_another_shape_is_refused(labels):
    model = oracle(MIXTURE)

    def network(x: Tensor, t: Tensor) -> Tensor:
        return model(x, t)

    plan = gs.make_plan("ddim", VP, 3)
    wrapped = gs.models.wrap(network, VP, label=lambda times: labels)
    with pytest.raises(ValueError, match=r"model.labels: gave shape .* one label per row, \[rows\] or \[rows, m\]"):
        gs.sample(wrapped, plan, shape=(1, 2))


def test_a_label_vector_with_one_number_missing_is_refused():
    plan = gs.make_plan("ddim", VP, 3)
    wrapped = gs.models.wrap(lambda x, t: x, VP, label=lambda times: np.stack([times, times * np.nan], axis=-1))
    with pytest.raises(ValueError, match=r"row 0 calls the network at time 1.0, where its label is \[ *1. *nan\]"):
        gs.sample(wrapped, plan, shape=(1, 2))
