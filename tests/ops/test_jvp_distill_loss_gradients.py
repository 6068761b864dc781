"""The gradient that the forward pass writes, what scales it, and the derivatives that are refused."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad, gradcheck

from genie_ext import jvp_distill_loss, use_backend
from genie_ext.ops.jvp_distill_loss.autograd import DistillLoss, differentiable_loss
from genie_ext.testing import LossCase, assert_same_bits

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
REDUCTIONS = ["mean", "sum", "none"]
CASE = LossCase(F64, F64, (3, 2, 3))


@pytest.fixture
def given():
    maps, target, gamma = CASE.inputs()
    return maps.requires_grad_(), target, gamma


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighting", ["gamma2", "none"])
def test_the_gradient_equals_finite_differences(backend, device, reduction, weighting):
    maps, target, gamma = LossCase(F64, F64, (2, 1, 3)).inputs(device)  # two runs of the kernel for every number

    def loss(maps):
        return jvp_distill_loss(maps, target, gamma, weighting=weighting, reduction=reduction, backend=backend)

    assert gradcheck(loss, maps.requires_grad_())


@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64], ids=["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_gradient_is_autograds_of_the_reference(backend, device, dtype, reduction):
    maps, target, gamma = LossCase(dtype, dtype, (4, 1, 1500)).inputs(device)
    loss = jvp_distill_loss(maps.requires_grad_(), target, gamma, reduction=reduction, backend=backend)
    (gradient,) = torch.autograd.grad(loss, maps)
    exact = maps.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(differentiable_loss(exact, target.double(), gamma, None, reduction), exact)
    # r: 6 roundings of its terms, slope and product 4 more, then the storage type's own
    epsilon = 2.0**-53 if dtype == F64 else 2.0**-24
    stored = {F16: 2.0**-11, BF16: 2.0**-8}.get(dtype, epsilon)
    largest = 2.0 * (maps.detach().double().abs().amax() * 3 + target.double().abs().amax())
    bound = 10 * epsilon * largest + stored * expected.abs() + (2.0**-25 if dtype == F16 else 0.0)
    assert bool(((gradient.double() - expected).abs() <= bound).all())


@pytest.mark.parametrize("incoming", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_comes_in_multiplies_the_gradient(given, reduction, incoming):
    maps, target, gamma = given
    (once,) = torch.autograd.grad(jvp_distill_loss(*given, reduction=reduction), maps)
    loss = jvp_distill_loss(maps, target, gamma, reduction=reduction)
    assert_same_bits(torch.autograd.grad(incoming * loss, maps)[0], incoming * once)


def test_each_sample_is_multiplied_by_its_own(given):
    incoming = torch.tensor([0.5, 0.0, 3.0], dtype=F64)
    (ones,) = torch.autograd.grad(jvp_distill_loss(*given, reduction="sum"), given[0])
    (gradient,) = torch.autograd.grad(jvp_distill_loss(*given, reduction="none"), given[0], incoming)
    assert_same_bits(gradient, ones * incoming[:, None, None])


@pytest.mark.parametrize("dtype", [F16, BF16], ids=["f16", "bf16"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_scaled_gradient_keeps_its_dtype(dtype, reduction):
    maps, target, gamma = LossCase(dtype, dtype).inputs()
    loss = jvp_distill_loss(maps.requires_grad_(), target, gamma, reduction=reduction)
    assert torch.autograd.grad(2 * loss.sum(), maps)[0].dtype == dtype


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_graph_that_is_kept_gives_the_gradient_again(given, factor):
    loss = factor * jvp_distill_loss(*given)
    first, second = (torch.autograd.grad(loss, given[0], retain_graph=True)[0].clone() for _ in range(2))
    assert_same_bits(second, first)


def test_gradients_of_two_passes_add_up(given):
    maps = given[0]
    loss = jvp_distill_loss(*given)
    loss.backward(retain_graph=True)
    once = maps.grad.clone()
    loss.backward()
    assert_same_bits(maps.grad, 2 * once)


def test_a_graph_that_is_not_kept_is_gone(given):
    loss = jvp_distill_loss(*given)
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_the_gradient_reaches_what_made_the_maps(given):
    weight = torch.ones((), dtype=F64, requires_grad=True)
    maps, target, gamma = given[0].detach(), *given[1:]
    (gradient,) = torch.autograd.grad(jvp_distill_loss(weight * maps, target, gamma), weight)
    (of_maps,) = torch.autograd.grad(jvp_distill_loss(maps.requires_grad_(), target, gamma), maps)
    torch.testing.assert_close(gradient, (of_maps * maps).sum().detach(), rtol=1e-14, atol=0.0)


def test_a_second_derivative_is_refused(given):
    with pytest.raises(RuntimeError, match=r"jvp_distill_loss: create_graph=True.*torch\.func\.grad"):
        torch.autograd.grad(jvp_distill_loss(*given), given[0], create_graph=True)


def test_torch_func_takes_the_second_derivative(given):
    """That of (sum c k - target)^2 by k1 is 2 w: c1 = -1."""
    maps, target, gamma = given

    def first(maps):
        return torch.func.grad(lambda m: jvp_distill_loss(m, target, gamma, reduction="sum"))(maps)[:, :2].sum()

    second = torch.func.grad(first)(maps.detach())[:, :2]
    torch.testing.assert_close(second, torch.full_like(second, 2.0), rtol=1e-14, atol=0.0)


ARGUMENTS = ["target", "gamma", "weighting"]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_requires_grad_is_refused(given, name):
    arguments = {"target": given[1], "gamma": given[2], "weighting": given[2] * 1}
    arguments[name].requires_grad_()
    with pytest.raises(ValueError, match=rf"^{name}: requires grad.*{name}.detach\(\).*backend='reference'"):
        jvp_distill_loss(given[0], **arguments)


def test_the_reference_differentiates_by_every_argument(given):
    maps, target, gamma = given
    leaves = (maps, target.requires_grad_(), gamma.requires_grad_(), (gamma.detach() + 1).requires_grad_())

    def loss(maps, target, gamma, weights):
        return jvp_distill_loss(maps, target, gamma, weighting=weights, reduction="none", backend="reference")

    assert gradcheck(loss, leaves, check_forward_ad=True)


def test_a_tangent_of_maps_is_right(given):
    maps, target, gamma = given
    tangent = maps.detach().square()
    (gradient,) = torch.autograd.grad(jvp_distill_loss(*given), maps)
    found = torch.func.jvp(lambda m: jvp_distill_loss(m, target, gamma), (maps.detach(),), (tangent,))[1]
    torch.testing.assert_close(found, (gradient * tangent).sum(), rtol=1e-13, atol=0.0)


def test_func_grad_is_right(given):
    maps, target, gamma = given
    found = torch.func.grad(lambda m: jvp_distill_loss(m, target, gamma))(maps.detach())
    (gradient,) = torch.autograd.grad(jvp_distill_loss(*given), maps)
    torch.testing.assert_close(found, gradient, rtol=1e-14, atol=1e-14)


def test_a_native_backend_refuses_tangents(backend, given):
    maps, target, gamma = given
    with forward_ad.dual_level(), torch.no_grad():
        dual = forward_ad.make_dual(maps.detach(), torch.ones_like(maps))
        with pytest.raises(ValueError, match=r"does not differentiate.*tangent"):
            jvp_distill_loss(dual, target, gamma, backend=backend)


def test_a_tangent_that_reaches_the_native_function_is_an_error(given):
    maps, target, gamma = given
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match=r"tangent.*'reference'"):
        DistillLoss.apply(forward_ad.make_dual(maps, torch.ones_like(maps)), target, gamma, None, "sum", None)


def test_a_native_backend_refuses_function_transforms(backend, given):
    maps, target, gamma = given
    with use_backend(backend), pytest.raises(ValueError, match="does not differentiate"):
        torch.func.grad(lambda m: jvp_distill_loss(m, target, gamma))(maps.detach())


def test_nothing_is_differentiated_under_no_grad(given):
    with torch.no_grad():
        assert not jvp_distill_loss(*given).requires_grad
