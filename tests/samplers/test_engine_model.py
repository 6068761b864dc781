"""What the engine hands to a model, and what it makes of the outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan

from .conftest import Place
from .fakes import (
    SCHEDULE,
    SHAPE,
    FakeModel,
    euler,
    normals,
    plan_of,
    same_label,
    solver_plan,
)

# --- what the model gets


def test_labels_are_the_schedules_unless_the_model_has_its_own() -> None:
    plan = solver_plan("deis_tab1", 3)
    default, own = FakeModel(), FakeModel(label=SCHEDULE.log_gamma)
    gs.sample(default, plan, shape=(2, 3))
    gs.sample(own, plan, shape=(2, 3))
    expected = torch.tensor([999.0 * t for t in plan.times]).float()
    assert torch.equal(torch.stack([call.t for call in default.calls]), expected[:, None].expand(-1, 2))
    expected = torch.from_numpy(SCHEDULE.log_gamma(plan.times)).float()
    assert torch.equal(torch.stack([call.t for call in own.calls]), expected[:, None].expand(-1, 2))
    assert {call.t.dtype for call in own.calls} == {torch.float32}


def test_labels_are_computed_once() -> None:
    asked: list[np.ndarray] = []
    model = FakeModel(label=lambda times: asked.append(times) or times)
    gs.sample(model, solver_plan("edm_heun"), shape=(5, 3), batch_size=2)
    assert len(asked) == 1


def test_conditioning_is_sliced_with_the_samples_and_padded_with_the_last() -> None:
    model = FakeModel()
    cond = {"labels": torch.arange(5), "text": torch.arange(10.0).reshape(5, 2)}
    shared = {"table": torch.ones(7), "w": 2.0}
    gs.sample(model, solver_plan("ddim", 1), shape=(5, 3), batch_size=2, cond=cond, shared=shared)
    assert [call.cond["labels"].tolist() for call in model.calls] == [[0, 1], [2, 3], [4, 4]]
    assert [call.cond["text"][:, 0].tolist() for call in model.calls] == [
        [0.0, 2.0],
        [4.0, 6.0],
        [8.0, 8.0],
    ]
    assert [call.cond["table"].shape for call in model.calls] == [(7,)] * 3
    assert [call.cond["w"] for call in model.calls] == [2.0] * 3


@pytest.mark.parametrize(("count", "batch_size"), [(5, 2), (1, 4), (4, 4)])
def test_the_model_always_sees_batches_of_one_size(count: int, batch_size: int) -> None:
    model = FakeModel()
    x = gs.sample(model, solver_plan("ddim", 2), shape=(count, 3), batch_size=batch_size)
    assert x.shape == (count, 3)
    assert {(call.x.shape, call.t.shape) for call in model.calls} == {((batch_size, 3), (batch_size,))}


def _misaligned(x: Tensor) -> Tensor:
    """The same values one byte off."""
    memory = torch.empty(x.nbytes + 1, dtype=torch.uint8)
    memory[1:].copy_(x.contiguous().view(torch.uint8).flatten())
    return torch.frombuffer(memory.numpy(), dtype=x.dtype, count=x.numel(), offset=1).view(x.shape)


AS_THEY_ARE: dict[str, Callable[[Tensor], Tensor]] = {
    "with the negative bit": lambda x: (-x)._neg_view(),
    "misaligned": _misaligned,
    "not dense within a sample": lambda x: torch.stack([x, x], dim=-1)[..., 0],
}


@pytest.mark.filterwarnings("ignore:model. output")
@pytest.mark.parametrize("made", AS_THEY_ARE.values(), ids=AS_THEY_ARE.keys())
@pytest.mark.parametrize("checked", ["0", "1"])
def test_an_output_is_read_whatever_its_memory_looks_like(
    made: Callable[[Tensor], Tensor], checked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENIE_EXT_CHECK", checked)
    plan = solver_plan("deis_tab1", 3)
    x = gs.sample(lambda x, t: made(0.5 * x), plan, shape=(2, 5))
    assert_same_bits(x, gs.sample(lambda x, t: 0.5 * x, plan, shape=(2, 5)))


def test_a_bfloat16_model_gets_bfloat16_and_the_state_stays_float32() -> None:
    plan = solver_plan("deis_tab1", 3)
    model, states = FakeModel(dtype=torch.bfloat16), []
    x = gs.sample(model, plan, shape=(2, 5), on_row=lambda event: states.append(event.x))
    assert x.dtype == torch.float32
    fed = torch.stack([call.x for call in model.calls])
    start = plan.init.scale * normals([0, 1], (5,), draw=0, stream=0)
    assert_same_bits(fed, torch.stack([start, *states[:-1]]).bfloat16())


@pytest.mark.parametrize("given", [True, False], ids=["state", "noise"])
def test_the_model_is_fed_the_scaled_state(given: bool) -> None:
    plan = plan_of(euler(1.0, input_scale=0.25), euler(0.5, input_scale=4.0))
    model, states = FakeModel(label=same_label), []
    start = normals([0, 1], (3,), draw=0, stream=0)
    where: dict[str, Any] = {"state": start} if given else {"shape": (2, 3)}
    gs.sample(model, plan, on_row=lambda event: states.append(event.x), **where)
    assert_same_bits(model.calls[0].x, 0.25 * start)
    assert_same_bits(model.calls[1].x, 4.0 * states[0])
    assert_same_bits(states[0], start - 0.5 * (0.125 * start))


@pytest.mark.parametrize(
    "attribute",
    [
        {"label": torch.nn.Embedding(10, 4)},
        {"label": "cat"},
        {"outputs": torch.nn.ModuleList([torch.nn.Linear(3, 3)])},
        {"outputs": ["v"]},
        {"schedule": torch.optim.lr_scheduler.LambdaLR},
        {"schedule": "cosine"},
    ],
    ids=str,
)
def test_what_a_network_happens_to_call_by_the_same_name_is_ignored(attribute: dict[str, Any]) -> None:
    plan = solver_plan("ddim", 2)
    assert_same_bits(gs.sample(FakeModel(**attribute), plan, shape=(2, 3)), gs.sample(FakeModel(), plan, shape=(2, 3)))


# --- what the model returns


def states_and_predictions(function: Any, plan: Plan, dtype: torch.dtype | None) -> Tensor:
    """Each row's new state and, asked for after the step, its predicted x0."""
    seen: list[Tensor] = []
    gs.sample(
        FakeModel(lambda x, t: function(x), dtype=dtype),
        plan,
        shape=(3, *SHAPE),
        on_row=lambda event: seen.extend([event.x, event.predicted_x0().float()]),
    )
    return torch.stack(seen)


