"""The ops in torch.compile: one graph, the same bits, no recompilation for other coefficients."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.library import opcheck

from genie_ext import (
    Noise,
    SpectralFilter,
    fused_step,
    jvp_distill_loss,
    normal_fill,
    spectral_filter,
    sum_of_squares,
)
from genie_ext.testing import LossCase, StepCase, assert_same_bits

F32 = torch.float32
CASE = StepCase(
    outputs=(F32, torch.bfloat16),
    converted=2,
    history=1,
    draws=(3, F32),
    aux=True,
    aux_out=True,
)
GRAPHS = ["eager", "aot_eager"]


def step(given):
    result = fused_step(**given, aux_out=True, store=[True, None], x_in=torch.float16)
    return result.out, result.aux, result.stored[0], result.x_in


def compiled(function, graph):
    """The function compiled from scratch, and the counter of its graphs."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(graph)
    return torch.compile(function, backend=counter, fullgraph=True), counter


@cache
def compiled_results(graph):
    """Of one compilation."""
    fast, _ = compiled(step, graph)
    return fast(CASE.inputs())


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("result", range(4), ids=["out", "aux", "stored", "x_in"])
def test_a_compiled_step_has_the_same_bits(graph, result):
    assert_same_bits(compiled_results(graph)[result], step(CASE.inputs())[result])


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_compiled_step_may_write_in_place(graph):
    def function(x, row):
        fused_step(x, row=row, converted=0, out=x)
        fused_step(x, row=row, converted=0, out=x)
        return x + 1

    x = torch.ones(2, 3)
    fast, _ = compiled(function, graph)
    assert_same_bits(fast(x, torch.tensor([0.5, 1.0])), torch.full((2, 3), 1.25))
    assert_same_bits(x, torch.full((2, 3), 0.25))


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_compiled_fill_has_the_same_bits(graph):
    noise = Noise(torch.tensor([5]), torch.arange(2))

    def function(out):
        return normal_fill(out, noise=noise, draw=3) * 2

    fast, _ = compiled(function, graph)
    assert_same_bits(fast(torch.empty(2, 9)), function(torch.empty(2, 9)))


def test_other_coefficients_do_not_recompile():
    fast, counter = compiled(step, "eager")
    fast(CASE.inputs())
    given = CASE.inputs()
    given["row"] = given["row"] * 2
    assert_same_bits(fast(given)[0], step(given)[0])
    assert counter.frame_count == 1


def test_draw_numbers_recompile_once_at_most():
    fast, counter = compiled(step, "eager")
    first, second, third = ({**CASE.inputs()} for _ in range(3))
    second["draws"] = [4, *second["draws"][1:]]
    third["draws"] = [2**31, *third["draws"][1:]]
    fast(first)
    fast(second)
    assert_same_bits(fast(third)[0], step(third)[0])
    assert counter.frame_count <= 2


@pytest.mark.parametrize("backend_name", ["reference", "cpu"])
def test_the_backend_is_chosen_in_a_graph_too(backend_name):
    def function(x, row):
        return fused_step(x, row=row, converted=0, backend=backend_name).out

    fast, _ = compiled(function, "eager")
    x, row = torch.ones(2, 3), torch.tensor([0.5, 1.0])
    assert_same_bits(fast(x, row), function(x, row))


def test_a_wrong_call_in_a_graph_is_refused():
    fast, _ = compiled(lambda x, row: fused_step(x, row=row, converted=0).out, "eager")
    with pytest.raises(ValueError, match=r"row: shape \(3,\); this layout has 2 columns"):
        fast(torch.ones(2, 3), torch.ones(3))


WRONG = {
    "store_too_long": ({"store": [None, True, True]}, ValueError, "store: 3 entries for converted=2"),
    "store_too_short": ({"store": []}, ValueError, "store: 0 entries for converted=2"),
    "draw_negative": ({"draws": [-1, CASE.inputs()["draws"][1]]}, ValueError, r"draws\[0\]: -1"),
    "draw_too_large": ({"draws": [2**32, CASE.inputs()["draws"][1]]}, ValueError, r"draws\[0\]: 4294967296"),
    "no_noise": ({"noise": None}, ValueError, "noise: missing"),
    "output_none": ({"outputs": [None, None]}, TypeError, r"outputs\[0\]: None"),
    "too_much_history": ({"history": CASE.inputs()["history"] * 17}, ValueError, "history: 17 given"),
}


