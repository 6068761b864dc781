"""Rows over shared tensors: the bits of fused_step row by row, and nothing wrong gets in."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_ext
import genie_samplers as gs
from genie_ext import Noise, PreparedRows, StepRows, fused_step, prepare_rows
from genie_ext.ops.fused_step.rows import LAYOUT_COLUMNS
from genie_ext.testing import assert_same_bits
from genie_samplers.plan import RowLayout
from genie_samplers.plan.layout import packed

SHAPE = (3, 2, 5)


def row(**fields: Any) -> RowLayout:
    defaults: dict[str, Any] = {
        "calls": 1, "outputs": 1, "converted": 1, "history": (), "draws": (), "store": (None,), "reads_aux": False,
        "writes_aux": False,
    }  # fmt: skip
    return RowLayout(**defaults | fields)


LAYOUT = (
    row(outputs=2, store=(0,), writes_aux=True),
    row(outputs=1, history=(0,), store=(1,), reads_aux=True, draws=(0,)),
    row(outputs=0, converted=0, store=(), draws=(1, 2), reads_aux=True, writes_aux=True),
    row(outputs=3, converted=2, store=(2, 3), history=(1, 0), draws=(3,)),
)
"""One row of every kind: two states, draws, memory written and read, no network."""


@dataclass(frozen=True)
class Case:
    dtype: torch.dtype = torch.float32
    fed: torch.dtype | None = torch.bfloat16
    per_sample: bool = False
    noise: bool = True

    def rows(self, device: str) -> StepRows:
        generator = torch.Generator().manual_seed(3)

        def normal(*shape: int, dtype: torch.dtype = self.compute) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).to(device)

        noise = Noise(torch.tensor([9], device=device), torch.tensor([4, 0, 7], device=device))
        width = max(layout.columns for layout in LAYOUT)
        table = normal(len(LAYOUT), *((SHAPE[0],) if self.per_sample else ()), width)
        x = normal(*SHAPE, dtype=self.dtype)
        return StepRows(
            layout=packed(LAYOUT), table=table, x=x, aux=torch.zeros_like(x),
            x_in=None if self.fed is None else torch.zeros_like(x, dtype=self.fed),
            slots=[torch.zeros(SHAPE, dtype=self.compute, device=device) for _ in range(4)],
            noise=noise if self.noise else None,
            nonfinite=torch.zeros(len(LAYOUT), SHAPE[0], dtype=torch.int32, device=device),
        )  # fmt: skip

    @property
    def compute(self) -> torch.dtype:
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    def brought(self, number: int, device: str) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs and draws of a row."""
        generator = torch.Generator().manual_seed(100 + number)
        layout = LAYOUT[number]
        draws = 0 if self.noise else len(layout.draws)
        made = [torch.randn(SHAPE, generator=generator).to(device) for _ in range(layout.outputs + draws)]
        return made[: layout.outputs], made[layout.outputs :]


CASES = {
    "float32": Case(),
    "float64": Case(dtype=torch.float64),
    "bfloat16": Case(dtype=torch.bfloat16),
    "no input of its own": Case(fed=None),
    "a table per sample": Case(per_sample=True),
    "draws that are given": Case(noise=False),
}


def written(rows: StepRows) -> list[Tensor]:
    return [t for t in (rows.x, rows.aux, rows.x_in, *rows.slots, rows.nonfinite) if t is not None]


def run_one_by_one(rows: StepRows, case: Case, device: str) -> None:
    """Every row by the public op, on the reference."""
    for number in range(len(LAYOUT)):
        call = rows.call(number)
        outputs, draws = case.brought(number, device)
        fused_step(
            call.x, outputs, call.history, row=call.row, converted=call.converted, aux=call.aux,
            draws=call.draws if case.noise else draws, noise=call.noise, out=call.out, aux_out=call.aux_out,
            store=call.stored, x_in=call.x_in, nonfinite=call.nonfinite, backend="reference",
        )  # fmt: skip