RETURNED = {"its input": lambda x: x, "a view of its input": lambda x: x.view_as(x)}


@pytest.mark.parametrize("returned", RETURNED.values(), ids=RETURNED.keys())
@pytest.mark.parametrize("dtype", [None, torch.float64], ids=["state", "separate input"])
@pytest.mark.parametrize("name", ["deis_tab3", "dpmpp_2m", "edm_heun"])
def test_a_model_may_return_its_input(returned: Any, name: str, dtype: torch.dtype | None) -> None:
    plan = solver_plan(name)
    own = states_and_predictions(returned, plan, dtype)
    assert_same_bits(own, states_and_predictions(torch.clone, plan, dtype))


@pytest.mark.filterwarnings("ignore:model. output 'epsilon' is not row-major")
def test_one_output_may_serve_every_sample(place: Place) -> None:
    plan = solver_plan("ddim", 2)
    shared = gs.sample(FakeModel(lambda x, t: x[:1].expand_as(x)), plan, shape=(2, 5), **place._asdict())
    copied = FakeModel(lambda x, t: x[:1].expand_as(x).clone())
    assert_same_bits(shared.cpu(), gs.sample(copied, plan, shape=(2, 5), backend="reference"))


def test_a_channels_last_output_is_copied_and_reported_once() -> None:
    plan = solver_plan("deis_tab2")
    model = FakeModel(lambda x, t: (0.3 * x).to(memory_format=torch.channels_last))
    with pytest.warns(UserWarning, match="output 'epsilon' is not row-major within a sample") as reports:
        x = gs.sample(model, plan, shape=(2, 3, 4, 4), batch_size=1)
    assert len(reports) == 1
    assert_same_bits(x, gs.sample(FakeModel(lambda x, t: 0.3 * x), plan, shape=(2, 3, 4, 4)))


def strided(x: Tensor) -> Tensor:
    """The same values with a gap after every sample."""
    return torch.stack([x, torch.full_like(x, float("nan"))], dim=1)[:, 0]


def test_outputs_with_gaps_between_samples_are_read_in_place(place: Place) -> None:
    plan = solver_plan("deis_tab1", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = gs.sample(FakeModel(lambda x, t: strided(0.3 * x)), plan, shape=(2, 3, 5), **place._asdict())
    assert_same_bits(
        x.cpu(),
        gs.sample(FakeModel(lambda x, t: 0.3 * x), plan, shape=(2, 3, 5), backend="reference"),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_outputs_may_have_another_float_dtype(dtype: torch.dtype) -> None:
    plan = solver_plan("ddim", 2)
    x = gs.sample(FakeModel(lambda x, t: (0.3 * x).to(dtype)), plan, shape=(2, 5))
    assert_same_bits(x, gs.sample(FakeModel(lambda x, t: (0.3 * x).to(dtype).float()), plan, shape=(2, 5)))


def spoil(bad: float, row: int, sample: int) -> FakeModel:
    calls = iter(range(99))

    def model(x: Tensor, t: Tensor) -> Tensor:
        out = 0.5 * x
        out[sample, 1] = bad if next(calls) == row else out[sample, 1]
        return out

    return FakeModel(model)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_state_that_is_not_finite_is_reported_with_row_and_sample(bad: float, place: Place) -> None:
    with pytest.raises(ValueError, match=r"model: .* inf or NaN in row 1 for sample ids \[12\]; check the network"):
        gs.sample(
            spoil(bad, 1, 2),
            solver_plan("deis_tab1", 2),
            shape=(3, 4),
            sample_ids=[10, 11, 12],
            **place._asdict(),
        )


def test_a_state_that_is_not_finite_is_found_in_a_later_chunk() -> None:
    plan = solver_plan("ddim", 3)
    with pytest.raises(ValueError, match=r"inf or NaN in row 2 for sample ids \[3\]"):
        gs.sample(spoil(float("nan"), 5, 1), plan, shape=(5, 4), batch_size=2)


def test_many_samples_that_are_not_finite_are_listed_in_part() -> None:
    with pytest.raises(ValueError, match=r"in row 0 for sample ids \[0, 1, 2, 3, 4, 5, 6, 7\] \.\.\.;"):
        gs.sample(FakeModel(lambda x, t: x / 0), solver_plan("ddim", 3), shape=(9, 4))
