"""Plans: unrolled form, guidance, restart, printing, immutability."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers.plan import (
    Combination,
    Conversion,
    FrozenMapping,
    HistoryEntry,
    Init,
    Plan,
    Recipe,
    Row,
    RowLayout,
)
from genie_samplers.solvers import registry
from genie_samplers.uses.reconstruct import decoding_plan

from .oracle import impulse_responses, roundings
from .plans import (
    CHURNED,
    NFE,
    NOISY,
    ROW,
    SCHEDULE,
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


# --- restart


@every_variant
@pytest.mark.parametrize("k", [0, 1, 2])
def test_starting_at_k_is_the_solver_on_the_rest_of_the_grid(plan: Plan, k: int) -> None:
    recipe = recipe_of(plan)
    expected = registry.rebuild(recipe.solver, SCHEDULE, recipe.grid[k:], recipe.options)
    assert gs.starting_at(plan, k) == expected
    assert expected.init.scale == SCHEDULE.sigma(recipe.grid[k])


def test_starting_at_the_first_time_rebuilds_the_plan() -> None:
    assert gs.starting_at(CHURNED, 0) == CHURNED


def test_a_restarted_plan_keeps_its_guidance() -> None:
    assert gs.starting_at(solver_plan("deis_tab2").guided([2.0, 3.0]), 3).guidance == (2.0, 3.0)


@pytest.mark.parametrize("k", [-1, NFE])
def test_a_restart_lies_within_the_grid(k: int) -> None:
    with pytest.raises(ValueError, match=rf"k={k}; the grid has {NFE} steps, so k is 0..{NFE - 1}"):
        gs.starting_at(solver_plan("ddim"), k)


@pytest.mark.parametrize("use", [lambda p: gs.starting_at(p, 0), lambda p: p.schedule], ids=["starting_at", "schedule"])
def test_a_plan_without_recipe_says_what_needs_one(use: Any) -> None:
    with pytest.raises(ValueError, match=r"plan: has no recipe .*; make it with make_plan or a solver function"):
        use(plan_of(ROW))


def test_a_recipe_names_a_registered_solver() -> None:
    unknown = Recipe("mine", SCHEDULE.to_dict(), (1.0, 0.5))
    with pytest.raises(ValueError, match="solver='mine'; choose one of"):
        gs.starting_at(plan_of(ROW, recipe=unknown), 0)


# --- a plan changed by hand


def with_rows(plan: Plan, change: Any) -> Plan:
    return dataclasses.replace(plan, rows=tuple(change(row) for row in plan.rows))


def clamped(row: Row) -> Row:
    return dataclasses.replace(row, converted=tuple(dataclasses.replace(c, bound=1.0) for c in row.converted))


def louder(row: Row) -> Row:
    return dataclasses.replace(row, x=dataclasses.replace(row.x, draws=tuple(1.1 * d for d in row.x.draws)))


CHANGED = {
    "clamped": with_rows(solver_plan("dpmpp_2m"), clamped),
    "more noise": with_rows(NOISY, louder),
    "other grid": dataclasses.replace(NOISY, recipe=dataclasses.replace(recipe_of(NOISY), grid=(1.0, 0.5))),
    "other option": dataclasses.replace(NOISY, recipe=dataclasses.replace(recipe_of(NOISY), options={"eta": 0.1})),
    "other start": dataclasses.replace(NOISY, init=Init(2.0)),
    "guided and clamped": with_rows(solver_plan("dpmpp_2m").guided(2.0), clamped),
}


@pytest.mark.parametrize("plan", CHANGED.values(), ids=CHANGED.keys())
@pytest.mark.parametrize("k", [0, 2])
def test_a_changed_plan_is_not_silently_made_anew_from_its_recipe(plan: Plan, k: int) -> None:
    with pytest.raises(ValueError, match=r"plan: is not what its recipe \(\w+\) makes, which would undo the changes"):
        gs.starting_at(plan, k)


@pytest.mark.parametrize("plan", CHANGED.values(), ids=CHANGED.keys())
def test_a_changed_plan_is_not_turned_around(plan: Plan) -> None:
    with pytest.raises(ValueError, match=r"plan: is not what its recipe \(\w+\) makes, which would undo the changes"):
        decoding_plan(plan)


def test_samples_from_an_image_do_not_lose_a_clamp_made_by_hand() -> None:
    image = torch.ones(1, 2)
    with pytest.raises(ValueError, match="which would undo the changes"):
        gs.sample(lambda x, t: 1e3 * x, CHANGED["clamped"], image=image, start=3)


# --- printing


@every_variant
def test_a_printed_plan_shows_its_name_its_cost_its_formula_and_every_row(plan: Plan) -> None:
    title, convert, combine, header, *lines = str(plan).splitlines()
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


# --- immutability


def test_fields_cannot_be_assigned() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(plan_of(ROW), "init", Init(2.0))  # noqa: B010
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(ROW, "time", 0.0)  # noqa: B010


@pytest.mark.parametrize("guidance", [None, 2.0, [2.0, 3.0]], ids=["plain", "guided", "per sample"])
def test_the_table_cannot_be_written(guidance: Any) -> None:
    plan = plan_of(ROW) if guidance is None else plan_of(ROW).guided(guidance)
    with pytest.raises(ValueError, match="read-only"):
        plan.table[...] = 0.0


def test_guidance_must_be_a_number() -> None:
    with pytest.raises(TypeError, match="scale='a'; need a finite number or a list of them"):
        plan_of(ROW).guided("a")  # type: ignore[arg-type]


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


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}
every_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES.keys())


@every_copy
def test_copies_are_equal_and_stay_immutable(duplicate: Any) -> None:
    plan = duplicate(gs.make_plan("deis_tab2", gs.schedules.vp_linear(), NFE))
    assert plan == gs.make_plan("deis_tab2", gs.schedules.vp_linear(), NFE)
    assert not plan.table.flags.writeable
    with pytest.raises(TypeError):
        plan.recipe.options["order"] = 0


# --- recipe


def recipe(**options: object) -> Recipe:
    return Recipe("mine", gs.schedules.from_betas([0.1, 0.2, 0.3]).to_dict(), (2.0, 0.5), options)


def test_a_recipe_keeps_nothing_that_can_change() -> None:
    orders = [3, 2]
    made = recipe(orders=orders, deep={"a": [{"b": orders}]})
    orders.append(1)
    assert made.options == {"orders": (3, 2), "deep": {"a": ({"b": (3, 2)},)}}


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.options.__setitem__("eta", 1.0),
        lambda made: made.options["deep"].__setitem__("a", 1.0),
        lambda made: made.options["deep"]["a"].append(1.0),
        lambda made: made.options["deep"]["a"][0].update(b=1.0),
        lambda made: made.schedule.pop("name"),
        lambda made: made.schedule["alphas_cumprod"].append(0.0),
        lambda made: setattr(made, "options", {}),
    ],
    ids=["option", "nested option", "list", "mapping in a list", "schedule", "table", "field"],
)
def test_a_recipe_cannot_be_changed(change: Any) -> None:
    made = recipe(deep={"a": [{"b": 1}]})
    with pytest.raises((AttributeError, TypeError)):
        change(made)
    assert made == recipe(deep={"a": [{"b": 1}]})


@every_copy
def test_a_copied_recipe_is_equal_and_as_immutable(duplicate: Any) -> None:
    made = recipe(deep={"a": [{"b": 1}]})
    copied = duplicate(made)
    assert copied == made
    assert hash(copied) == hash(made)
    assert type(copied.options["deep"]["a"][0]) is FrozenMapping


def test_numbers_of_numpy_in_a_recipe_are_numbers() -> None:
    made = recipe(eta=np.float32(0.5), order=np.int64(2))
    assert made == recipe(eta=0.5, order=2)
    assert [type(made.options[key]) for key in ("eta", "order")] == [float, int]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eta": math.inf}, ValueError, "options.eta=inf: JSON holds no infinity"),
        ({"a": [1.0, {"b": math.nan}]}, ValueError, r"options.a\[1\].b=nan: JSON holds no infinity and no NaN"),
        ({"n": 2**63}, ValueError, "options.n: an integer beyond 64 bits"),
        ({"name": "\ud800"}, ValueError, r"options.name='\\ud800': a lone surrogate"),
        ({"f": math.sin}, TypeError, "options.f=<built-in function sin>: give what JSON can hold"),
        ({"a": {1: 2}}, TypeError, "options.a: key 1; give strings as keys"),
        ({"a": {1.0, 2.0}}, TypeError, "options.a=.*: give what JSON can hold"),
    ],
)
def test_a_recipe_holds_what_json_can(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        recipe(**options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": ()}, r"grid: times has shape \(0,\)"),
        ({"grid": (1.0, 1.0)}, r"grid: times\[1\]=1.0 after 1.0"),
        ({"grid": (math.inf, 1.0)}, "grid: t=inf is outside"),
        ({"grid": (1.0, -2.0)}, "grid: t=-2.0 is outside"),
        ({"schedule": {"name": "mine"}}, "schedule: schedule name='mine': choose one of"),
        ({"solver": ""}, "solver='': give the name of a solver"),
    ],
)
def test_a_recipe_names_times_of_a_schedule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(recipe(), **changes)
