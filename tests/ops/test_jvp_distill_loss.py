"""jvp_distill_loss: GENIE's formula, the same bits everywhere, a sum in a fixed order."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from genie_ext import jvp_distill_loss
from genie_ext.ops.jvp_distill_loss import WEIGHTINGS
from genie_ext.ops.tree_sum import tree_sum
from genie_ext.testing import BY_DTYPE, LossCase, assert_loss_agrees, assert_same_bits, run_loss

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
ROUNDOFF = {F32: 2.0**-24, F64: 2.0**-53}
LENGTHS = [1, 2, 3, 127, 1023, 1024, 1025, 3072, 4099]
by_dtype = pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])


def squared_errors(maps, target, gamma):
    """(k - d eps/d gamma)^2 [B, C, ...] in float64, k as the paper mixes it, and the size of its rounded terms."""
    gamma = gamma.double().view(-1, *(1,) * (maps.ndim - 1))
    k1, k2, k3 = maps.double().chunk(3, 1)
    terms = torch.stack([-k1 / gamma, k2 * gamma / (1 + gamma**2), k3 / (gamma * (1 + gamma**2)), -target / gamma])
    return terms.sum(0) ** 2, terms.abs().sum(0)


def per_sample(values):
    return values.flatten(1).sum(1)


@by_dtype
@pytest.mark.parametrize("length", LENGTHS)
def test_the_loss_is_the_papers(dtype, length):
    case = LossCase(dtype, dtype, (3, 2, length))
    maps, target, gamma = case.inputs()
    losses = jvp_distill_loss(maps, target, gamma, reduction="none")
    errors, sizes = squared_errors(maps, target, gamma)
    # r is off by at most 6 roundings of its terms, its square by 12; then that of the square, the tree, the weight
    roundings = 12 + 3 + math.ceil(math.log2(2 * length))
    bound = 1.01 * roundings * ROUNDOFF[dtype] * gamma**2 * per_sample(sizes**2)
    assert bool(((losses.double() - gamma**2 * per_sample(errors)).abs() <= bound).all())


WEIGHTS = {
    "gamma2": lambda gamma: gamma**2,
    "none": lambda gamma: torch.ones_like(gamma),
    "min_snr": lambda gamma: torch.minimum(torch.ones_like(gamma), 5 * gamma**2),
    "snr_plus_one": lambda gamma: 1 + gamma**2,
    "one_plus_gamma2": lambda gamma: gamma**2 + gamma**4,
}


def test_every_weighting_is_tested():
    assert WEIGHTS.keys() == WEIGHTINGS.keys()


@pytest.mark.parametrize("name", WEIGHTS)
def test_weightings_of_the_squared_error_of_k(name):
    maps, target, gamma = LossCase(F64, F64).inputs()
    losses = jvp_distill_loss(maps, target, gamma, weighting=name, reduction="none")
    expected = WEIGHTS[name](gamma) * per_sample(squared_errors(maps, target, gamma)[0])
    torch.testing.assert_close(losses, expected, rtol=1e-11, atol=0.0)


def test_weights_may_be_given_per_sample():
    maps, target, gamma = LossCase().inputs()
    given = jvp_distill_loss(maps, target, gamma, weighting=gamma**-2, reduction="none")
    assert_same_bits(given, jvp_distill_loss(maps, target, gamma, weighting="none", reduction="none"))


@pytest.mark.parametrize("share, reduction", [(1.0, "sum"), (0.25, "mean")])
def test_reductions_are_of_the_losses(share, reduction):
    maps, target, gamma = LossCase(shape=(4, 1, 127)).inputs()
    losses = jvp_distill_loss(maps, target, gamma, reduction="none")
    assert_same_bits(jvp_distill_loss(maps, target, gamma, reduction=reduction), share * tree_sum(losses))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", **BY_DTYPE)
def test_every_backend_has_the_bits_of_the_reference(backend, device, dtype, length):
    assert_loss_agrees(LossCase(dtype, dtype, (3, 1, length)), backend, device)


@pytest.mark.parametrize("target", **BY_DTYPE)
@pytest.mark.parametrize("maps", **BY_DTYPE)
def test_maps_and_target_may_differ_in_dtype(backend, device, maps, target):
    written = assert_loss_agrees(LossCase(maps, target, (2, 2, 5, 7)), backend, device)
    compute = F64 if F64 in (maps, target) else F32
    assert (written["losses"].dtype, written["gradient"].dtype) == (compute, maps)


@pytest.mark.parametrize("dtype", **BY_DTYPE)
@pytest.mark.parametrize("start, gap", [(1, 0), (0, 1), (1, 3), (4, 4)])
def test_unaligned_samples_with_gaps(backend, device, dtype, start, gap):
    assert_loss_agrees(LossCase(dtype, dtype, (3, 1, 1028), start=start, gap=gap), backend, device)


@pytest.mark.parametrize("dtype", [F16, F32, F64], ids=["f16", "f32", "f64"])
def test_a_loss_without_gradient_has_the_same_bits(backend, device, dtype):
    case = LossCase(dtype, dtype, (3, 1, 1500))
    alone = run_loss(replace(case, differentiate=False), backend, device)
    together = run_loss(case, backend, device)
    assert alone.keys() == {"losses", "total"}
    assert_same_bits(alone["losses"], together["losses"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e38, 1e-42])
def test_extreme_values_stay_in_their_sample(backend, device, value):
    case = LossCase(shape=(3, 1, 1500))
    maps = case.inputs()[0]
    maps[1, 1, 1200] = value
    written = assert_loss_agrees(case, backend, device, maps=maps)
    assert written["losses"].isfinite().tolist() == [True, abs(value) < 1.0, True]


@pytest.mark.parametrize("shape", [(2, 1, 0), (2, 0), (1, 0, 4, 4)], ids=str)
def test_samples_of_no_elements_have_no_loss(backend, device, shape):
    written = assert_loss_agrees(LossCase(shape=shape), backend, device)
    assert written["losses"].eq(0).all()
    assert written["total"] == 0


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 33])
def test_totals_of_any_batch(backend, device, batch):
    assert_loss_agrees(LossCase(shape=(batch, 1, 3)), backend, device)


def test_a_loss_does_not_depend_on_the_batch(backend, device):
    case = LossCase(shape=(4, 1, 2500))
    maps, target, gamma = case.inputs()
    together = run_loss(case, backend, device)["losses"]
    picked = {"maps": maps[2:3], "target": target[2:3], "gamma": gamma[2:3]}
    assert_same_bits(run_loss(case, backend, device, **picked)["losses"], together[2:3])


@pytest.mark.parametrize("start", [0, 1], ids=["on_lines", "unaligned"])
@pytest.mark.parametrize("dtype, length", [(F32, 466_960), (F64, 233_528), (BF16, 932_096)], ids=["f32", "f64", "bf16"])
def test_gradients_larger_than_the_caches(dtype, length, start):
    assert_loss_agrees(LossCase(dtype, dtype, (3, 1, length), start=start), "cpu")


def loss_and_gradient(backend, maps, target, gamma, **options):
    leaf = maps.clone().requires_grad_()
    loss = jvp_distill_loss(leaf, target, gamma, backend=backend, **options)
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighting", [*WEIGHTS, F32, F64], ids=str)
@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
def test_rows_have_the_same_bits(backend, device, dtype, weighting, reduction):
    maps, target, _ = LossCase(dtype, dtype, (9, 1, 5)).inputs(device)
    for_each = torch.logspace(-12, 12, 18, dtype=dtype, device=device)
    gamma = for_each[::2]
    given = weighting if isinstance(weighting, str) else for_each[1::2].to(weighting)
    options = {"weighting": given, "reduction": reduction}
    loss, gradient = loss_and_gradient(backend, maps, target, gamma, **options)
    expected_loss, expected_gradient = loss_and_gradient("reference", maps, target, gamma, **options)
    assert_same_bits(loss, expected_loss, "loss")
    assert_same_bits(gradient, expected_gradient, "gradient")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_number_of_threads_changes_nothing(count):
    case = LossCase(shape=(5, 1, 9001))
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        assert_loss_agrees(case, "cpu")
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 1000, 1024])
def test_the_tree_adds_every_value_once(count):
    powers = torch.arange(count, dtype=F64)
    assert tree_sum(powers) == count * (count - 1) / 2


def test_the_tree_adds_the_upper_half_to_the_lower():
    big = 2.0**60
    assert tree_sum(torch.tensor([big, 1.0, 1.0, -big, 1.0], dtype=F64)) == (((big + 1.0) + 1.0) + (1.0 - big))