def run_checked(prepared: PreparedRows, number: int, outputs: list[Tensor], draws: list[Tensor]) -> None:
    """By the way that does not look at outputs, where nothing but outputs is brought."""
    if draws:
        prepared(number, outputs, draws)
    else:
        prepared.run_checked(number, outputs)


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("run", [lambda rows, *given: rows(*given), run_checked], ids=["call", "run_checked"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.each_value("case", "backend")
def test_rows_have_the_bits_of_the_op_one_by_one(case: Case, run: Any, backend: str, device: str) -> None:
    expected, rows = case.rows(device), case.rows(device)
    run_one_by_one(expected, case, device)
    prepared = prepare_rows(rows, backend=backend)
    assert prepared.backend == backend
    for number in range(len(LAYOUT)):
        run(prepared, number, *case.brought(number, device))
    for mine, theirs in zip(written(rows), written(expected), strict=True):
        assert_same_bits(mine, theirs)


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_rows_from_tensor_to_tensor_have_the_same_bits(case: Case, any_backend: str) -> None:
    """Without an input of its own the state is the caller's: what is handed in is read, and stays as it is."""
    expected, rows = case.rows("cpu"), case.rows("cpu")
    run_one_by_one(expected, case, "cpu")
    prepared, made = prepare_rows(rows, backend=any_backend), [rows.x.clone()]
    for number in range(len(LAYOUT)):
        made.append(prepared.move(number, None if case.fed else made[-1], *case.brought(number, "cpu")))
    assert len({tensor.data_ptr() for tensor in made}) == len(made)
    assert_same_bits(made[0], case.rows("cpu").x)
    assert_same_bits(made[-1], expected.x if expected.x_in is None else expected.x_in)
    for mine, theirs in zip((rows.aux, *rows.slots), (expected.aux, *expected.slots), strict=True):
        assert mine is not None
        assert theirs is not None
        assert_same_bits(mine, theirs)


@pytest.mark.usefixtures("unchecked")
def test_what_a_row_from_tensor_to_tensor_keeps_is_counted_for_autograd() -> None:
    rows = Case(fed=None).rows("cpu")
    kept = [tensor for tensor in (rows.aux, rows.slots[0]) if tensor is not None]
    before = [genie_ext.times_written(tensor) for tensor in kept]
    prepare_rows(rows, backend="cpu").move(0, rows.x.clone(), [torch.zeros(SHAPE), torch.zeros(SHAPE)])
    assert len(kept) == 2
    assert all(genie_ext.times_written(t) > n for t, n in zip(kept, before, strict=True))


@pytest.mark.usefixtures("unchecked")
def test_rows_without_elements_move_too() -> None:
    layout = (row(),)
    x = torch.zeros(2, 0)
    rows = StepRows(packed(layout), torch.ones(1, layout[0].columns), x)
    made = prepare_rows(rows, backend="cpu").move(0, torch.zeros(2, 0), [torch.zeros(2, 0)])
    assert made.shape == (2, 0)


def test_the_reference_runs_rows_too() -> None:
    expected, rows = Case().rows("cpu"), Case().rows("cpu")
    run_one_by_one(expected, Case(), "cpu")
    prepared = prepare_rows(rows, backend="reference")
    for number in range(len(LAYOUT)):
        prepared(number, *Case().brought(number, "cpu"))
    assert_same_bits(rows.x, expected.x)


def test_a_plans_layout_is_read_as_it_is_written() -> None:
    plan = gs.make_plan("unipc3", gs.schedules.vp_linear(), nfe=6)
    assert plan.packed_layout.shape == (6, LAYOUT_COLUMNS)
    x = torch.zeros(SHAPE)
    rows = StepRows(
        plan.packed_layout, torch.from_numpy(plan.table.astype(np.float32)), x,
        slots=[torch.zeros(SHAPE) for _ in range(plan.slots)],
    )  # fmt: skip
    calls = [rows.call(number) for number in range(6)]
    assert [call.columns for call in calls] == [layout.columns for layout in plan.layout]
    slots = [[next(i for i, s in enumerate(rows.slots) if s is h) for h in call.history] for call in calls]
    assert slots == [list(layout.history) for layout in plan.layout]


@pytest.mark.usefixtures("unchecked")
def test_tensors_live_as_long_as_the_rows() -> None:
    case = Case()
    expected, rows = case.rows("cpu"), case.rows("cpu")
    run_one_by_one(expected, case, "cpu")
    prepared, x = prepare_rows(rows, backend="cpu"), rows.x
    del rows
    gc.collect()
    _ = [torch.full((256,), float("nan")) for _ in range(64)]  # would take the memory
    for number in range(len(LAYOUT)):
        prepared(number, *case.brought(number, "cpu"))
    assert_same_bits(x, expected.x)


def changed_layout(**fields: Any) -> Any:
    return packed((replace(LAYOUT[0], **fields), *LAYOUT[1:]))


def drawing(number: int) -> Any:
    """The layout with this draw in the last row."""
    return packed((*LAYOUT[:-1], replace(LAYOUT[-1], draws=(number,))))


NOISE = Noise(torch.tensor([7]), torch.arange(3))
BAD_ROWS = {
    "a slot that is not there": (
        {"layout": changed_layout(store=(4,))},
        "layout: row 0 names a slot beyond the 4 given",
    ),
    "a slot counted from the end": (
        {"layout": changed_layout(history=(-1,))},
        r"layout: row 0 reads the slots \[-1\]; give numbers from 0 on",
    ),
    "a slot without a tensor": ({"slots": [None] * 4}, r"slots\[0\]: None of type NoneType; pass a torch.Tensor"),
    "slots that are none": ({"slots": None}, "slots: None of type NoneType; pass a list or tuple"),
    "no state": ({"x": None}, "x: None of type NoneType; pass a torch.Tensor"),
    "noise of another type": ({"noise": (1, 2, 3)}, "noise: a tuple; pass genie_ext.Noise"),
    "a draw that is not there": ({"layout": drawing(-1), "noise": NOISE}, r"draws\[0\]: -1; need an integer in 0"),
    "no second state": ({"aux": None}, "layout: row 0 has a second state; pass aux"),
    "a layout of other columns": (
        {"layout": packed(LAYOUT)[:, :5].copy()},
        r"layout: shape \(4, 5\); need \[rows, 26\]",
    ),
    "a layout of int64": (
        {"layout": packed(LAYOUT).astype(np.int64)},
        "layout: ndarray; need a contiguous int32 array",
    ),
    "a table of other rows": ({"table": torch.zeros(3, 20)}, r"table: .*; need \[4, n\] or \[4, B, n\]"),
    "a table for other samples": ({"table": torch.zeros(4, 2, 20)}, "table: 2 samples; the state has 3"),
    "a narrow table": ({"table": torch.zeros(4, 5)}, "row: shape|columns"),
    "a table of float64": ({"table": torch.zeros(4, 40, dtype=torch.float64)}, "row: dtype torch.float64"),
    "flags of another shape": ({"nonfinite": torch.zeros(3, dtype=torch.int32)}, "nonfinite: torch.int32"),
    "a slot of another shape": ({"slots": [torch.zeros(3, 4)] * 4}, "store|history"),
}


@pytest.mark.parametrize(("fields", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_rows_that_cannot_run_are_refused(fields: dict[str, Any], message: str, backend: str) -> None:
    with pytest.raises((ValueError, TypeError, IndexError), match=message):
        prepare_rows(replace(Case().rows("cpu"), **fields), backend=backend)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_memory_that_two_tensors_share_is_refused(backend: str) -> None:
    rows = Case().rows("cpu")
    with pytest.raises(ValueError, match="shares memory"):
        prepare_rows(replace(rows, slots=[rows.x, *rows.slots[1:]]), backend=backend)


def without_memory() -> Tensor:
    tensor = torch.zeros(SHAPE)
    tensor.untyped_storage().resize_(0)
    return tensor


BAD_OUTPUTS = {
    "too few": ([torch.zeros(SHAPE)], "outputs: 1 given; the prepared call has 2 slots"),
    "too many": ([torch.zeros(SHAPE)] * 3, "outputs: 3 given; the prepared call has 2 slots"),
    "another shape": ([torch.zeros(SHAPE), torch.zeros(3, 10)], r"outputs\[1\]: shape \(3, 10\)"),
    "integers": ([torch.zeros(SHAPE), torch.zeros(SHAPE, dtype=torch.int32)], r"outputs\[1\]: dtype torch.int32"),
    "no tensor": ([torch.zeros(SHAPE), 3.0], r"outputs\[1\]: 3.0 of type float"),
    "no memory": ([torch.zeros(SHAPE), without_memory()], r"outputs\[1\]"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("number", [-1, 4])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_row_that_is_not_there_is_refused(number: int, backend: str) -> None:
    rows = Case().rows("cpu")
    before = rows.x.clone()
    with pytest.raises(ValueError, match=f"number: {number}; there are 4 rows, so it is 0..3"):
        prepare_rows(rows, backend=backend)(number, [torch.zeros(SHAPE)] * 2)
    assert_same_bits(rows.x, before)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("outputs", "message"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS.keys())
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_what_a_run_brings_is_checked(outputs: list[Any], message: str, backend: str) -> None:
    rows = Case().rows("cpu")
    before = rows.x.clone()
    with pytest.raises((ValueError, TypeError), match=message):
        prepare_rows(rows, backend=backend)(0, outputs)
    assert_same_bits(rows.x, before)


NOT_CHECKED = {name: BAD_OUTPUTS[name] for name in ("too few", "too many", "no memory")}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("outputs", "message"), NOT_CHECKED.values(), ids=NOT_CHECKED.keys())
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_run_that_looks_at_nothing_still_writes_nowhere_else(outputs: list[Any], message: str, backend: str) -> None:
    rows = Case().rows("cpu")
    before = rows.x.clone()
    with pytest.raises((ValueError, TypeError), match=message):
        prepare_rows(rows, backend=backend).run_checked(0, outputs)
    assert_same_bits(rows.x, before)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_run_that_looks_at_nothing_looks_where_every_run_is_checked(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENIE_EXT_CHECK", "1")
    prepared = prepare_rows(Case().rows("cpu"), backend=backend)
    with pytest.raises(ValueError, match=r"outputs\[1\]: shape \(3, 10\)"):
        prepared.run_checked(0, [torch.zeros(SHAPE), torch.zeros(3, 10)])


def test_an_output_in_the_memory_of_the_state_is_found_where_every_run_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GENIE_EXT_CHECK", "1")
    rows = Case().rows("cpu")
    with pytest.raises(ValueError, match=r"shares memory with outputs\[1\]"):
        prepare_rows(rows, backend="cpu")(0, [torch.zeros(SHAPE), rows.x])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["__call__", "run_checked"])
def test_an_output_that_requires_grad_is_refused_while_gradients_are_recorded(name: str) -> None:
    prepared = prepare_rows(Case().rows("cpu"), backend="cpu")
    outputs = [torch.zeros(SHAPE), torch.zeros(SHAPE, requires_grad=True)]
    with pytest.raises(ValueError, match=r"outputs\[1\]: requires grad"):
        getattr(prepared, name)(0, outputs)
    with torch.no_grad():
        getattr(prepared, name)(0, outputs)


def test_what_is_written_is_counted_for_autograd() -> None:
    rows = Case().rows("cpu")
    before = genie_ext.times_written(rows.x)
    prepare_rows(rows, backend="cpu")(0, [torch.zeros(SHAPE), torch.zeros(SHAPE)])
    assert genie_ext.times_written(rows.x) > before
