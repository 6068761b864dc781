"""What the loop computes, and that it depends on neither batch nor backend."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan
from genie_samplers.plan import Combination, Conversion, Row

from ..plans.oracle import execute, impulse_magnitudes, roundings
from .conftest import Place, places
from .fakes import (
    SHAPE,
    SOLVERS_AND_VARIANTS,
    VARIANTS,
    FakeModel,
    euler,
    every_solver_and_variant,
    gaussian_model,
    normals,
    plan_of,
    run,
    same_label,
    solver_plan,
    thinned,
)

PLACES = {place.backend: place for place in places()}
QUICK_PLACES = {name: place for name, place in PLACES.items() if not place.interpreted}

# --- the arithmetic


def impulse_model(plan: Plan, dtype: torch.dtype) -> FakeModel:
    """Returns one basis vector per output and call; x_T is the first of them."""
    outputs, rows = (
        len(plan.outputs),
        iter([row for row, step in enumerate(plan.rows) if step.calls]),
    )
    size = plan.unrolled().last.size
    basis = torch.eye(size, dtype=dtype)

    def model(x: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        first = 1 + next(rows) * outputs
        return tuple(basis[first + o].reshape(x.shape).to(x.device) for o in range(outputs))

    return FakeModel(model)


@thinned(  # every kind of row everywhere, every other solver somewhere
    lambda plan, place, dtype: dtype == (plan + place) % 2 and (plan < len(VARIANTS) or place == plan % len(PLACES)),
    plan=SOLVERS_AND_VARIANTS,
    place=PLACES,
    dtype={"float64": torch.float64, "float32": torch.float32},
)
def test_impulses_through_the_engine_give_the_unrolled_plan(plan: Plan, place: Place, dtype: torch.dtype) -> None:
    expected, size = plan.unrolled().last, plan.unrolled().last.size
    draws = sum(len(row.draws) for row in plan.layout)
    start = torch.eye(size, dtype=dtype)[:1]
    final = gs.sample(
        impulse_model(plan, dtype),
        plan,
        state=start,
        dtype=dtype,
        seed=3,
        sample_ids=[11],
        **place._asdict(),
    )
    z = [normals([11], (size,), draw=d, stream=1, seed=3)[0].double().numpy() for d in range(draws)]
    # the draws cannot be basis vectors: they are the normals of this seed, id and number
    basis = np.concatenate([np.eye(size)[: size - draws], np.reshape(z, (draws, size))])
    unit = torch.finfo(dtype).eps / 2
    unrolled_too = 2 if dtype == torch.float64 else 1
    bound = unrolled_too * roundings(plan) * unit * (impulse_magnitudes(plan) @ np.abs(basis))
    error = np.abs(final[0].double().cpu().numpy() - expected @ basis)
    assert np.all(error <= bound)


@every_solver_and_variant
def test_the_engine_is_the_executor_on_real_data(plan: Plan) -> None:
    factors = (0.7, -0.4, 0.9, -0.2)[: len(plan.outputs)]
    noise = [normals([0, 1, 2], (4,), draw=d, stream=1).double().numpy() for d in range(9)]
    x = normals([0, 1, 2], (4,), draw=0, stream=0).double() * plan.init.scale
    states = execute(plan, x.numpy(), lambda _, x: [f * x for f in factors], noise)
    seen: list[Tensor] = []
    gs.sample(
        lambda x, t: tuple(f * x for f in factors),
        plan,
        shape=(3, 4),
        dtype=torch.float64,
        on_row=lambda e: seen.append(e.x),
    )
    sums = execute(
        plan, np.abs(x.numpy()), lambda _, x: [abs(f) * x for f in factors], np.abs(noise), table=np.abs(plan.table)
    )
    bound = 2 * (roundings(plan) + len(states)) * 2.0**-53 * np.array(sums)
    assert np.all(np.abs(np.stack([x, *seen]) - states) <= bound)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_the_dtype_asked_for(dtype: torch.dtype) -> None:
    assert gs.sample(FakeModel(), solver_plan("ddim"), shape=(2, 3), dtype=dtype).dtype == dtype


def test_rows_without_a_network_call_do_not_call_it() -> None:
    plan = plan_of(Row(1.0, Combination(2.0), calls=0), euler(0.5), Row(0.2, Combination(3.0), calls=0))
    model = FakeModel(label=same_label)
    x = gs.sample(model, plan, state=torch.ones(1, 2))
    assert [call.t.tolist() for call in model.calls] == [[0.5]]
    assert x.tolist() == [[3.0 * (2.0 - 0.5 * 0.5 * 2.0)] * 2]


def test_a_clamped_and_scaled_conversion_with_two_outputs() -> None:
    first = Conversion(0.5, (2.0, 0.0), bound=1.5, scale=10.0)
    second = Conversion(0.0, (0.0, 1.0))
    step = Row(1.0, Combination(y=(1.0, 100.0)), converted=(first, second))
    model = FakeModel(lambda x, t: (x, x + 1), label=same_label)
    x = gs.sample(model, plan_of(step, outputs=("epsilon", "k1")), state=torch.tensor([[0.5, 1.0, -2.0]]))
    assert x.tolist() == [[12.5 + 150.0, 15.0 + 200.0, -15.0 - 100.0]]


# --- the same bits whatever the batch and the backend


@cache
def all_64(plan: Plan) -> Tensor:
    return run(plan, 64)


BATCHES = ((1, None), (7, None), (64, None), (7, 1), (7, 5), (7, 100), (64, 9))


@thinned(  # every kind of row in every batch, on one of the backends
    lambda plan, batch, place: place == (plan + batch) % len(QUICK_PLACES),
    plan=VARIANTS,
    batch={f"{count} by {size}": (count, size) for count, size in BATCHES},
    quick_place=QUICK_PLACES,
)
def test_a_sample_has_the_same_bits_in_any_batch(plan: Plan, batch: tuple[int, int | None], quick_place: Place) -> None:
    count, batch_size = batch
    assert_same_bits(run(plan, count, quick_place, batch_size=batch_size), all_64(plan)[:count])


@pytest.mark.parametrize(("count", "batch_size"), [(1, None), (3, 2)])
def test_a_churned_sample_has_the_same_bits_on_every_backend(count: int, batch_size: int | None, place: Place) -> None:
    plan = solver_plan("edm_heun", 3, s_churn=1.0)
    assert plan.stochastic
    assert_same_bits(run(plan, count, place, batch_size=batch_size), run(plan, 3)[:count])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_state_dtypes_have_the_bits_of_the_reference(dtype: torch.dtype, place: Place) -> None:
    plan = solver_plan("ddim", 2, eta=1.0)
    assert_same_bits(run(plan, 2, place, dtype=dtype), run(plan, 2, dtype=dtype))


def test_sample_ids_choose_the_samples() -> None:
    plan, ids = VARIANTS["edm_heun-churn"], [5, 0, 63, 5]
    assert_same_bits(run(plan, 4, sample_ids=ids), all_64(plan)[ids])
    chosen = torch.tensor(ids)
    assert_same_bits(run(plan, 4, sample_ids=chosen, batch_size=3), all_64(plan)[ids])


def drawing_plan(rows: int) -> Plan:
    """Each state is the row's draw."""
    steps = [Row(1.0, Combination(draws=(1.0,)), draws=(rows - 1 - row,), calls=0) for row in range(rows)]
    return plan_of(*steps, scale=2.0)


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_noise_is_a_function_of_seed_id_draw_and_stream(seed: int, place: Place) -> None:
    ids, states = [3, 2**32 - 1], []
    gs.sample(
        FakeModel(label=same_label),
        drawing_plan(2),
        shape=(2, 5),
        seed=seed,
        sample_ids=ids,
        on_row=lambda event: states.append(event.x.cpu()),
        **place._asdict(),
    )
    signed = seed - 2**64 if seed >= 2**63 else seed
    assert_same_bits(states[0], normals(ids, (5,), draw=1, stream=1, seed=signed))
    assert_same_bits(states[1], normals(ids, (5,), draw=0, stream=1, seed=signed))


