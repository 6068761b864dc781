"""The integers of a plan: memory slots by liveness, columns in the order of fused_step."""

from __future__ import annotations

import math

import pytest

import genie_ext
from genie_samplers.plan import Combination, Conversion, HistoryEntry, Plan, Row, RowLayout

from .plans import (
    EPSILON,
    ROW,
    TWO,
    every_variant,
    plan_of,
    solver_plan,
    with_row,
)

# --- slots


@pytest.mark.parametrize(
    ("name", "slots"),
    [
        ("ddim", 0),
        ("deis_tab0", 0),
        ("deis_tab1", 2),
        ("deis_tab2", 3),
        ("deis_tab3", 4),
        ("dpmpp_2m", 2),
        ("edm_heun", 1),
    ],
)
def test_slots_are_as_few_as_liveness_allows(name: str, slots: int) -> None:
    assert solver_plan(name, 9).slots == slots


def read_at(plan: Plan, row: int) -> list[int]:
    return [slot for layout in plan.layout[row:] for slot in layout.history]


@every_variant
def test_history_is_found_in_the_slot_it_was_stored_in_and_not_overwritten_since(
    plan: Plan,
) -> None:
    written: dict[int, list[tuple[int, HistoryEntry]]] = {}  # slot -> (row, what) in order of writing
    stored = [
        (row, slot, HistoryEntry(row, h))
        for row, layout in enumerate(plan.layout)
        for h, slot in enumerate(layout.store)
        if slot is not None
    ]
    for row, slot, what in stored:
        written.setdefault(slot, []).append((row, what))
    reads = [
        (number, slot, past)
        for number, (layout, row) in enumerate(zip(plan.layout, plan.rows, strict=True))
        for slot, past in zip(layout.history, row.history, strict=True)
    ]
    found = [[w for when, w in written[slot] if when < row][-1] for row, slot, _ in reads]
    assert found == [past for _, _, past in reads]
    # the row that reads a slot does not write it: the op refuses a store that is also history
    assert not [layout for layout in plan.layout if set(layout.history) & set(layout.store)]


@every_variant
def test_only_what_a_later_row_reads_is_stored(plan: Plan) -> None:
    read = {past for row in plan.rows for past in row.history}
    stored = {
        HistoryEntry(row, h)
        for row, layout in enumerate(plan.layout)
        for h, slot in enumerate(layout.store)
        if slot is not None
    }
    assert stored == read


def test_a_long_lived_output_keeps_its_slot_while_short_lived_ones_share_another() -> None:
    def reading(*past: HistoryEntry) -> Row:
        return with_row(x=Combination(1.0, y=(1.0,), history=(1.0,) * len(past)), history=past)

    plan = plan_of(ROW, ROW, reading(HistoryEntry(1)), ROW, reading(HistoryEntry(3)), reading(HistoryEntry(0)))
    assert [row.store for row in plan.layout] == [(0,), (1,), (None,), (1,), (None,), (None,)]


def test_two_outputs_of_one_row_get_two_slots() -> None:
    both = with_row(converted=(EPSILON, EPSILON), x=TWO)
    reader = with_row(
        x=Combination(1.0, y=(1.0,), history=(1.0, 1.0)), history=(HistoryEntry(0, 0), HistoryEntry(0, 1))
    )
    assert plan_of(both, reader).layout[0].store == (0, 1)


# --- columns


@every_variant
def test_a_row_has_the_columns_of_fused_step(plan: Plan) -> None:
    expected = [
        genie_ext.row_columns(
            outputs=row.outputs,
            converted=row.converted,
            history=len(row.history),
            draws=len(row.draws),
            aux=row.reads_aux,
            aux_out=row.writes_aux,
        )
        for row in plan.layout
    ]
    assert [row.columns for row in plan.layout] == expected


@every_variant
def test_columns_beyond_a_row_are_zero(plan: Plan) -> None:
    assert not [row for row, layout in zip(plan.table, plan.layout, strict=True) if row[layout.columns :].any()]


def test_the_table_lists_conversions_then_states_then_the_next_input_scale() -> None:
    first = with_row(
        converted=(Conversion(1.0, (2.0, 3.0), bound=4.0, scale=5.0), Conversion(6.0, (7.0, 8.0))),
        x=Combination(x=9.0, y=(10.0, 11.0)),
        aux=Combination(x=12.0, y=(13.0, 14.0)),
    )
    second = Row(
        0.5,
        Combination(x=1.0, aux=2.0, y=(3.0,), history=(4.0,), draws=(5.0,)),
        aux=Combination(x=6.0, aux=7.0, y=(8.0,), history=(9.0,), draws=(10.0,)),
        converted=(Conversion(0.0, (1.0, 0.0)),),
        history=(HistoryEntry(0, 1),),
        draws=(0,),
        input_scale=0.25,
    )
    plan = plan_of(first, second, outputs=("epsilon", "k1"))
    assert plan.table[0].tolist() == [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        math.inf,
        1,
        9,
        10,
        11,
        12,
        13,
        14,
        0.25,
    ]
    assert plan.table[1].tolist() == [0, 1, math.inf, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 0, 0]
    assert plan.layout[1] == RowLayout(1, 1, 1, (0,), (0,), (None,), True, True)  # k1 has weight 0: it is not read