@pytest.mark.parametrize("mode", ["plain", "compiled"])
@pytest.mark.parametrize("changed, error, message", WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_refused_in_both_modes(mode, changed, error, message):
    torch._dynamo.reset()

    def function(given):
        return fused_step(**given, aux_out=True).out

    run = function if mode == "plain" else torch.compile(function, backend="aot_eager")
    with pytest.raises(error, match=message):
        run(CASE.inputs() | changed)


def test_a_compiled_function_keeps_the_gradient():
    """Without fullgraph: the differentiable path is outside the graph."""
    torch._dynamo.reset()

    def function(x, row):
        return fused_step(2 * x, row=row, converted=0).out.sum()

    x = torch.ones(2, 3, requires_grad=True)
    total = torch.compile(function, backend="eager")(x, torch.tensor([0.5, 1.0]))
    (gradient,) = torch.autograd.grad(total, x)
    assert_same_bits(gradient, torch.ones(2, 3))


def arguments():
    given = CASE.inputs()
    targets = [torch.zeros(CASE.batch, CASE.length) for _ in range(4)]
    noise = given["noise"]
    return (
        given["x"], given["outputs"], given["history"], given["row"], 2, given["aux"], [3, -1],
        given["draws"][1:], noise.seed, noise.sample_ids, noise.stream, *targets, None,
        torch.zeros(CASE.batch, dtype=torch.int32), "cpu",
    )  # fmt: skip


def test_fused_step_is_registered_correctly():
    opcheck(torch.ops.genie_ext.fused_step.default, arguments())


def test_normal_fill_is_registered_correctly():
    out, seed, ids = torch.zeros(2, 5), torch.tensor([1]), torch.arange(2)
    opcheck(torch.ops.genie_ext.normal_fill.default, (out, seed, ids, 1, 3, "cpu"))


IMAGES, FREQUENCY = torch.linspace(-1, 1, 48).view(2, 1, 4, 6), torch.linspace(0.5, 1.5, 24).view(4, 6)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("space", [None, 2 * FREQUENCY], ids=["ones", "given"])
def test_spectral_filter_is_registered_correctly(space, adjoint):
    given = (IMAGES, FREQUENCY, space, "dct", False, None, 0, adjoint, torch.zeros_like(IMAGES), "cpu")
    opcheck(torch.ops.genie_ext.spectral_filter.default, given)


def test_sum_of_squares_is_registered_correctly():
    opcheck(torch.ops.genie_ext.sum_of_squares.default, (IMAGES, torch.zeros(2, dtype=torch.float64), "cpu"))


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_compiled_filter_has_the_same_bits(graph):
    def function(z):
        return spectral_filter(2 * z, FREQUENCY, transform="dft") + 1

    fast, _ = compiled(function, graph)
    assert_same_bits(fast(IMAGES), function(IMAGES))


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_compiled_sum_has_the_same_bits(graph):
    def function(x):
        return sum_of_squares(2 * x).sqrt()

    fast, _ = compiled(function, graph)
    assert_same_bits(fast(IMAGES), function(IMAGES))


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_prepared_filter_in_a_graph_has_the_same_bits(graph):
    filter_ = SpectralFilter(torch.stack([FREQUENCY, FREQUENCY**2])[:, None], 2 * FREQUENCY)
    noise = Noise(torch.tensor([5]), torch.arange(2))

    def function(z):
        drawn = filter_.fill(torch.empty_like(z), noise=noise, draw=3)
        return filter_(2 * z, index=1) + filter_(drawn, adjoint=True)

    fast, _ = compiled(function, graph)
    assert_same_bits(fast(IMAGES), function(IMAGES))


LOSS = LossCase(shape=(2, 1, 1030))


def loss_and_gradient(function):
    maps, target, gamma = LOSS.inputs()
    maps.requires_grad_()
    loss = function(maps, target, gamma)
    return loss.detach(), *torch.autograd.grad(3 * loss.sum(), maps)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_compiled_loss_has_the_same_bits(graph, reduction):
    def function(maps, target, gamma):
        return jvp_distill_loss(maps, target, gamma, reduction=reduction)

    fast, _ = compiled(function, graph)
    loss, gradient = loss_and_gradient(fast)
    expected_loss, expected_gradient = loss_and_gradient(function)
    assert_same_bits(loss, expected_loss)
    assert_same_bits(gradient, expected_gradient)


def test_a_second_derivative_of_a_compiled_loss_is_refused():
    fast, _ = compiled(jvp_distill_loss, "eager")
    maps, target, gamma = LOSS.inputs()
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(fast(maps.requires_grad_(), target, gamma), maps, create_graph=True)


def test_a_wrong_loss_in_a_graph_is_refused():
    fast, _ = compiled(jvp_distill_loss, "eager")
    with pytest.raises(ValueError, match=r"target: shape \(2, 4\); need \(2, 1\)"):
        fast(torch.ones(2, 3), torch.ones(2, 4), torch.ones(2))


@pytest.mark.parametrize("differentiate", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0])], ids=["ones", "given"])
def test_jvp_distill_loss_is_registered_correctly(weights, reduction, differentiate):
    maps, target, gamma = LOSS.inputs()
    given = (maps.requires_grad_(differentiate), target, gamma, weights, reduction, differentiate, "cpu")
    opcheck(torch.ops.genie_ext.jvp_distill_loss.default, given)


def test_eager_calls_do_not_pass_through_the_dispatcher(monkeypatch):
    monkeypatch.setattr(torch.ops.genie_ext, "fused_step", None)
    step(CASE.inputs())
