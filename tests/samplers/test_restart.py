"""PlanState.restart: another run in the same memory."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import genie_ext
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan, PlanState, Program
from genie_samplers.plan import HistoryEntry
from genie_samplers.run import Start, run_rows

from .conftest import Place
from .fakes import SHAPE, VARIANTS, euler, every_variant, normals, plan_of, solver_plan

NOISY = solver_plan("ddim", 3, eta=1.0)
FED = plan_of(euler(1.0, input_scale=0.5), euler(0.5, input_scale=0.5))


def noise_of(seed: int, ids: list[int], device: str = "cpu") -> genie_ext.Noise:
    return genie_ext.Noise(torch.tensor([seed], device=device), torch.tensor(ids, device=device))


def x_of(seed: int, device: str = "cpu") -> Tensor:
    return normals([0, 1], SHAPE, draw=0, stream=0, seed=seed).to(device)


def finished(state: PlanState) -> Tensor:
    """The final state, cloned; further outputs are multiples of the first."""
    return run_rows(
        state, lambda call, at: tuple((0.5 + 0.25 * i) * at.model_input for i in range(len(call.names)))
    ).x.clone()


@pytest.mark.parametrize("in_place", [True, False])
@every_variant
def test_a_restarted_state_has_the_bits_of_a_new_one(plan: Plan, in_place: bool, quick_place: Place) -> None:
    program = Program.of(plan, device=quick_place.device, backend=quick_place.backend if in_place else None)
    noise = noise_of(7, [4, 9], quick_place.device)
    state = PlanState(program, x_of(1, quick_place.device), noise, in_place=in_place)
    finished(state)
    state.restart(x_of(2, quick_place.device))
    assert state.row == 0
    new = PlanState(program, x_of(2, quick_place.device), noise, in_place=in_place)
    assert_same_bits(finished(state), finished(new))


def test_it_may_be_restarted_in_the_middle() -> None:
    plan = VARIANTS["unipc3"]
    state = PlanState(Program.of(plan), x_of(1))
    run_rows(state, lambda call, at: 0.5 * at.model_input, until=2)
    state.restart(x_of(2))
    assert_same_bits(finished(state), finished(PlanState(Program.of(plan), x_of(2))))


def test_what_was_not_finite_is_forgotten() -> None:
    state = PlanState(Program.of(solver_plan("ddim", 2)), torch.full((2, *SHAPE), torch.inf))
    assert state.nonfinite is not None and bool(state.nonfinite[0].all())
    state.restart(x_of(1))
    assert not bool(state.nonfinite.any())


def test_a_state_from_a_later_row_is_restarted_there() -> None:
    plan = VARIANTS["deis_tab1"]
    known = {HistoryEntry(0): x_of(3)}
    state = PlanState(Program.of(plan), x_of(1), first_row=1, values=known)
    finished(state)
    state.restart(x_of(2), values=known)
    assert_same_bits(finished(state), finished(PlanState(Program.of(plan), x_of(2), first_row=1, values=known)))


# --- other noise


@pytest.mark.parametrize("in_place", [True, False])
def test_another_seed_and_other_ids_draw_their_own_noise(in_place: bool, quick_place: Place) -> None:
    device, start = quick_place.device, Start(0.0, 2.0)
    program = Program.of(NOISY, device=device, backend=quick_place.backend if in_place else None)
    x = x_of(1, device)
    state = PlanState(program, x, noise_of(7, [4, 9], device), start=start, in_place=in_place)
    finished(state)
    state.restart(x, seed=2**64 - 1, sample_ids=[2**32 - 1, 3])
    new = PlanState(program, x, noise_of(-1, [2**32 - 1, 3], device), start=start, in_place=in_place)
    assert_same_bits(finished(state), finished(new))
    state.restart(x, seed=7)
    assert_same_bits(
        finished(state),
        finished(PlanState(program, x, noise_of(7, [2**32 - 1, 3], device), start=start, in_place=in_place)),
    )


def test_a_copy_is_restarted_in_memory_and_noise_of_its_own() -> None:
    state = PlanState(Program.of(NOISY), x_of(1), noise_of(7, [4, 9]))
    twin = copy.deepcopy(state)
    twin.restart(x_of(2), seed=8, sample_ids=[0, 1])
    expected = finished(PlanState(Program.of(NOISY), x_of(1), noise_of(7, [4, 9])))
    assert_same_bits(finished(state), expected)
    assert_same_bits(finished(twin), finished(PlanState(Program.of(NOISY), x_of(2), noise_of(8, [0, 1]))))


# --- a start in the state's own memory

OWN: dict[str, Callable[[PlanState], Tensor]] = {
    "the state": lambda state: state.x,
    "a view of it": lambda state: state.x.detach(),
    "its samples exchanged": lambda state: state.x.flip(0),
    "one sample twice": lambda state: state.x[1:].expand_as(state.x),
    "the network's input": lambda state: state.model_input,
}


@pytest.mark.parametrize("own", OWN.values(), ids=OWN.keys())
@pytest.mark.parametrize("plan", [solver_plan("ddim", 2), FED], ids=["one memory", "separate input"])
def test_it_may_start_in_its_own_memory(plan: Plan, own: Callable[[PlanState], Tensor]) -> None:
    state = PlanState(Program.of(plan), x_of(1))
    finished(state)
    expected = finished(PlanState(Program.of(plan), own(state).clone()))
    state.restart(own(state))
    assert_same_bits(finished(state), expected)


# --- refusals

REFUSED: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "shape": ({"x": torch.ones(2, 3)}, ValueError, r"x: shape \(2, 3\); this state has \(2, 2, 3, 5\), make a new one"),
    "dtype": ({"x": x_of(1).double()}, ValueError, "x: torch.float64 on cpu; the program runs in torch.float32"),
    "no tensor": ({"x": 3.0}, TypeError, "x: float; pass the state at the plan's first time"),
    "negative": ({"x": x_of(1)._neg_view()}, ValueError, "x: a view with the negative bit"),
    "seed": ({"seed": -1}, ValueError, r"seed=-1; need 64 bits, 0..2\^64-1"),
    "seed type": ({"seed": 1.5}, TypeError, "seed=1.5"),
    "ids": ({"sample_ids": [1]}, ValueError, "sample_ids: 1 ids for 2 samples; give one per sample"),
    "id": ({"sample_ids": [1, 2**32]}, ValueError, r"sample_ids: 1..4294967296; need integers in 0..2\^32-1"),
    "gradient": ({"x": x_of(1).requires_grad_()}, ValueError, "x, aux or values: require grad"),
}


@pytest.mark.parametrize(("options", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused(options: dict[str, object], error: type[Exception], message: str) -> None:
    state = PlanState(Program.of(NOISY), x_of(1), noise_of(7, [4, 9]))
    with pytest.raises(error, match=message):
        state.restart(**{"x": x_of(1)} | options)  # type: ignore[arg-type]
    state.restart(x_of(1))
    assert_same_bits(finished(state), finished(PlanState(Program.of(NOISY), x_of(1), noise_of(7, [4, 9]))))


def test_a_state_without_noise_takes_no_seed() -> None:
    state = PlanState(Program.of(solver_plan("ddim", 2)), x_of(1))
    with pytest.raises(ValueError, match="seed, sample_ids: the state has no noise; give it noise= when it is made"):
        state.restart(x_of(1), seed=1)
