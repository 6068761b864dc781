"""The ordinary step, which one native call looks at: taken where it may be, and with the bits of the long way."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.integrations.diffusers.pipelines import exact_network, noise

pytest.importorskip("diffusers")
ours: Any = pytest.importorskip("genie_samplers.integrations.diffusers")
native_rows: Any = importlib.import_module("genie_ext.ops.fused_step.native_rows")
stepping: Any = importlib.import_module("genie_samplers.integrations.diffusers.stepping")

KINDS: dict[str, Callable[[], Any]] = {
    "DDIM": lambda: ours.DDIMScheduler(clip_sample=False),
    "DDIM, clipped": lambda: ours.DDIMScheduler(),
    "PNDM": lambda: ours.PNDMScheduler(skip_prk_steps=True),
    "DPM++ 2M": lambda: ours.DPMSolverMultistepScheduler(),
    "UniPC": lambda: ours.UniPCScheduler(),
    "DEIS": lambda: ours.DEISScheduler(solver_order=3),
    "Euler": lambda: ours.EulerScheduler(),
    "Heun": lambda: ours.HeunScheduler(),
    "flow, Euler": lambda: ours.FlowMatchScheduler(solver="euler"),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
native = pytest.mark.skipif(native_rows._TENSORS is None, reason="this torch does not publish its tensors")


def steps(scheduler: Any, edit: Callable[[Tensor, Tensor, Tensor], Any] = lambda o, t, x: (o, t, x)) -> list[Tensor]:
    """What a run of six steps returns, each of what ``edit`` makes of output, time and sample; predicted data too."""
    prediction = "flow_prediction" if isinstance(scheduler, ours.FlowMatchScheduler) else "epsilon"
    network, x, found = exact_network(scheduler.schedule, prediction), noise(), []
    scheduler.set_timesteps(6)
    for t in scheduler.timesteps:
        given = scheduler.scale_model_input(x, t)
        result = scheduler.step(*edit(network(given, t), t, x))
        x = result.prev_sample
        found += [x.clone(), *([result.pred_original_sample] if "pred_original_sample" in result else [])]
    return found


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each step that was looked at as a whole."""
    taken: list[object] = []
    whole = stepping.Stepping._whole_step

    def counted(self: Any, *given: Any) -> Any:
        taken.append(given[1])
        return whole(self, *given)

    monkeypatch.setattr(stepping.Stepping, "_whole_step", counted)
    return taken


@native
@every_kind
def test_every_step_but_the_first_is_short(kind: Callable[[], Any], long_ways: list[object]) -> None:
    steps(kind())
    assert len(long_ways) == 1


@every_kind
def test_both_ways_have_the_same_bits(kind: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    short = steps(kind())
    monkeypatch.setattr(native_rows, "_TENSORS", None)
    assert all(torch.equal(a, b) for a, b in zip(short, steps(kind()), strict=True))


def edited(change: Callable[[Tensor], object]) -> Callable[[Tensor, Tensor, Tensor], Any]:
    def edit(output: Tensor, t: Tensor, x: Tensor) -> Any:
        change(x)
        return output, t, x

    return edit


EDITS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "written in place": (edited(lambda x: x[:, :1].zero_()), lambda o, t, x: (o, t, x * keep())),
    "of other memory": (edited(lambda x: setattr(x, "data", x.data * keep())), lambda o, t, x: (o, t, x * keep())),
    "turned in place": (edited(lambda x: x.transpose_(2, 3)), lambda o, t, x: (o, t, x.mT.contiguous())),
    "an output in other order": (lambda o, t, x: (o.mT.contiguous().mT, t, x), lambda o, t, x: (o, t, x)),
    "an output with the negative bit": (
        lambda o, t, x: (torch.ops.aten._neg_view(-o), t, x),
        lambda o, t, x: (o, t, x),
    ),
    "a number for a time": (lambda o, t, x: (o, float(t), x), lambda o, t, x: (o, t, x)),
    "a copy of a time": (lambda o, t, x: (o, t.clone(), x), lambda o, t, x: (o, t, x)),
    "a time with an axis": (lambda o, t, x: (o, t[None], x), lambda o, t, x: (o, t, x)),
}


def keep() -> Tensor:
    return torch.tensor([0.0, 1.0, 1.0, 1.0]).reshape(1, 4, 1, 1)


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("kind", [KINDS["DPM++ 2M"], KINDS["flow, Euler"]], ids=["DPM++ 2M", "flow, Euler"])
def test_what_a_caller_changes_is_seen(kind: Callable[[], Any], edit: tuple[Callable[..., Any], ...]) -> None:
    mine, plain = steps(kind(), edit[0]), steps(kind(), edit[1])
    assert torch.equal(mine[-1].contiguous(), plain[-1])


@native
def test_a_time_of_another_place_is_not_the_next_one() -> None:
    """A step back, from the sample that the last step made."""
    scheduler, x = KINDS["DPM++ 2M"](), noise()
    scheduler.set_timesteps(6)
    times = scheduler.timesteps
    for t in times[:2]:
        x = scheduler.step(noise(seed=2), t, x).prev_sample
    made = scheduler.step(noise(seed=3), times[1], x).prev_sample
    again = KINDS["DPM++ 2M"]()
    again.set_timesteps(6)
    again.set_begin_index(1)
    assert torch.equal(made, again.step(noise(seed=3), times[1], x).prev_sample)


@native
def test_other_noise_midway_is_another_kind_of_step() -> None:
    given, x, z = noise(seed=3), noise(), noise(seed=9)
    scheduler, fresh = KINDS["DDIM"](), KINDS["DDIM"]()
    for each in (scheduler, fresh):
        each.set_timesteps(6)
    times = scheduler.timesteps
    for t in times[:2]:
        x = scheduler.step(given, t, x).prev_sample
    made = scheduler.step(given, times[2], x, eta=1.0, variance_noise=z).prev_sample
    assert torch.equal(made, fresh.step(given, times[2], x, eta=1.0, variance_noise=z).prev_sample)
    assert not torch.equal(made, fresh.step(given, times[2], x).prev_sample)


@pytest.mark.parametrize("output", [[1.0], None, "noise"])
def test_an_output_that_is_no_tensor_is_refused_midway(output: Any) -> None:
    scheduler = KINDS["flow, Euler"]()
    scheduler.set_timesteps(6)
    x = scheduler.step(noise(seed=2), scheduler.timesteps[0], noise()).prev_sample
    with pytest.raises(TypeError, match="model_output"):
        scheduler.step(output, scheduler.timesteps[1], x)
    assert scheduler.step(noise(seed=2), scheduler.timesteps[1], x).prev_sample.isfinite().all()
