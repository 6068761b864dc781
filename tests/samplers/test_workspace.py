"""What a thread keeps between two calls of ``sample``: it changes nothing but the time they take."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

import genie_ext
import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan
from genie_samplers.run.inputs import gather_inputs
from genie_samplers.run.workspace import KEPT

from .fakes import SCHEDULE, SHAPE, FakeModel, euler, every_variant, gaussian_model, plan_of, same_label, solver_plan
from .workspaces import PLAN, draw, elsewhere, halve, kept_states

pytestmark = pytest.mark.usefixtures("nothing_kept")


# --- the same samples


@pytest.mark.usefixtures("checks")
@every_variant
def test_a_run_in_kept_memory_has_the_bits_of_one_in_new_memory(plan: Plan) -> None:
    model = gaussian_model(plan)
    draw(plan, model, seed=1, sample_ids=[4, 0, 9])
    used = kept_states()
    again = draw(plan, model, seed=2, sample_ids=[7, 2**32 - 1, 3])
    assert kept_states() == used != []
    assert_same_bits(again, elsewhere(lambda: draw(plan, model, seed=2, sample_ids=[7, 2**32 - 1, 3])))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("model_dtype", [None, torch.float16], ids=["state", "float16 network"])
def test_a_given_state_of_any_dtype_starts_it_again(dtype: torch.dtype, model_dtype: torch.dtype | None) -> None:
    model = FakeModel(halve, dtype=model_dtype)
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)
    draw(model=model, state=torch.zeros_like(x), dtype=dtype)
    assert_same_bits(
        draw(model=model, state=x, dtype=dtype), elsewhere(lambda: draw(model=model, state=x, dtype=dtype))
    )
    assert len(KEPT.held) == 1


def test_the_chunks_of_a_run_work_in_the_same_memory() -> None:
    plan = solver_plan("ddim", 3, eta=1.0)
    inputs: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        inputs.append(x.data_ptr())
        return 0.5 * x

    whole = elsewhere(lambda: draw(plan, count=5, seed=3))
    assert_same_bits(draw(plan, network, count=5, seed=3, batch_size=2), whole)
    assert len(set(inputs)) == 1


def test_chunks_with_a_guidance_scale_per_sample_keep_their_own() -> None:
    plan = solver_plan("deis_tab1", 3).guided([1.0, 2.0, -0.5, 3.0, 0.0])

    def pair(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 * x, 0.25 * x

    whole = draw(plan, pair, count=5)
    assert_same_bits(draw(plan, pair, count=5, batch_size=2), whole)
    assert_same_bits(draw(plan, pair, count=5, batch_size=2), whole)
    assert_same_bits(draw(plan, pair, count=5), whole)


def test_an_image_noised_to_the_same_time_starts_it_again() -> None:
    image = torch.linspace(-1.0, 1.0, 30).reshape(1, *SHAPE)
    draw(image=torch.zeros_like(image), seed=5)
    used = kept_states()
    again = draw(image=image, seed=6)
    assert kept_states() == used
    assert_same_bits(again, elsewhere(lambda: draw(image=image, seed=6)))


def test_other_labels_are_not_those_that_were_kept() -> None:
    plan = Plan(gs.plan.Init(1.0), ("epsilon",), "epsilon", solver_plan("ddim", 3).rows)

    def network(x: Tensor, t: Tensor) -> Tensor:
        return t.reshape(-1, 1, 1, 1).expand(x.shape).clone()

    first, second = (FakeModel(network, label=label) for label in (same_label, lambda t: 2.0 * t))
    draw(plan, first, seed=1)
    assert_same_bits(draw(plan, second, seed=1), elsewhere(lambda: draw(plan, second, seed=1)))


def test_another_backend_or_other_checks_take_nothing_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(seed=1)
    with genie_ext.use_backend("reference"):
        assert_same_bits(draw(seed=1, backend=None), expected)
    monkeypatch.setenv("GENIE_EXT_CHECK", "0")
    assert_same_bits(draw(seed=1), expected)
    assert len(set(kept_states())) == 3


def test_another_plan_over_the_same_times_takes_nothing_from_it() -> None:
    assert PLAN.recipe is not None
    other = gs.solvers.ddim(SCHEDULE, PLAN.recipe.grid)
    assert other.times == PLAN.times
    draw(seed=1)
    assert_same_bits(draw(other, seed=1), elsewhere(lambda: draw(other, seed=1)))


def test_a_network_of_another_dtype_takes_nothing_from_it() -> None:
    dtypes: list[torch.dtype] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        dtypes.append(x.dtype)
        return 0.5 * x

    _ = [draw(model=FakeModel(network, dtype=dtype)) for dtype in (torch.float16, torch.bfloat16, torch.float16)]
    rows = len(PLAN.rows)
    assert dtypes == [torch.float16] * rows + [torch.bfloat16] * rows + [torch.float16] * rows


def test_every_chunk_has_noise_in_memory_of_its_own() -> None:
    inputs = gather_inputs(
        gs.models.as_model(halve), PLAN, shape=(4, 3), seed=5, cond=None, shared=None, x=None, name="state",
        sample_ids=None, batch_size=2, device=None, dtype=None,
    )  # fmt: skip
    first, second = (inputs.noise(inputs.select(start)) for start in (0, 2))
    assert (first.seed.tolist(), first.sample_ids.tolist()) == ([5], [0, 1])
    assert (second.seed.tolist(), second.sample_ids.tolist()) == ([5], [2, 3])
    tensors = (*first[:2], *second[:2], inputs.seed, inputs.ids)
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)


def test_inference_mode_and_gradients_share_what_is_kept() -> None:
    expected = elsewhere(lambda: draw(seed=2))
    with torch.inference_mode():
        draw(seed=1)
    used = kept_states()
    outside = draw(seed=2)
    with torch.inference_mode():
        inside = draw(seed=2)
    assert kept_states() == used
    assert not outside.is_inference() and not inside.is_inference()
    assert_same_bits(outside, expected)
    assert_same_bits(inside, expected)


# --- results


def test_results_are_independent_of_later_runs_and_of_each_other() -> None:
    first = draw(seed=1)
    before = first.clone()
    second = draw(seed=2)
    assert first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr()
    assert_same_bits(first, before)
    second.zero_()
    assert_same_bits(draw(seed=1), before)


def test_a_padded_chunk_and_on_row_leave_nothing_of_the_kept_memory_outside() -> None:
    seen: list[Tensor] = []
    result = draw(count=2, batch_size=3, on_row=lambda event: seen.extend((event.x, event.predicted_x0())))
    own = {workspace.state.x.untyped_storage().data_ptr() for workspace in KEPT.held}
    assert own and own.isdisjoint(tensor.untyped_storage().data_ptr() for tensor in (result, *seen))


LEAKS: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x,
    "a view": lambda x: x.detach(),
    "its first sample thrice": lambda x: x[:1].expand(x.shape),
    "another tensor": lambda x: x.new_empty(0).set_(x.untyped_storage(), 0, x.shape, x.stride()),
}
FED = {"one memory": 1.0, "separate input": 0.5}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
@pytest.mark.parametrize("scale", FED.values(), ids=FED.keys())
def test_a_run_may_start_in_what_its_network_was_given_before(scale: float, leak: Callable[[Tensor], Tensor]) -> None:
    plan, given = plan_of(euler(1.0, input_scale=scale), euler(0.5, input_scale=scale)), []

    def network(x: Tensor, t: Tensor) -> Tensor:
        given[:] = [x]
        return 0.5 * x

    model = FakeModel(network, label=same_label)
    draw(plan, model, seed=1)
    x = leak(given[0])
    expected = elsewhere(lambda: draw(plan, model, state=x.clone()))
    assert_same_bits(draw(plan, model, state=x), expected)


# --- who has it


def test_threads_do_not_share_it() -> None:
    plan = solver_plan("ddim", 3, eta=1.0)
    expected = [draw(plan, seed=seed) for seed in range(8)]

    def slow(x: Tensor, t: Tensor) -> Tensor:
        result = 0.5 * x
        time.sleep(0.002)  # the others run
        return result

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: draw(plan, slow, seed=seed % 8), range(32)))
    assert all(torch.equal(result, expected[i % 8]) for i, result in enumerate(results))


def test_a_network_may_sample_by_the_same_plan() -> None:
    def outer(inner: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda x, t: 0.5 * x + 0.1 * inner(x)

    def by_itself(x: Tensor) -> Tensor:
        return draw(state=x)

    expected = draw(model=outer(lambda x: elsewhere(lambda: by_itself(x))), seed=1)
    KEPT.held.clear()
    results = [draw(model=outer(by_itself), seed=1) for _ in range(2)]
    assert_same_bits(results[0], expected)
    assert_same_bits(results[1], expected)
    assert len(KEPT.held) == 2


def test_a_network_that_samples_between_two_chunks_leaves_their_seed_alone() -> None:
    plan = solver_plan("ddim", 2, eta=1.0)

    def network(x: Tensor, t: Tensor) -> Tensor:
        draw(plan, count=2, seed=99)
        return 0.5 * x

    assert_same_bits(draw(plan, network, count=6, batch_size=2, seed=1), elsewhere(lambda: draw(plan, count=6, seed=1)))


def test_a_forked_process_has_its_own() -> None:
    plan = solver_plan("ddim", 2, eta=1.0)
    expected = draw(plan, seed=1)
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork on this system")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        there = pool.apply_async(_drawn_as_list, (plan, 1)).get(timeout=120)
    assert torch.tensor(there).equal(expected)
    assert_same_bits(draw(plan, seed=1), expected)


def _drawn_as_list(plan: Plan, seed: int) -> list[Any]:
    torch.set_num_threads(1)
    return draw(plan, seed=seed).tolist()
