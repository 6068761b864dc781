"""A network runs once for its value and its derivative; what cannot be recorded is differentiated all the same."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import genie_samplers as gs
from genie_ext import wants_gradients
from genie_samplers import genie
from genie_samplers.forward_mode.recorder import record
from genie_samplers.models.wrap import WrappedModel

from .unets import CONDITIONS, UNETS

F64 = torch.float64
Network = Callable[[Tensor, Tensor], Tensor]


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


X, DX = normals(2, 3, 4, 4), normals(2, 3, 4, 4, seed=1)
LABEL, DLABEL = torch.tensor([0.3, -1.1], dtype=F64), torch.tensor([1.0, 0.4], dtype=F64)


def assert_same(found: Tensor, wanted: Tensor) -> None:
    """A hundred layers may round each of their values anew."""
    assert found.dtype == wanted.dtype
    assert float((found - wanted).abs().max()) <= 1e3 * torch.finfo(F64).eps * float(wanted.abs().max())


def jvp(network: Network, x: Tensor = X, along: Tensor = DX) -> Tensor:
    with genie.jvp_safe():
        return torch.func.jvp(network, (x, LABEL), (along, DLABEL))[1]


@pytest.fixture(params=UNETS, scope="module")
def unet(request: pytest.FixtureRequest) -> tuple[WrappedModel, Tensor, dict[str, Tensor]]:
    pytest.importorskip("diffusers")
    return UNETS[request.param](), *CONDITIONS[request.param]


every_mode = pytest.mark.parametrize(
    "mode",
    [torch.no_grad, pytest.param(torch.inference_mode, marks=pytest.mark.product)],
    ids=lambda mode: mode.__name__,
)
both_modes = pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])


@both_modes
def test_a_unet_runs_once_and_its_value_has_the_bits_of_a_plain_pass(unet, mode):
    model, x, cond = unet
    seen: list[Tensor] = []
    with mode():
        plain = model(x, LABEL, **cond)
        hook = model.network.register_forward_hook(lambda _, __, output: seen.append(output.sample))
        try:
            at = genie.linearize(lambda x, label: model(x, label, **cond), x.clone(), LABEL.clone())
            along = normals(*x.shape, seed=2)
            found = at.along((along, DLABEL))
        finally:
            hook.remove()
    assert len(seen) == 1 and seen[0] is at.value
    assert torch.equal(at.value, plain)
    assert_same(found, jvp(lambda x, label: model(x, label, **cond), x, along))


@torch.no_grad()
def test_a_guided_unet_runs_once_and_has_the_derivative_of_the_mixture():
    pytest.importorskip("diffusers")
    model, x = UNETS["UNet2DModel"](), CONDITIONS["UNet2DModel"][0]
    pair = gs.guidance.classifier_free(model, null={"class_labels": 10})
    calls = []

    def network(x: Tensor, label: Tensor) -> Tensor:
        calls.append(len(x))
        conditional, unconditional = pair(x, label, class_labels=torch.tensor([3, 5]))
        return 2.0 * conditional + (1.0 - 2.0) * unconditional

    along = normals(*x.shape, seed=2)
    found = genie.linearize(network, x, LABEL).along((along, DLABEL))
    assert len(calls) == 1
    assert_same(found, jvp(network, x, along))


@torch.no_grad()
def test_a_second_direction_is_served_too():
    def network(x: Tensor, label: Tensor) -> Tensor:
        return torch.sin(x) * label[:, None, None, None]

    at = genie.linearize(network, X, LABEL)
    first, again = at.along((DX, DLABEL)), at.along((DX, DLABEL))
    assert_same(again, first)


@torch.no_grad()
def test_what_was_kept_is_freed_as_the_tangents_go_by_or_with_what_keeps_it():
    kept: list[weakref.ref[Tensor]] = []

    def network(x: Tensor, label: Tensor) -> Tensor:
        hidden = 2.0 * x
        kept.append(weakref.ref(hidden))
        return functional.silu(hidden) * label[:, None, None, None]

    at, unused = genie.linearize(network, X, LABEL), genie.linearize(network, X, LABEL)
    assert kept[0]() is not None and kept[1]() is not None
    at.along((DX, DLABEL))
    del unused
    assert kept[0]() is None and kept[1]() is None


@torch.no_grad()
def test_what_linear_functions_read_is_not_kept():
    read: list[weakref.ref[Tensor]] = []

    def network(x: Tensor, label: Tensor) -> Tensor:
        hidden = functional.silu(x)
        read.append(weakref.ref(hidden))
        return functional.conv2d(hidden, normals(3, 3, 1, 1)) + label[:, None, None, None]

    at = genie.linearize(network, X, LABEL)
    assert read[0]() is None
    assert_same(at.along((DX, DLABEL)), jvp(network))


class Doubled(torch.autograd.Function):
    """Its own tangent is not that of what it computes, as of a straight-through estimator."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return 2.0 * tangent