def test_the_initial_state_is_scaled_noise_of_stream_0(place: Place) -> None:
    plan = plan_of(Row(1.0, Combination(x=1.0), calls=0), scale=2.5)
    x = gs.sample(FakeModel(label=same_label), plan, shape=(2, 5), sample_ids=[4, 9], **place._asdict())
    assert_same_bits(x.cpu(), 2.5 * normals([4, 9], (5,), draw=0, stream=0))


def test_noise_differs_between_seeds_ids_draws_and_from_the_start() -> None:
    states: list[Tensor] = []
    model, plan = FakeModel(label=same_label), drawing_plan(3)
    start = gs.sample(model, plan_of(Row(1.0, Combination(x=1.0), calls=0)), shape=(4, 6))
    gs.sample(model, plan, shape=(4, 6), on_row=lambda event: states.append(event.x))
    gs.sample(model, plan, shape=(4, 6), seed=1, on_row=lambda event: states.append(event.x))
    noise = torch.cat([start, *states]).flatten()
    assert noise.unique().numel() == noise.numel() == 7 * 4 * 6


def test_the_start_given_is_where_the_plan_starts() -> None:
    plan, x = (
        VARIANTS["deis_tab2"],
        torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0)),
    )
    model = gaussian_model(plan)
    whole = gs.sample(model, plan, state=x)
    assert_same_bits(model.calls[0].x, x)
    assert_same_bits(gs.sample(gaussian_model(plan), plan, state=x, batch_size=2), whole)


def test_the_start_given_is_not_written_to() -> None:
    x = torch.ones(2, 3)
    gs.sample(FakeModel(), solver_plan("ddim"), state=x)
    assert torch.equal(x, torch.ones(2, 3))


# --- where it runs


def test_the_backend_asked_for_runs_or_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match="backend='cuda' cannot run fused_step on cpu tensors: it runs on cuda tensors",
    ):
        gs.sample(FakeModel(), solver_plan("ddim"), shape=(1, 2), backend="cuda")


def test_no_gradient_is_recorded() -> None:
    weight = torch.tensor(0.3, requires_grad=True)
    assert not gs.sample(FakeModel(lambda x, t: weight * x), solver_plan("ddim"), shape=(1, 2)).requires_grad
