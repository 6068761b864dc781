"""Inside jvp_safe networks can be differentiated in forward mode; their values and everything else stay as they are."""

from __future__ import annotations

import threading
from typing import cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genie_samplers import genie
from genie_samplers.models.wrap import WrappedModel

from .differences import assert_first, assert_second
from .unets import CONDITIONS, UNETS

F64 = torch.float64
Pair = tuple[Tensor, Tensor]
LABEL = torch.tensor([0.3, -1.1], dtype=F64)
LABEL_DIRECTION = torch.tensor([1.0, 0.4], dtype=F64)


@pytest.fixture(params=UNETS, scope="module")
def unet(request: pytest.FixtureRequest) -> tuple[WrappedModel, Tensor, dict[str, Tensor]]:
    pytest.importorskip("diffusers")
    return UNETS[request.param](), *CONDITIONS[request.param]


def normals(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@torch.no_grad()
def test_the_joint_derivatives_of_a_unet_equal_finite_differences(unet):
    model, x, cond = unet
    along = normals(*x.shape)

    def f(x: Tensor, label: Tensor) -> Tensor:
        return model(x, label, **cond)

    def first(x: Tensor, label: Tensor) -> Tensor:
        return torch.func.jvp(f, (x, label), (along, LABEL_DIRECTION))[1]

    def line(tau: float) -> Tensor:
        return f(x + tau * along, LABEL + tau * LABEL_DIRECTION)

    with genie.jvp_safe():
        found = first(x, LABEL)
        found2 = torch.func.jvp(first, (x, LABEL), (along, LABEL_DIRECTION))[1]
    assert_first(line, found, 1e-3)
    assert_second(line, found2, 4e-3)


@pytest.mark.parametrize("method", ["forward", "double_backward"])
@torch.no_grad()
def test_the_total_derivative_of_a_unet_equals_a_finite_difference_along_the_flow(unet, method):
    model, x, cond = unet
    t = model.schedule.time_of_gamma([1.3, 0.4])
    found = genie.total_derivative(model, x, torch.from_numpy(t), cond=cond, method=method)
    sigma, a = (
        torch.from_numpy(v)[:, None, None, None] for v in (model.schedule.sigma(t), -(model.schedule.sigma(t) ** 2))
    )
    velocity = sigma * found.epsilon + a * x
    label = torch.from_numpy(model.label(t))
    assert_first(lambda tau: model(x + tau * velocity, label + tau, **cond), found.gamma_d_epsilon, 1e-3)


@torch.no_grad()
def test_the_network_s_values_stay_up_to_rounding(unet):
    model, x, cond = unet
    plain = model(x, LABEL, **cond)
    with genie.jvp_safe():
        safe = model(x, LABEL, **cond)
    # each of some hundred layers may round each of its inputs anew
    assert float((safe - plain).abs().max()) <= 1e3 * torch.finfo(F64).eps * float(plain.abs().max())


@torch.no_grad()
def test_the_network_s_bits_are_the_old_ones_afterwards(unet):
    model, x, cond = unet
    plain = model(x, LABEL, **cond)
    with genie.jvp_safe(), genie.jvp_safe():
        model(x, LABEL, **cond)
    assert torch.equal(model(x, LABEL, **cond), plain)


QUERY, MASK = normals(2, 4, 5, 8), torch.tensor([[True, False, True, True, False]]).expand(5, 5)
KEY = normals(2, 2, 5, 8, seed=1)
IMAGE, WEIGHT, BIAS = normals(2, 6, 3, 4), normals(6, seed=1), normals(6, seed=2)
KERNEL = normals(4, 6, 3, 3, seed=3)
FUNCTIONS = {
    "attention": lambda: functional.scaled_dot_product_attention(QUERY, QUERY, QUERY),
    "attention with bool mask": lambda: functional.scaled_dot_product_attention(QUERY, QUERY, QUERY, MASK),
    "attention with float mask": lambda: functional.scaled_dot_product_attention(
        QUERY, QUERY, QUERY, attn_mask=normals(5, 5)
    ),
    "causal attention": lambda: functional.scaled_dot_product_attention(QUERY, QUERY, QUERY, is_causal=True, scale=0.3),
    "grouped attention": lambda: functional.scaled_dot_product_attention(QUERY, KEY, KEY, enable_gqa=True),
    "group_norm": lambda: functional.group_norm(IMAGE, 3, WEIGHT, BIAS, 1e-3),
    "group_norm of a transposed image": lambda: functional.group_norm(IMAGE.transpose(2, 3), 2, weight=WEIGHT),
    "group_norm of vectors": lambda: functional.group_norm(IMAGE[:, :, 0, 0], 2, bias=BIAS),
    "layer_norm": lambda: functional.layer_norm(IMAGE, (3, 4), normals(3, 4), normals(3, 4, seed=2), 1e-3),
    "layer_norm without weights": lambda: functional.layer_norm(IMAGE, (4,)),
    "silu": lambda: functional.silu(IMAGE),
    "silu in place": lambda: functional.silu(IMAGE.clone(), inplace=True),
    "mish": lambda: functional.mish(IMAGE),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_elementary_forms_are_the_same_functions(function):
    plain = function()
    with genie.jvp_safe():
        safe = function()
    assert float((safe - plain).abs().max()) <= 1e2 * torch.finfo(F64).eps * float(plain.abs().max())


LAYERS = {
    "conv2d": lambda x: functional.conv2d(x, KERNEL, normals(4), padding=1, stride=2),
    "conv2d of one image": lambda x: functional.conv2d(x[0], KERNEL, padding="same"),
    "conv2d with positional settings": lambda x: functional.conv2d(x, KERNEL, None, (1, 2), (1, 0)),
    "conv1d": lambda x: functional.conv1d(x[:, :, 0], normals(5, 6, 2), normals(5)),
    "linear": lambda x: functional.linear(x, normals(7, 4), normals(7)),
    "group_norm": lambda x: functional.group_norm(x, 3, WEIGHT, BIAS, 1e-3),
    "group_norm of a transposed image": lambda x: functional.group_norm(x.transpose(2, 3), 2),
    "silu": functional.silu,
    "conv2d in its weight": lambda x: functional.conv2d(normals(1, 6, 5, 5), x),
    "linear in its bias": lambda x: functional.linear(IMAGE, normals(7, 4), x.flatten()[:7]),
    "group_norm in its weight": lambda x: functional.group_norm(IMAGE, 3, x[0, :, 0, 0], BIAS),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layers_have_the_derivative_of_double_backward(layer):
    along = normals(*IMAGE.shape, seed=4)
    plain, expected = cast(Pair, torch.autograd.functional.jvp(layer, IMAGE, along))
    with genie.jvp_safe():
        value, found = cast(Pair, torch.func.jvp(layer, (IMAGE,), (along,)))
    assert float((value - plain).abs().max()) <= 1e2 * torch.finfo(F64).eps * float(plain.abs().max())
    assert float((found - expected).abs().max()) <= 1e3 * torch.finfo(F64).eps * float(expected.abs().max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_group_norm_takes_its_statistics_of_half_precision_in_float32(dtype):
    image, precision = 300.0 + 8.0 * IMAGE, torch.finfo(dtype).eps
    with genie.jvp_safe():
        safe = functional.group_norm(image.to(dtype), 3)
    assert safe.dtype == dtype
    exact = functional.group_norm(image.to(dtype).double(), 3)
    assert float((safe.double() - exact).abs().max()) <= precision * float(exact.abs().max())


def jvp_of_attention() -> Tensor:
    def attention(q: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, q, q)

    return torch.func.jvp(attention, (QUERY,), (QUERY,))[1]


def test_the_fused_attention_is_back_after_an_error():
    with pytest.raises(KeyError), genie.jvp_safe():
        jvp_of_attention()
        raise KeyError
    with pytest.raises(NotImplementedError):
        jvp_of_attention()


def test_other_threads_keep_the_fused_attention():
    seen: list[str] = []

    def other() -> None:
        try:
            jvp_of_attention()
        except NotImplementedError as error:
            seen.append(type(error).__name__)

    with genie.jvp_safe():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        jvp_of_attention()
    assert seen == ["NotImplementedError"]


def test_the_derivative_of_group_norm_in_float16_does_not_overflow():
    x, along = (400.0 * normals(2, 4, 8, 8, seed=seed) for seed in (0, 1))  # whose products float16 cannot hold

    def norm(x: Tensor) -> Tensor:
        return functional.group_norm(x, 2)

    with genie.jvp_safe():
        found = torch.func.jvp(norm, (x.half(),), (along.half(),))[1]
        wanted = torch.func.jvp(norm, (x,), (along,))[1]
    assert float((found - wanted).abs().max()) <= 8.0 * torch.finfo(torch.float16).eps * float(wanted.abs().max())