class Passing(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def in_place(x: Tensor) -> Tensor:
    return torch.sin(x).add_(x)


def in_a_view(x: Tensor) -> Tensor:
    hidden = torch.sin(x)
    hidden[:, 0].mul_(2.0)
    return hidden * x


def in_an_own_buffer(x: Tensor) -> Tensor:
    buffer = torch.zeros_like(x[:, :1]).repeat(1, 3, 1, 1).fill_(1.0)
    buffer = buffer.new_zeros(buffer.shape)
    buffer[:, 1:] = x[:, :2]
    return buffer * x


def copied_into_a_constant(x: Tensor) -> Tensor:
    return torch.zeros(x.shape, dtype=F64).copy_(x) * x


def written_out(x: Tensor) -> Tensor:
    return torch.add(x, 1.0, out=torch.empty(x.shape, dtype=F64)) if not _transformed(x) else (x + 1.0)


def overwritten_after_its_use(x: Tensor) -> Tensor:
    hidden = 2.0 * x
    result = functional.silu(hidden)
    hidden.zero_()
    return result


def a_constant_overwritten_after_its_use(x: Tensor) -> Tensor:
    scale = torch.full((4,), 3.0, dtype=F64)
    result = x * scale
    scale.zero_()
    return result


def read_as_a_number(x: Tensor) -> Tensor:
    return x * x.abs().max().item()


def custom_function(x: Tensor) -> Tensor:
    return Doubled.apply(x) * x  # type: ignore[operator]


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return torch.sin(x)


def past_python(x: Tensor) -> Tensor:
    return scripted(x) * x


def vectorised(x: Tensor) -> Tensor:
    return torch.vmap(torch.sin)(x) * x


def in_a_mode_of_its_own(x: Tensor) -> Tensor:
    with Passing():
        return torch.sin(x) * x


def under_autocast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return functional.linear(x.float(), normals(4, 4).float()).double() * x


def a_constant(x: Tensor) -> Tensor:
    return torch.ones(x.shape, dtype=F64)


def _transformed(x: Tensor) -> bool:
    return wants_gradients(x)


UNSAFE = (
    in_place, in_a_view, in_an_own_buffer, copied_into_a_constant, written_out, overwritten_after_its_use,
    a_constant_overwritten_after_its_use, read_as_a_number, custom_function, past_python, vectorised,
    in_a_mode_of_its_own, under_autocast, a_constant,
)  # fmt: skip


@pytest.mark.parametrize("function", UNSAFE)
@every_mode
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_what_cannot_be_recorded_is_differentiated_by_a_second_pass(function, mode):
    calls = []

    def network(x: Tensor, label: Tensor) -> Tensor:
        calls.append(len(x))
        return function(x) * label[:, None, None, None].cos()

    def constant(x: Tensor, label: Tensor) -> Tensor:
        calls.append(len(x))
        return function(x)

    chosen = constant if function is a_constant else network
    with mode():
        at = genie.linearize(chosen, X.clone(), LABEL.clone())
        found = at.along((DX, DLABEL))
    assert len(calls) == 2
    assert torch.equal(at.value, chosen(X, LABEL))
    assert_same(found, jvp(chosen))


@torch.no_grad()
def test_a_pointer_handed_out_is_noticed():
    def network(x: Tensor) -> Tensor:
        (2.0 * x).data_ptr()
        return 3.0 * x

    assert record(network, (X,))[1] is None


def test_with_gradients_value_and_derivative_keep_their_graph():
    weight = torch.tensor(0.7, dtype=F64, requires_grad=True)

    def network(x: Tensor, label: Tensor) -> Tensor:
        return torch.sin(weight * x) * label[:, None, None, None]

    at = genie.linearize(network, X, LABEL)
    found = at.along((DX, DLABEL))
    by_value, by_tangent = (torch.autograd.grad(v.sum(), weight)[0] for v in (at.value, found))
    assert_same(by_value, (X * torch.cos(weight * X) * LABEL[:, None, None, None]).sum().detach())
    step = 1e-6
    ends = [jvp(lambda x, label, w=0.7 + h: torch.sin(w * x) * label[:, None, None, None]) for h in (step, -step)]
    difference = float((ends[0] - ends[1]).sum()) / (2.0 * step)
    assert abs(float(by_tangent) - difference) <= 1e-6 * abs(difference)


TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Tensor]], Tensor]] = {
    "vmap": lambda f: torch.vmap(f)(torch.tensor([0.5, 2.0], dtype=F64)),
    "jvp": lambda f: torch.func.jvp(f, (torch.tensor(0.5, dtype=F64),), (torch.tensor(1.0, dtype=F64),))[1],
    "grad": lambda f: torch.func.grad(lambda s: f(s).sum())(torch.tensor(0.5, dtype=F64)),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_inside_a_transform_it_is_transformed(transform):
    def network(x: Tensor, label: Tensor) -> Tensor:
        return torch.sin(x) * label[:, None, None, None]

    found = transform(lambda s: genie.linearize(network, s * X, LABEL).along((DX, DLABEL)))
    assert_same(found, transform(lambda s: jvp(network, s * X)))


@torch.no_grad()
def test_operators_past_python_on_constants_cost_no_second_pass():
    def network(x: Tensor) -> Tensor:
        return scripted(torch.ones(4, dtype=F64)) * x

    tape = record(network, (X,))[1]
    assert tape is not None
    assert_same(tape.push(DX), network(DX))


@torch.no_grad()
def test_conditioning_that_is_the_very_state_is_a_constant():
    def network(x: Tensor, label: Tensor) -> Tensor:
        return x * X + label[:, None, None, None]

    assert_same(genie.linearize(network, X, LABEL).along((DX, DLABEL)), DX * X + DLABEL[:, None, None, None])


GRID = normals(2, 4, 4, 2, seed=4)


def sampled(x: Tensor) -> Tensor:
    """Has a backward that can be differentiated, but no forward mode."""
    return functional.grid_sample(x, GRID, align_corners=False)


@torch.no_grad()
def test_functions_without_forward_mode_are_refused_or_left_to_the_double_backward():
    def network(x: Tensor, label: Tensor) -> Tensor:
        return sampled(x) * label[:, None, None, None]

    with pytest.raises(NotImplementedError, match="grid_sampler_2d"):
        genie.linearize(network, X, LABEL).along((DX, DLABEL))
    at = genie.linearize(network, X, LABEL, method="auto")
    with pytest.warns(UserWarning, match=r"no forward-mode derivative .*grid_sampler_2d"):
        found = at.along((DX, DLABEL))
    assert_same(found, sampled(DX) * LABEL[:, None, None, None] + sampled(X) * DLABEL[:, None, None, None])


class Half(nn.Module):
    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return functional.silu(functional.group_norm(400.0 * x, 1)) * label[:, None, None, None]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_rounds_and_no_more(dtype):
    found = genie.linearize(Half(), X.to(dtype), LABEL.to(dtype)).along((DX.to(dtype), DLABEL.to(dtype)))
    exact = torch.func.jvp(
        Half(), (X.to(dtype).double(), LABEL.to(dtype).double()), (DX.to(dtype).double(), DLABEL.to(dtype).double())
    )[1]
    assert found.dtype == dtype
    assert float((found.double() - exact).abs().max()) <= 16.0 * torch.finfo(dtype).eps * float(exact.abs().max())
