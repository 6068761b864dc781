"""Plans: unrolled form, closeness, guidance, printing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers.plan import Combination, Conversion, HistoryEntry, Plan, Row, RowLayout

from .oracle import impulse_responses, roundings
from .plans import (
    NFE,
    ROW,
    VARIANT_IDS,
    VARIANTS,
    every_solver,
    every_variant,
    plan_of,
    recipe_of,
    solver_plan,
    with_row,
)

# --- unrolled


def plan_with_everything() -> Plan:
    """Two conversions of two outputs, history of both, a second state, draws, a free row."""
    converted = (Conversion(0.5, (2.0, -1.0), scale=3.0), Conversion(-0.25, (0.5, 4.0), scale=0.5))
    start = Row(
        1.0,
        Combination(1.5, y=(0.5, -2.0), draws=(0.75,)),
        aux=Combination(0.25, y=(1.0, 3.0), draws=(-1.0,)),
        converted=converted,
        draws=(1,),
    )
    free = Row(0.7, Combination(2.0, aux=-0.5, draws=(0.3, 0.6)), draws=(0, 2), calls=0)
    end = Row(
        0.5,
        Combination(1.0, aux=0.5, y=(1.0, 2.0), history=(-3.0, 0.125)),
        converted=converted[::-1],
        aux=Combination(-1.0, aux=2.0, y=(0.0, 1.0), history=(0.0, 1.0)),
        history=(HistoryEntry(0, 1), HistoryEntry(0, 0)),
    )
    last = Row(0.2, Combination(aux=1.0, y=(0.5, 0.5)), converted=converted)
    return plan_of(start, free, end, last, outputs=("epsilon", "k1"))


@pytest.mark.parametrize("plan", [*VARIANTS, plan_with_everything()], ids=[*VARIANT_IDS, "everything"])
def test_unrolled_is_what_basis_vectors_sent_through_the_rows_become(plan: Plan) -> None:
    unrolled = plan.unrolled()
    states = np.stack(impulse_responses(plan))
    rows, outputs = len(plan.rows), len(plan.outputs)
    bound = 2 * roundings(plan) * 2.0**-53 * np.stack(impulse_responses(plan, np.abs(plan.table)))
    together = np.concatenate(
        [unrolled.state[:, None], unrolled.output.reshape(rows + 1, rows * outputs), unrolled.draw],
        axis=1,
    )
    assert np.all(np.abs(together - states) <= bound)
    assert np.array_equal(together[-1], unrolled.last)


@every_variant
def test_no_state_depends_on_a_later_output(plan: Plan) -> None:
    of_row = np.moveaxis(plan.unrolled().output, -1, 0)  # [output, state, row]
    assert not np.triu(of_row).any()


def test_a_clamped_row_is_not_linear() -> None:
    clamped = with_row(converted=(Conversion(0.0, (1.0,), bound=2.0),))
    with pytest.raises(ValueError, match=r"row 0 clamps at 2\.0: it is not linear"):
        plan_of(clamped).unrolled()


@every_variant
def test_a_plan_is_close_to_itself_and_not_to_one_with_a_changed_weight(plan: Plan) -> None:
    last = plan.rows[-1]
    changed = dataclasses.replace(last, x=dataclasses.replace(last.x, y=(last.x.y[0] * 1.001, *last.x.y[1:])))
    other = dataclasses.replace(plan, rows=(*plan.rows[:-1], changed))
    assert plan.allclose(plan)
    assert not plan.allclose(other)


def test_plans_of_other_lengths_or_guidance_are_not_close() -> None:
    plan = solver_plan("ddim")
    assert not plan.allclose(solver_plan("ddim", NFE + 1))
    assert not plan.guided(2.0).allclose(plan.guided(3.0))


def test_written_differently_the_same_map_is_close_but_not_equal() -> None:
    plan, other = solver_plan("ddim"), solver_plan("deis_tab0")
    assert plan.allclose(other)
    assert plan != other


def slowed(plan: Plan) -> Plan:
    return with_other_rows(plan, [dataclasses.replace(row, time=0.9 * row.time) for row in plan.rows])


def scaled(plan: Plan) -> Plan:
    return with_other_rows(plan, [dataclasses.replace(row, input_scale=0.5) for row in plan.rows])


def of_v(plan: Plan) -> Plan:
    return dataclasses.replace(plan, outputs=("v",))


def with_other_rows(plan: Plan, rows: list[Row]) -> Plan:
    return dataclasses.replace(plan, rows=tuple(rows))


@pytest.mark.parametrize("change", [slowed, scaled, of_v])
def test_plans_that_ask_the_network_differently_are_not_close(change: Any) -> None:
    plan = gs.make_plan("deis_tab2", gs.schedules.vp_linear(), NFE)
    assert plan.allclose(plan)
    assert not plan.allclose(change(plan))


# --- guidance


def split_q(row: np.ndarray, layout: RowLayout, scale: float) -> list[float]:
    """The columns of an unguided row with Q replaced by scale Q, (1 - scale) Q in each of its conversions."""
    width = layout.outputs + 3
    conversions, states = np.split(row[: layout.columns], [layout.converted * width])
    p, q, limits = np.split(conversions.reshape(layout.converted, width), [1, 1 + layout.outputs], axis=1)
    return [*np.concatenate([p, scale * q, (1.0 - scale) * q, limits], axis=1).ravel(), *states]


@every_solver
def test_guidance_splits_q_into_scale_and_one_minus_scale(name: str) -> None:
    plan, scale = solver_plan(name), 3.25
    guided = plan.guided(scale)
    expected = [split_q(row, layout, scale) for row, layout in zip(plan.table, plan.layout, strict=True)]
    actual = [row[: layout.columns].tolist() for row, layout in zip(guided.table, guided.layout, strict=True)]
    assert actual == expected


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("ddim", ("epsilon", "uncond.epsilon")),
        ("genie_ttm2", ("epsilon", "c1", "c2", "c3", "uncond.epsilon", "uncond.c1", "uncond.c2", "uncond.c3")),
    ],
)
def test_guidance_names_the_unconditional_outputs_after_the_conditional_ones(name: str, names: tuple[str, ...]) -> None:
    assert solver_plan(name).guided(3.25).output_names == names


def test_guidance_per_sample_gives_a_table_per_sample() -> None:
    plan, scales = solver_plan("deis_tab1"), [1.0, 2.5, 7.5]
    table = plan.guided(scales).table
    assert table.shape[:2] == (NFE, 3)
    assert np.array_equal(table[:, 0], plan.guided(scales[0]).table)
    assert np.array_equal(table[:, 1], plan.guided(scales[1]).table)
    assert np.array_equal(table[:, 2], plan.guided(scales[2]).table)


def test_guidance_doubles_the_network_calls_and_not_the_nfe() -> None:
    plan = solver_plan("edm_heun", s_churn=5.0)
    assert (plan.nfe, plan.network_calls) == (NFE, NFE)
    assert (plan.guided(2.0).nfe, plan.guided(2.0).network_calls) == (NFE, 2 * NFE)


def test_rows_without_a_network_call_stay_without_one_when_guided() -> None:
    free = Row(1.0, Combination(x=2.0), calls=0)
    assert [row.calls for row in plan_of(free, ROW).guided(2.0).layout] == [0, 2]


@pytest.mark.parametrize("scale", [math.nan, math.inf, [], [1.0, -math.inf], [[1.0, 2.0]]])
def test_guidance_must_be_finite(scale: Any) -> None:
    with pytest.raises(ValueError, match=r"scale=.*; need a finite number or a list of them"):
        plan_of(ROW).guided(scale)


def test_a_guided_plan_is_not_guided_again() -> None:
    with pytest.raises(ValueError, match=r"guidance=\(2.0,\) is already set; call guided\(\) on the unguided plan"):
        plan_of(ROW).guided(2.0).guided(3.0)


def test_guidance_must_be_a_number() -> None:
    with pytest.raises(TypeError, match="scale='a'; need a finite number or a list of them"):
        plan_of(ROW).guided("a")  # type: ignore[arg-type]


# --- printing


@every_variant
def test_a_printed_plan_shows_its_name_its_cost_its_formula_and_every_row(plan: Plan) -> None:
    printed = [line for line in str(plan).splitlines() if line.strip() != plan.note]
    title, convert, combine, header, *lines = printed
    assert title.startswith(f"{recipe_of(plan).solver}: {len(plan.rows)} rows, nfe {plan.nfe}, ")
    assert f"history slots {plan.slots}, x_T = {plan.init.scale:.6g} z" in title
    assert convert.split() == [
        "y",
        "=",
        "p*x",
        "+",
        "q*out",
        *f"(the network's output as {plan.quantity})".split(),
    ]
    assert combine.split() == [
        "x'",
        "=",
        *["W.[x,", "aux,", "y,", "history", "newest", "first]", "+", "C.d"],
    ]
    assert header.split() == [
        "row",
        "time",
        "calls",
        "p",
        "q",
        "state",
        "W",
        "x",
        "W",
        "aux",
        "W",
        "y",
        "W",
        "history",
        "C",
    ]
    assert len(lines) == len(plan.rows) + sum(row.writes_aux for row in plan.layout)
    missing = [
        (number, value)
        for number, row in enumerate(plan.rows)
        for value in (row.time, *(v for v in row.x.flat(with_aux=True) if v))
        if f"{value:.6g}" not in str(plan).split(f"\n  {number} ", 1)[1]
    ]
    assert not missing


def test_a_printed_guided_plan_shows_its_scales() -> None:
    assert ", guidance 2, 7.5\n" in str(plan_of(ROW).guided([2.0, 7.5]))
    assert str(plan_of(ROW)).startswith("plan: 1 rows")
