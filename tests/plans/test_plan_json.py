"""Canonical JSON, equality and hash of plans."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle

import numpy as np
import pytest

from genie_samplers.plan import Combination, Init, Plan

from .plans import (
    NFE,
    STEP,
    every_variant,
    plan_of,
    solver_plan,
    with_step,
)


@every_variant
@pytest.mark.parametrize("indent", [None, 2])
def test_json_round_trip_gives_an_equal_plan_and_the_same_table(plan: Plan, indent: int | None) -> None:
    read = Plan.from_json(plan.to_json(indent=indent))
    assert read == plan
    assert hash(read) == hash(plan)
    assert np.array_equal(read.table, plan.table)
    assert read.to_json() == plan.to_json()


def test_json_is_canonical_and_uses_shortest_decimals() -> None:
    plan = plan_of(with_step(time=0.1, x=Combination(1 / 3, y=(1e-300,))), init=Init(0.2))
    assert plan.to_json() == (
        '{"format":"genie-plan","guidance":null,"init":{"distribution":"normal","scale":0.2},"instructions":[{"aux":null,'
        '"calls":1,"converted":[{"bound":null,"p":0.0,"q":[1.0],"scale":1.0}],"draws":[],"history":[],"input_scale":1.0,'
        '"time":0.1,"x":{"aux":0.0,"draws":[],"history":[],"x":0.3333333333333333,"y":[1e-300]}}],"outputs":["epsilon"],'
        '"quantity":"epsilon","recipe":null,"version":1}'
    )


@every_variant
def test_json_holds_no_infinity_and_no_nan(plan: Plan) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    json.loads(plan.guided([1.5, 2.0]).to_json(), parse_constant=refuse)


def test_integers_where_floats_are_meant_make_an_equal_plan() -> None:
    whole = with_step(x=Combination(x=1, y=(2,)))
    plan = plan_of(whole)
    assert plan == plan_of(with_step(x=Combination(x=1.0, y=(2.0,))))
    assert Plan.from_json(plan.to_json()) == plan


def edited(**changes: object) -> str:
    return json.dumps(json.loads(plan_of(STEP).to_json()) | changes)


def without(key: str) -> str:
    data = json.loads(plan_of(STEP).to_json())
    del data[key]
    return json.dumps(data)


STEP_JSON = json.loads(plan_of(STEP).to_json())["instructions"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", 'not a plan; need a JSON object with "format": "genie-plan"'),
        ("{", "Expecting property name"),
        (edited(format="genie-plans"), 'not a plan; need .*"version": 1'),
        (edited(version=2), 'not a plan; need .*"version": 1'),
        (without("version"), 'not a plan; need .*"version": 1'),
        (edited(note="mine"), r"plan: unknown keys \['note'\], missing keys \[\]"),
        (without("outputs"), r"plan: unknown keys \[\], missing keys \['outputs'\]"),
        (
            edited(rows=[STEP_JSON | {"extra": 1}]),
            r"plan.rows\[0\]: unknown keys \['extra'\]",
        ),
        (
            edited(rows=[STEP_JSON | {"calls": 1.0}]),
            r"plan.rows\[0\].calls: 1.0; need int",
        ),
        (
            edited(rows=[STEP_JSON | {"time": "1"}]),
            r"plan.rows\[0\].time: '1'; need float",
        ),
        (edited(rows=[STEP_JSON | {"time": None}]), "row 0: a coefficient is inf or NaN"),
        (
            edited(rows=[STEP_JSON | {"history": [[0]]}]),
            r"history\[0\]: \[0\]; need \['row', 'h'\]",
        ),
        (edited(rows=[]), "rows: .*at least one row"),
        (edited(guidance=[None]), r"guidance=\(inf,\).*finite"),
        (edited(outputs="epsilon"), "plan.outputs: 'epsilon'; need a list"),
        (
            edited(init={"distribution": "normal", "scale": math.nan}),
            "plan.init.scale: nan; need float",
        ),
        (
            edited(recipe={"solver": "ddim", "schedule": {}, "grid": [], "options": {"eta": math.nan}}),
            "nan cannot",
        ),
    ],
)
def test_malformed_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan.from_json(text)


def test_equality_is_that_of_all_fields() -> None:
    plan = solver_plan("deis_tab2")
    assert plan == solver_plan("deis_tab2")
    assert plan != solver_plan("deis_tab2", NFE + 1)
    assert plan != dataclasses.replace(plan, recipe=None)
    assert plan != plan.guided(1.0)
    assert plan != plan.to_json()
    assert len({plan, solver_plan("deis_tab2"), plan.guided(2.0)}) == 2


@every_variant
def test_a_pickled_plan_comes_back_equal(plan: Plan) -> None:
    assert pickle.loads(pickle.dumps(plan)) == plan
