"""Derivatives through a step: tangents are followed, transforms of torch.func are refused and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from genie_ext._torch_private import is_function_wrapper
from tests.integrations.diffusers.pipelines import noise

pytest.importorskip("diffusers")
ours: Any = pytest.importorskip("genie_samplers.integrations.diffusers")

KINDS: dict[str, Callable[[], Any]] = {
    "DDIM": lambda: ours.DDIMScheduler(clip_sample=False),
    "DPM++ 2M": lambda: ours.DPMSolverMultistepScheduler(),
    "Euler": lambda: ours.EulerScheduler(),
    "flow": lambda: ours.FlowMatchScheduler(solver="euler"),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
first = pytest.mark.parametrize("first", [0, 1], ids=["the first step", "a later step"])


def begun(kind: Callable[[], Any], first: int, dtype: torch.dtype = torch.float32) -> tuple[Any, Tensor, Tensor]:
    """Scheduler, sample and time after this many steps."""
    scheduler, x = kind(), noise().to(dtype)
    scheduler.set_timesteps(4)
    for t in scheduler.timesteps[:first]:
        x = scheduler.step(noise(seed=2).to(dtype), t, x).prev_sample
    return scheduler, x, scheduler.timesteps[first]


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "grad of the sample": lambda step, x, o, t: torch.func.grad(lambda x: step(o, t, x).float().sum())(x),
    "grad of the output": lambda step, x, o, t: torch.func.grad(lambda o: step(o, t, x).float().sum())(o),
    "grad of the output at a number": lambda step, x, o, t: torch.func.grad(lambda o: step(o, 3.0, x).sum())(o),
    "vjp": lambda step, x, o, t: torch.func.vjp(lambda x: step(o, t, x), x)[1](o),
    "jvp": lambda step, x, o, t: torch.func.jvp(lambda x: step(o, t, x), (x,), (x,)),
    "vmap": lambda step, x, o, t: torch.func.vmap(lambda x, o: step(o[None], t, x[None]))(x, o),
    "vmap of times": lambda step, x, o, t: torch.func.vmap(lambda t: step(o, t, x))(t[None]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@first
@every_kind
def test_transforms_are_refused_by_name_and_spoil_nothing(
    kind: Callable[[], Any], first: int, transform: Callable[..., Any], dtype: torch.dtype
) -> None:
    output = noise(seed=3).to(dtype)
    scheduler, x, t = begun(kind, first, dtype)
    untouched, same, _ = begun(kind, first, dtype)
    with pytest.raises(ValueError, match="inside a transform of torch"):
        transform(lambda o, t, x: scheduler.step(o, t, x).prev_sample, x, output, t)
    assert torch.equal(scheduler.step(output, t, x).prev_sample, untouched.step(output, t, same).prev_sample)


@every_kind
def test_times_are_not_set_inside_a_transform(kind: Callable[[], Any]) -> None:
    scheduler = kind()

    def function(x: Tensor) -> Tensor:
        scheduler.set_timesteps(4)
        return x.sum()

    with pytest.raises(ValueError, match="set_timesteps: inside a transform"):
        torch.func.grad(function)(noise())


def test_noise_may_be_added_inside_a_transform_and_afterwards() -> None:
    scheduler, x, z, times = KINDS["DDIM"](), noise(), noise(seed=1), torch.tensor([10, 900])
    gradient = torch.func.grad(lambda x: scheduler.add_noise(x, z, times).sum())(x)
    assert torch.allclose(gradient[:, 0, 0, 0], scheduler.alphas_cumprod[times].sqrt())
    assert not any(is_function_wrapper(table) for table in scheduler._tables_on(x.device))
    assert torch.equal(scheduler.add_noise(x, z, times), KINDS["DDIM"]().add_noise(x, z, times))


@pytest.mark.parametrize("of", ["sample", "output"])
@first
@every_kind
def test_tangents_are_those_of_a_difference(kind: Callable[[], Any], first: int, of: str) -> None:
    """A step is linear, so that its tangent is the step of the direction."""
    scheduler, x, t = begun(kind, first)
    output, direction = noise(seed=3), noise(seed=4)
    with forward_ad.dual_level():
        moved = forward_ad.make_dual(x if of == "sample" else output, direction)
        made = scheduler.step(*((output, t, moved) if of == "sample" else (moved, t, x))).prev_sample
        tangent = forward_ad.unpack_dual(made).tangent
    assert tangent is not None
    changed, plain = ((output, x + direction) if of == "sample" else (output + direction, x)), (output, x)
    ends = [begun(kind, first)[0].step(o, t, at).prev_sample for o, at in (changed, plain)]
    assert torch.allclose(tangent, ends[0] - ends[1], rtol=0.0, atol=float(ends[0].abs().max()) * 2.0**-20)
