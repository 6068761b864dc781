"""The reference differentiates in both modes; native backends refuse where they would not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch.autograd import forward_ad, gradcheck

import genie_ext
from genie_ext import Noise, fused_step, normal_fill, use_backend
from genie_ext.testing import StepCase, assert_same_bits

F64 = torch.float64
CASE = StepCase(
    state=F64,
    outputs=(F64, F64),
    converted=2,
    history=1,
    draws=(3, F64),
    aux=True,
    aux_out=True,
    batch=2,
    length=2,
    sample_ids=(0, 1),
)
CASES = {
    "plain": CASE,
    "per_sample": replace(CASE, per_sample=True),
    "clamped": replace(CASE, coefficients=(("b1", 0.3), ("b2", 1.5), ("r1", 2))),
    "zeros": replace(CASE, coefficients=(("p1", 0.0), ("Q1.2", 0.0), ("W0.h1", 0.0))),
}
ROW = torch.tensor([0.5, 2.0])


def step_of_tensors(case: StepCase, backend: str | None = None) -> tuple[Any, list[torch.Tensor]]:
    """fused_step of x, outputs, history, the external draw, aux and row, and values for them."""
    given = case.inputs()
    row = given["row"].clone()
    row[row == float("inf")] = 1e6  # a finite difference of inf is NaN
    values = [
        given["x"],
        *given["outputs"],
        *given["history"],
        given["draws"][1],
        given["aux"],
        row,
    ]

    def step(x, output_1, output_2, past, draw, aux, row):
        result = fused_step(
            x,
            [output_1, output_2],
            [past],
            row=row,
            converted=2,
            aux=aux,
            draws=[3, draw],
            noise=given["noise"],
            aux_out=True,
            store=[True, True],
            x_in=F64,
            backend=backend,
        )
        return result.out, result.aux, *result.stored, result.x_in

    return step, values


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradients_and_tangents_equal_finite_differences(case):
    step, values = step_of_tensors(case)
    leaves = [value.clone().requires_grad_() for value in values]
    # not in the row where zeros were put on purpose: around 0 a term comes and goes
    differentiable = leaves if case is not CASES["zeros"] else [*leaves[:-1], leaves[-1].detach()]
    assert gradcheck(step, differentiable, check_forward_ad=True, check_undefined_grad=False)


def test_the_clamp_is_active_where_it_is_tested():
    case = CASES["clamped"]
    y = step_of_tensors(case)[0](*step_of_tensors(case)[1])[2]
    assert bool((y.abs() == 0.3 * 2).any()) and bool((y.abs() < 0.3 * 2).any())


def test_no_gradient_flows_through_a_zero_coefficient():
    step, values = step_of_tensors(CASES["zeros"])
    values[2].fill_(float("nan"))  # Q1.2 is 0, Q2.2 is not
    output_2, row = values[2].requires_grad_(), values[-1].requires_grad_()
    stored = step(*values)[2]
    gradient, row_gradient = torch.autograd.grad(stored.sum(), (output_2, row))
    assert_same_bits(gradient, torch.zeros_like(gradient))
    assert bool(torch.isfinite(row_gradient).all())


def test_func_jvp_equals_the_tangent_of_a_linear_map():
    x, v = torch.ones(2, 3), torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    out, tangent, *_ = torch.func.jvp(lambda x: fused_step(x, row=ROW, converted=0).out, (x,), (v,))
    assert_same_bits(out, 0.5 * x)
    assert_same_bits(tangent, 0.5 * v)


def test_func_grad_of_a_linear_map():
    gradient = torch.func.grad(lambda x: fused_step(x, row=ROW, converted=0).out.sum())
    assert_same_bits(gradient(torch.ones(2, 3)), torch.full((2, 3), 0.5))


def test_func_vmap_maps_over_whole_batches():
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1))
    mapped = torch.func.vmap(lambda x: fused_step(x, row=ROW, converted=0).out)(x)
    assert_same_bits(mapped, 0.5 * x)


def test_the_differentiable_path_has_the_bits_of_the_other_one():
    step, values = step_of_tensors(CASE)
    recorded = step(*(value.clone().requires_grad_() for value in values))
    assert_same_bits(torch.stack(recorded), torch.stack(step(*values)))


ARGUMENTS = ["x", "output_1", "output_2", "past", "draw", "aux", "row"]


@pytest.mark.parametrize("argument", range(7), ids=ARGUMENTS)
def test_a_native_backend_refuses_what_requires_grad(backend, argument):
    step, values = step_of_tensors(CASE, backend)
    values[argument].requires_grad_()
    with pytest.raises(ValueError, match=rf"backend='{backend}' of fused_step does not diff.*no_grad"):
        step(*values)


@pytest.mark.parametrize("argument", range(7), ids=ARGUMENTS)
def test_a_native_backend_refuses_what_carries_a_tangent(backend, argument):
    step, values = step_of_tensors(CASE, backend)
    with forward_ad.dual_level(), torch.no_grad():
        values[argument] = forward_ad.make_dual(values[argument], torch.ones_like(values[argument]))
        with pytest.raises(ValueError, match=r"does not differentiate.*tangent"):
            step(*values)


@pytest.mark.parametrize("transform", ["jvp", "grad", "vmap"])
def test_a_native_backend_refuses_function_transforms(backend, transform):
    def total(x):
        return fused_step(x, row=ROW, converted=0, backend=backend).out.sum()

    x = torch.ones(2, 3)
    calls = {
        "jvp": lambda: torch.func.jvp(total, (x,), (x,)),
        "grad": lambda: torch.func.grad(total)(x),
        "vmap": lambda: torch.func.vmap(total)(x[None]),
    }
    with pytest.raises(ValueError, match="does not differentiate"):
        calls[transform]()


def test_a_native_backend_chosen_by_a_block_refuses_too(backend):
    with use_backend(backend), pytest.raises(ValueError, match="does not differentiate"):
        fused_step(torch.ones(2, 3, requires_grad=True), row=ROW, converted=0)


def test_a_native_backend_chosen_by_the_environment_refuses_too(backend, monkeypatch):
    monkeypatch.setenv("GENIE_EXT_BACKEND", backend)
    with pytest.raises(ValueError, match="does not differentiate"):
        fused_step(torch.ones(2, 3, requires_grad=True), row=ROW, converted=0)


def test_a_native_backend_runs_under_no_grad(backend, device):
    x = torch.ones(2, 3, device=device, requires_grad=True)
    with torch.no_grad():
        out = fused_step(x, row=ROW.to(device), converted=0, backend=backend).out
    assert_same_bits(out, torch.full((2, 3), 0.5))


@pytest.mark.parametrize("target", ["out", "aux_out", "x_in", "nonfinite"])
def test_results_with_gradients_are_not_written_into_given_tensors(target):
    given = torch.zeros(2, dtype=torch.int32) if target == "nonfinite" else torch.zeros(2, 3)
    row = torch.ones(3) if target == "aux_out" else ROW
    x = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match=r"cannot be written into given tensors.*out="):
        fused_step(x, row=row, converted=0, **cast(Any, {target: given}))


@pytest.mark.parametrize("name", ["reference", None])
def test_a_target_that_requires_grad_is_refused(name):
    out = torch.zeros(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match="cannot be written into given tensors"):
        fused_step(torch.ones(2, 3), row=ROW, converted=0, out=out, backend=name)


def test_normal_fill_refuses_a_target_that_requires_grad(backend):
    noise = Noise(torch.tensor([1]), torch.arange(2))
    with pytest.raises(ValueError, match=r"out: requires grad.*no_grad"):
        normal_fill(torch.zeros(2, 3, requires_grad=True), noise=noise, backend=backend)


@pytest.mark.parametrize("op", ["fused_step", "normal_fill"])
def test_overwriting_what_a_backward_pass_needs_is_noticed(backend, device, op):
    weight, x = torch.ones(2, 3, device=device, requires_grad=True), torch.ones(2, 3, device=device)
    noise = Noise(torch.tensor([1], device=device), torch.arange(2, device=device))
    loss = (weight * x).sum()
    write = {
        "fused_step": lambda: fused_step(x, row=ROW.to(device), converted=0, out=x, backend=backend),
        "normal_fill": lambda: normal_fill(x, noise=noise, backend=backend),
    }
    write[op]()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_ops_run_in_inference_mode(backend, device):
    with torch.inference_mode():
        x = torch.ones(2, 3, device=device)
        assert_same_bits(
            genie_ext.fused_step(x, row=ROW.to(device), converted=0, out=x, backend=backend).out,
            torch.full((2, 3), 0.5),
        )
