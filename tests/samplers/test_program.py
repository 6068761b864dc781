"""Program: a plan on a device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import PlanState, Program
from genie_samplers.plan import Combination, Conversion, Row
from genie_samplers.run import run_rows

from .conftest import Place
from .fakes import SHAPE, VARIANTS, euler, every_variant, normals, plan_of, solver_plan

PLAN = VARIANTS["deis_tab2"]


def start(count: int) -> Tensor:
    return normals(list(range(count)), SHAPE, draw=0, stream=0)


def final(program: Program, x: Tensor) -> Tensor:
    return run_rows(PlanState(program, x), lambda call, state: 0.5 * state.model_input).x


@every_variant
def test_the_rows_read_one_table_on_the_device(plan: gs.Plan, place: Place) -> None:
    program = Program.of(plan, device=place.device, backend=place.backend)
    assert torch.equal(program.table.cpu(), torch.from_numpy(np.array(plan.table)).float())
    assert {row.untyped_storage().data_ptr() for row in program.coefficients} == {
        program.table.untyped_storage().data_ptr()
    }
    assert [row.shape[-1] for row in program.coefficients] == [row.columns for row in plan.layout]
    assert program.device == program.table.device


@pytest.mark.parametrize(
    ("dtype", "compute"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_the_table_is_in_the_compute_dtype(dtype: torch.dtype, compute: torch.dtype) -> None:
    program = Program.of(PLAN, dtype=dtype)
    assert (program.table.dtype, program.compute_dtype, program.model_dtype) == (compute, compute, dtype)


def test_a_name_is_no_plan() -> None:
    with pytest.raises(TypeError, match="plan: str; pass a Plan"):
        Program.of(cast(Any, "ddim"))


@pytest.mark.parametrize("wrong", [{"dtype": torch.int32}, {"model_dtype": torch.bool}], ids=["state", "model"])
def test_a_dtype_that_is_no_floats_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"dtype=torch\..*; choose torch.float16, torch.bfloat16"):
        Program.of(PLAN, **wrong)


# --- other numbers


def test_other_numbers_run_the_same_rows() -> None:
    program, x = Program.of(PLAN), start(3)
    other = gs.make_plan("deis_tab2", gs.schedules.vp_linear(), 5, grid="uniform_t", denoise=True)
    assert other.layout == PLAN.layout
    assert_same_bits(final(program.with_table(Program.of(other).table), x), final(Program.of(other), x))


def test_numbers_may_be_per_sample() -> None:
    program, x = Program.of(PLAN), start(3)
    other = Program.of(gs.make_plan("deis_tab2", gs.schedules.vp_linear(), 5, grid="uniform_t", denoise=True))
    mixed = program.with_table(torch.stack([program.table, other.table, program.table], dim=1))
    alone = [final(p, x[i : i + 1]) for i, p in enumerate([program, other, program])]
    assert_same_bits(final(mixed, x), torch.cat(alone))


def test_a_program_of_some_samples_has_their_numbers() -> None:
    plan, x = solver_plan("ddim", 3).guided([1.0, 2.5, -1.0, 0.5]), start(4)
    program, chosen = Program.of(plan), torch.tensor([2, 0])

    def pair(program: Program, x: Tensor) -> Tensor:
        return run_rows(PlanState(program, x), lambda call, state: (0.5 * state.x, 0.25 * state.x)).x

    assert_same_bits(pair(program.for_samples(chosen), x[chosen]), pair(program, x)[chosen])


def test_a_program_of_one_table_is_that_of_any_samples() -> None:
    program = Program.of(PLAN)
    assert program.for_samples(torch.tensor([0])) is program


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda table: table[:-1], ValueError, r"table: shape \(4, .*\); need \[5, .*\] or one such per sample"),
        (lambda table: table[:, :-1], ValueError, "table: shape"),
        (lambda table: table[0], ValueError, "table: shape"),
        (lambda table: table.double(), TypeError, "table: dtype torch.float64; a state of torch.float32 needs"),
        (lambda table: table.to("meta"), ValueError, "table: on meta, but the program is on cpu; move it there"),
        (lambda table: table.numpy(), TypeError, "table: ndarray; pass a tensor"),
    ],
    ids=["rows", "columns", "one row", "dtype", "device", "array"],
)
def test_numbers_that_are_of_other_rows_are_refused(change: object, error: type[Exception], message: str) -> None:
    program = Program.of(VARIANTS["ddim"])
    with pytest.raises(error, match=message):
        program.with_table(change(program.table))  # type: ignore[operator]


# --- shared


@pytest.mark.parametrize("name", ["deis_tab2", "edm_heun"])
def test_threads_share_a_program(name: str) -> None:
    program, starts = Program.of(VARIANTS[name]), [start(i) for i in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: final(program, x), starts))
    assert all(torch.equal(a, final(Program.of(VARIANTS[name]), x)) for a, x in zip(together, starts, strict=True))


def test_a_run_leaves_the_table_as_it_was() -> None:
    program = Program.of(PLAN)
    before = program.table.clone()
    final(program, start(2))
    assert_same_bits(program.table, before)


# --- what rows ask


def test_a_call_picks_what_its_row_reads_from_all_outputs() -> None:
    first = Row(1.0, Combination(1.0, y=(1.0,)), converted=(Conversion(0.0, (1.0, 0.0)),))
    (call,) = Program.of(plan_of(first, outputs=("epsilon", "k1")).guided(2.0)).plan.calls
    assert call.names == ("epsilon", "uncond.epsilon")
    assert call.read(("e", "k", "u.e", "u.k")) == call.read(("e", "u.e")) == ("e", "u.e")


def test_the_network_is_fed_the_state_itself_where_that_is_enough() -> None:
    assert not Program.of(PLAN).feeds
    assert Program.of(PLAN, model_dtype=torch.bfloat16).feeds
    assert Program.of(plan_of(euler(1.0, input_scale=0.5))).feeds
