"""What sample() refuses: the message names the argument, its value and the fix."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs

from .fakes import SCHEDULE, FakeModel, euler, plan_of, solver_plan

PLAN = solver_plan("deis_tab1", 3)


def sample(model: Any = None, **options: Any) -> Tensor:
    options.setdefault("plan", PLAN)
    if "state" not in options:
        options.setdefault("shape", (3, 4))
    return gs.sample(FakeModel() if model is None else model, **options)


START = {"state": torch.ones(3, 4)}

BAD_VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "no shape": ({"shape": None}, "shape: missing; pass shape=(B, ...), or state= to start from"),
    "flat shape": ({"shape": (3,)}, "shape=(3,); need (B, ...) with B >= 1"),
    "empty batch": ({"shape": (0, 4)}, "shape=(0, 4); need (B, ...) with B >= 1"),
    "empty sample": (
        {"shape": (3, 0)},
        "shape=(3, 0); need (B, ...) with B >= 1 and every size a positive",
    ),
    "shape against state": (
        {"shape": (3, 5), "state": torch.ones(3, 4)},
        "shape=(3, 5), but state has (3, 4); pass one of them",
    ),
    "flat state": ({"state": torch.ones(3)}, "shape=(3,); need (B, ...)"),
    "batch_size zero": ({"batch_size": 0}, "batch_size=0: give 1 or more"),
    "batch_size negative": ({"batch_size": -2}, "batch_size=-2: give 1 or more"),
    "seed too large": ({"seed": 2**64}, f"seed={2**64}; need 64 bits, 0..2^64-1"),
    "seed too small": ({"seed": -(2**63) - 1}, f"seed={-(2**63) - 1}; need 64 bits"),
    "too few ids": ({"sample_ids": [1, 2]}, "sample_ids: 2 ids for 3 samples; give one per sample"),
    "too many ids": (
        {"sample_ids": range(4)},
        "sample_ids: 4 ids for 3 samples; give one per sample",
    ),
    "no ids": ({"sample_ids": []}, "sample_ids: 0 ids for 3 samples; give one per sample"),
    "negative id": ({"sample_ids": [0, -1, 2]}, "sample_ids: -1..2; need integers in 0..2^32-1"),
    "id of 33 bits": (
        {"sample_ids": [0, 1, 2**32]},
        f"sample_ids: 0..{2**32}; need integers in 0..2^32-1",
    ),
    "guidance scales": (
        {
            "plan": PLAN.guided([1.0, 2.0]),
            "model": FakeModel(outputs=("epsilon", "uncond.epsilon")),
        },
        "plan: 2 guidance scales for 3 samples; give one, or one per sample",
    ),
    "other prediction": (
        {"model": FakeModel(outputs=("v",))},
        "plan: reads ('epsilon',), but the model returns ('v',); build the plan with",
    ),
    "model guided, plan not": (
        {"model": FakeModel(outputs=("epsilon", "uncond.epsilon"))},
        "plan: reads ('epsilon',), but the model returns ('epsilon', 'uncond.epsilon')",
    ),
    "label of wrong shape": (
        {"model": FakeModel(label=lambda times: times[:-1])},
        "model.labels: gave shape (2,) for 3 rows; need one label per row",
    ),
    "label beyond float32": (
        {"model": FakeModel(label=lambda times: 1e39 * times)},
        "plan: row 0 calls the network at time 1.0, where its label is inf",
    ),
    "no label and no recipe": (
        {"plan": plan_of(euler(1.0))},
        "plan: has no recipe that says its schedule; make it with make_plan",
    ),
    "negative seed": ({"seed": -1}, "seed=-1; need 64 bits, 0..2^64-1"),
    "unknown device": ({"device": "gpu"}, "device='gpu': "),
    "device without a name": ({"device": ""}, "device='': "),
    "number for a device": ({"device": 1.5}, "device=1.5: "),
    "device without values": ({"device": "meta"}, "device='meta': meta tensors hold no values"),
    "cond named x": ({"cond": {"x": 1}}, "cond: ['x'] are the model's own arguments"),
    "cond of one chunk": (
        {"shape": (4, 2), "batch_size": 2, "cond": {"labels": torch.ones(2)}},
        "cond['labels']: (2,) for 4 samples; give one entry per sample of the whole run, [B, ...], or pass what all",
    ),
    "start with NaN": (
        {"state": torch.full((3, 4), torch.nan)},
        "state or image: holds inf or NaN for sample ids [0, 1, 2]",
    ),
    "encoding without a start": (
        {"plan": gs.make_plan("ddim", SCHEDULE, 3, direction="encode")},
        "state: missing; this plan encodes",
    ),
    "label of minus infinity": (
        {"plan": gs.solvers.ddim(SCHEDULE, [0.0, 1.0]), "model": FakeModel(label=SCHEDULE.log_gamma), **START},
        "plan: row 0 calls the network at time 0.0, where its label is -inf; start or end the grid at",
    ),
    "another schedule": (
        {"model": gs.models.wrap(FakeModel(), gs.schedules.vp_linear(0.1, 10.0))},
        "plan: made for VPLinear(beta_min=0.1, beta_max=20.0), but the model was wrapped for VPLinear",
    ),
    "unknown backend": ({"backend": "opencl"}, "backend='opencl'; choose auto, reference, cpu"),
}


@pytest.mark.parametrize(("options", "message"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_bad_value_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        sample(**options)


BAD_TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "dtype integer": (
        {"dtype": torch.int32},
        "dtype=torch.int32; choose torch.float16, torch.bfloat16, torch.float32",
    ),
    "dtype complex": ({"dtype": torch.complex64}, "dtype=torch.complex64; choose torch.float16"),
    "state integer": (
        {"state": torch.ones(3, 4, dtype=torch.int64)},
        "state: dtype torch.int64; need a float tensor",
    ),
    "fractional shape": ({"shape": (3, 2.0)}, "shape=2.0: give an integer"),
    "boolean shape": ({"shape": (True, 2)}, "shape=True: give an integer"),
    "number for a shape": ({"shape": 4}, "shape=4; need (B, ...)"),
    "batch_size boolean": ({"batch_size": True}, "batch_size=True: give an integer"),
    "batch_size float": ({"batch_size": 2.0}, "batch_size=2.0: give an integer"),
    "number for the ids": ({"sample_ids": 5}, "sample_ids: 5; need 3 integers"),
    "solver name for a plan": ({"plan": "ddim"}, "plan: 'ddim'; pass a Plan, from make_plan"),
    "list for state": ({"state": [[1.0]]}, "state: list; need a float tensor [B, ...]"),
    "tensor for cond": ({"cond": torch.ones(3)}, "cond: Tensor; need a mapping"),
    "number for a cond name": ({"cond": {1: 2}}, "cond: dict; need a mapping from argument names"),
    "number for on_row": ({"on_row": 3}, "on_row: int is not callable; pass a function of one RowEvent"),
    "seed float": ({"seed": 1.0}, "seed=1.0: give an integer"),
    "seed boolean": ({"seed": False}, "seed=False: give an integer"),
    "id float": ({"sample_ids": [0, 1.5, 2]}, "sample_ids=1.5: give an integer"),
    "id boolean": ({"sample_ids": [0, True, 2]}, "sample_ids=True: give an integer"),
    "id float tensor": ({"sample_ids": torch.arange(3.0)}, "sample_ids=tensor(0.): give an integer"),
    "id boolean tensor": ({"sample_ids": torch.ones(3, dtype=torch.bool)}, "sample_ids=tensor(True): give an integer"),
    "ids in columns": ({"sample_ids": np.arange(6).reshape(3, 2)}, "sample_ids=array([0, 1]): give an integer"),
    "seed float tensor": ({"seed": torch.tensor(1.0)}, "seed=tensor(1.): give an integer"),
    "seeds": ({"seed": np.arange(2)}, "seed=array([0, 1]): give an integer"),
    "number for a shape beside a state": ({"shape": 4, "state": torch.ones(3, 4)}, "shape=4; need (B, ...)"),
    "labels of text": ({"model": FakeModel(label=lambda times: ["a"] * 3)}, "model.labels has dtype <U1: give real"),
    "labels complex": ({"model": FakeModel(label=lambda times: 1j * times)}, "model.labels has dtype complex128: give"),
    "no labels": ({"model": FakeModel(label=lambda times: None)}, "model.labels has dtype object: give real numbers"),
    "id text": ({"sample_ids": ["0", "1", "2"]}, "sample_ids='0': give an integer"),
    "model not callable": (
        {"model": "unet"},
        "model: str is not callable; pass model(x, t, **cond)",
    ),
    "rows call the conditional half alone": (
        {
            "plan": gs.Plan(gs.plan.Init(1.0), ("epsilon",), "epsilon", (euler(1.0),), guidance=(2.0,)),
            "model": FakeModel(outputs=("epsilon", "uncond.epsilon")),
        },
        "model: has no 'conditional', but the guided plan has rows that call only that; make",
    ),
    "on_row gives a number": (
        {"on_row": lambda event: 1.0},
        "on_row: returned float; return a tensor, or None to keep the state",
    ),
}


@pytest.mark.parametrize(("options", "message"), BAD_TYPES.values(), ids=BAD_TYPES.keys())
def test_a_bad_type_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        sample(**options)


OUTPUTS: dict[str, tuple[Callable[[Tensor], Any], type[Exception], str]] = {
    "two outputs in a list": (
        lambda x: [x, x],
        ValueError,
        "model: returned 2 outputs in row 0; the plan reads 1: ('epsilon',)",
    ),
    "None": (
        lambda x: None,
        TypeError,
        "model: returned NoneType in row 0; return a tensor or a tuple",
    ),
    "an array": (
        lambda x: x.numpy(),
        TypeError,
        "model: returned ndarray in row 0; return a tensor",
    ),
    "two outputs": (
        lambda x: (x, x),
        ValueError,
        "model: returned 2 outputs in row 0; the plan reads 1: ('epsilon',)",
    ),
    "no outputs": (
        lambda x: (),
        ValueError,
        "model: returned 0 outputs in row 0; the plan reads 1",
    ),
    "a tuple of numbers": (
        lambda x: (0.5,),
        TypeError,
        "model: output 'epsilon' in row 0 is float; return a tensor",
    ),
    "another shape": (
        lambda x: x[:, :2],
        ValueError,
        "model: output 'epsilon' in row 0 has shape (3, 2); the state has (3, 4)",
    ),
    "one sample too few": (lambda x: x[:2], ValueError, "has shape (2, 4); the state has (3, 4)"),
    "an axis more": (
        lambda x: x[..., None],
        ValueError,
        "has shape (3, 4, 1); the state has (3, 4)",
    ),
    "integers": (
        lambda x: x.long(),
        TypeError,
        "model: output 'epsilon' in row 0 has dtype torch.int64; return a float tensor",
    ),
    "complex numbers": (
        lambda x: x + 1j,
        TypeError,
        "has dtype torch.complex64; return a float tensor",
    ),
    "sparse": (
        lambda x: x.to_sparse(),
        TypeError,
        "model: output 'epsilon' in row 0 is no array in memory (",
    ),
    "nested": (
        lambda x: torch.nested.nested_tensor(list(x)),
        TypeError,
        "model: output 'epsilon' in row 0 is no array in memory (",
    ),
    "another device": (
        lambda x: x.to("meta"),
        ValueError,
        "model: output 'epsilon' in row 0 is on meta; the state is on cpu",
    ),
}


@pytest.mark.parametrize(("function", "error", "message"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_a_bad_output_is_refused_with_its_name_and_row(
    function: Callable[[Tensor], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        sample(FakeModel(lambda x, t: function(x)))


def test_an_output_inside_vmap_is_refused_with_its_name_and_row() -> None:
    def run(factor: Tensor) -> Tensor:
        return sample(FakeModel(lambda x, t: factor * x))

    with pytest.raises(TypeError, match="model: output 'epsilon' in row 0 is no array in memory"):
        torch.func.vmap(run)(torch.ones(2))


def test_the_row_named_is_that_of_the_bad_output() -> None:
    calls = iter(range(9))
    with pytest.raises(ValueError, match="in row 2 has shape"):
        sample(FakeModel(lambda x, t: x if next(calls) < 2 else x[:1]))


def test_a_guided_pair_must_be_complete() -> None:
    model = FakeModel(lambda x, t: x, outputs=("epsilon", "uncond.epsilon"))
    with pytest.raises(ValueError, match=r"returned 1 outputs in row 0; the plan reads 2: .*'uncond\.epsilon'"):
        sample(model, plan=PLAN.guided(2.0))


def test_a_replacement_state_has_the_states_shape() -> None:
    with pytest.raises(ValueError, match=r"on_row: returned shape \(3, 5\); need \(3, 4\)"):
        sample(on_row=lambda event: torch.ones(3, 5))


def test_predicted_x0_of_a_row_without_network_is_refused() -> None:
    plan = gs.starting_at(solver_plan("edm_heun", 3, s_churn=1.0), 1)
    assert plan.rows[0].calls == 0
    with pytest.raises(ValueError, match=r"predicted_x0: row 0 calls no network; ask in a row that does"):
        sample(plan=plan, on_row=lambda event: event.predicted_x0())


@pytest.mark.parametrize(
    "ids", [np.arange(3), torch.arange(3), (0, 1, 2), range(3)], ids=lambda ids: type(ids).__name__
)
def test_sample_ids_may_be_any_sequence_of_integers(ids: Any) -> None:
    assert torch.equal(sample(sample_ids=ids), sample())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(ValueError, match="device='cuda': torch sees no CUDA GPU; use device='cpu'"):
        sample(device="cuda")


@pytest.mark.parametrize("spoil", [lambda x, t: x.mul_(0.5), lambda x, t: t.mul_(2.0)], ids=["x", "t"])
def test_a_model_that_writes_into_its_input_is_refused(spoil: Callable[[Tensor, Tensor], Tensor]) -> None:
    def model(x: Tensor, t: Tensor) -> Tensor:
        result = x.clone()
        spoil(x, t)
        return result

    with pytest.raises(ValueError, match="model: wrote into its input x, t or history in row 0; work on a copy"):
        gs.sample(model, PLAN, shape=(3, 4))


def test_inference_mode_is_fine() -> None:
    with torch.inference_mode():
        inside = sample()
    assert torch.equal(inside, sample())


def test_a_nan_that_on_row_returns_is_reported() -> None:
    last = len(PLAN.rows) - 1

    def spoil(event: gs.RowEvent) -> Tensor | None:
        return event.x * torch.nan if event.row == last else None

    with pytest.raises(ValueError, match=f"inf or NaN in row {last} for sample ids"):
        sample(on_row=spoil)


def test_the_state_of_a_stage_cannot_be_replaced() -> None:
    plan = gs.make_plan("edm_heun", SCHEDULE, 5)
    with pytest.raises(ValueError, match=r"on_row: replaced the state in row 0, a stage .* event.ends_step"):
        sample(plan=plan, on_row=lambda event: event.x)
    sample(plan=plan, on_row=lambda event: event.x if event.ends_step else None)
