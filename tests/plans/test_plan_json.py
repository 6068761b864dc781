"""Canonical JSON, equality and hash of plans."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import math
import pickle
import re
from typing import Any

import numpy as np
import pytest

from genie_samplers.plan import Combination, Conversion, Init, Plan

from .plans import (
    NFE,
    ROW,
    every_variant,
    plan_of,
    solver_plan,
    with_row,
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
    plan = plan_of(with_row(time=0.1, x=Combination(1 / 3, y=(1e-300,))), init=Init(0.2))
    assert plan.to_json() == (
        '{"format":"genie-plan","guidance":null,"init":{"distribution":"normal","scale":0.2},"outputs":["epsilon"],'
        '"quantity":"epsilon","recipe":null,"rows":[{"aux":null,"calls":1,"converted":[{"bound":null,"p":0.0,"q":[1.0],'
        '"scale":1.0}],"draws":[],"history":[],"input_scale":1.0,"kind":"row","time":0.1,"x":{"aux":0.0,"draws":[],'
        '"history":[],"x":0.3333333333333333,"y":[1e-300]}}],"version":2}'
    )


def test_version_1_is_read() -> None:
    text = (
        '{"format":"genie-plan","guidance":null,"init":{"distribution":"normal","scale":0.2},"instructions":[{"aux":null,'
        '"calls":1,"converted":[{"bound":null,"p":0.0,"q":[1.0],"scale":1.0}],"draws":[],"history":[],"input_scale":1.0,'
        '"time":0.1,"x":{"aux":0.0,"draws":[],"history":[],"x":0.3333333333333333,"y":[1e-300]}}],"outputs":["epsilon"],'
        '"quantity":"epsilon","recipe":null,"version":1}'
    )
    assert Plan.from_json(text) == plan_of(with_row(time=0.1, x=Combination(1 / 3, y=(1e-300,))), init=Init(0.2))


@every_variant
def test_json_holds_no_infinity_and_no_nan(plan: Plan) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    json.loads(plan.guided([1.5, 2.0]).to_json(), parse_constant=refuse)


def test_integers_where_floats_are_meant_make_an_equal_plan() -> None:
    whole = with_row(x=Combination(x=1, y=(2,)))
    plan = plan_of(whole)
    assert plan == plan_of(with_row(x=Combination(x=1.0, y=(2.0,))))
    assert Plan.from_json(plan.to_json()) == plan


PLAN_JSON = json.loads(plan_of(ROW).to_json())
ROW_JSON = PLAN_JSON["rows"][0]
RECIPE_JSON = json.loads(solver_plan("ddim").to_json())["recipe"]


def edited(**changes: object) -> str:
    return json.dumps(PLAN_JSON | changes)


def text_with_row(**changes: object) -> str:
    return edited(rows=[ROW_JSON | changes])


def with_recipe(**changes: object) -> str:
    return edited(recipe=RECIPE_JSON | changes)


def without(key: str) -> str:
    return json.dumps({name: value for name, value in PLAN_JSON.items() if name != key})


def written(text: str, **values: str) -> str:
    """JSON text with others' words in place of the values of these keys: what json.dumps would not write."""
    for key, value in values.items():
        text, count = re.subn(rf'("{key}": )("[^"]*"|[^,}}\]]+)', lambda found, v=value: found[1] + v, text, count=1)
        assert count == 1
    return text


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", 'not a plan; need a JSON object with "format": "genie-plan"'),
        ("{", "text: not JSON; Expecting property name"),
        (edited(format="genie-plans"), "not a plan, of format 'genie-plans', version 2; need .*\"version\": 2 or 1"),
        (edited(version=3), "not a plan, .* version 3; need"),
        (edited(version=True), "not a plan, .* version True; need"),
        (edited(version=2.0), "not a plan, .* version 2.0; need"),
        (without("version"), "not a plan, .* version None; need"),
        (edited(version=1), "plan: version 1 has the key 'instructions' in place of 'rows'"),
        (edited(note="mine"), r"plan: unknown keys \['note'\], missing keys \[\]"),
        (without("outputs"), r"plan: unknown keys \[\], missing keys \['outputs'\]"),
        (edited(rows={}), r"plan.rows: \{\}; need a list"),
        (edited(rows=[]), "plan: rows: .*at least one row"),
        (text_with_row(extra=1), r"plan.rows\[0\]: unknown keys \['extra'\]"),
        (text_with_row(kind="stage"), r"plan.rows\[0\].kind: 'stage'; need 'row' or 'apply'"),
        (text_with_row(kind=["row"]), r"plan.rows\[0\].kind: \['row'\]; need 'row' or 'apply'"),
        (text_with_row(kind="apply"), r"plan.rows\[0\]: unknown keys \['aux', .*missing keys \['index', 'operator'"),
        (text_with_row(gains=[]), r"plan.rows\[0\].gains: \[\] says nothing; leave it out"),
        (text_with_row(gains=None), r"plan.rows\[0\].gains: None; need a list"),
        (
            edited(init={"distribution": "normal", "scale": 1.0, "operator": None}),
            "plan.init.operator: None says nothing",
        ),
        (
            edited(rows=[{k: v for k, v in ROW_JSON.items() if k != "kind"}]),
            r"plan.rows\[0\]: .*missing keys \['kind'\]",
        ),
        (text_with_row(calls=1.0), r"plan.rows\[0\].calls: 1.0; need int"),
        (text_with_row(calls=True), r"plan.rows\[0\].calls: True; need int"),
        (text_with_row(time="1"), r"plan.rows\[0\].time: '1'; need float"),
        (text_with_row(time=True), r"plan.rows\[0\].time: True; need float"),
        (text_with_row(time=None), "plan: row 0: a coefficient is inf or NaN"),
        (text_with_row(history=[[0]]), r"plan.rows\[0\].history\[0\]: \[0\]; need \['row', 'h'\]"),
        (edited(guidance=[None]), r"plan: guidance=\(inf,\).*finite"),
        (edited(outputs="epsilon"), "plan.outputs: 'epsilon'; need a list"),
        (edited(outputs=["\ud800"]), r"plan: outputs=\('\\ud800',\); need"),
        (edited(init={"distribution": "normal", "scale": math.nan}), "plan.init.scale: NaN is not JSON"),
        (with_recipe(options={"eta": math.nan}), "plan.recipe.options.eta: NaN is not JSON"),
        (with_recipe(options={"eta": -math.inf}), "plan.recipe.options.eta: -Infinity is not JSON"),
        (with_recipe(options={"a": nested(9)}), r"plan.recipe.options.a(\[0\])+: more than 8 levels"),
        (with_recipe(options={"a": nested(500)}), r"plan.recipe.options.a(\[0\])+: more than 8 levels"),
        (with_recipe(options={"name": "\udfff"}), r"plan.recipe.options.name='\\udfff': a lone surrogate"),
        (with_recipe(options={"": 1}), "plan.recipe.options: key ''; give strings"),
        (with_recipe(options={"n": 2**63}), "plan.recipe.options.n: an integer beyond 64 bits"),
        (with_recipe(solver=""), "plan.recipe: solver='': give the name of a solver"),
        (with_recipe(schedule={}), "plan.recipe: schedule: schedule name=None: choose one of"),
        (with_recipe(schedule=[]), r"plan.recipe.schedule: \[\]; need an object"),
        (
            with_recipe(schedule=RECIPE_JSON["schedule"] | {"beta_min": "0"}),
            "plan.recipe: schedule: beta_min='0': give",
        ),
        (
            with_recipe(schedule=RECIPE_JSON["schedule"] | {"beta_min": True}),
            "plan.recipe: schedule: beta_min=True: give",
        ),
        (with_recipe(grid=[]), r"plan.recipe: grid: times has shape \(0,\): give 2 or more"),
        (with_recipe(grid=[1.0]), r"plan.recipe: grid: times has shape \(1,\): give 2 or more"),
        (with_recipe(grid=[1.0, 0.5, 0.7]), r"plan.recipe: grid: times\[2\]=0.7 after 0.5"),
        (with_recipe(grid=[1.0, 1.0]), r"plan.recipe: grid: times\[1\]=1.0 after 1.0"),
        (with_recipe(grid=[None, 0.5]), r"plan.recipe: grid: t=inf is outside \[0.0, 1.0\]"),
        (with_recipe(grid=[1.5, 0.5]), r"plan.recipe: grid: t=1.5 is outside \[0.0, 1.0\]"),
        (written(edited(), time="1" * 50), r"plan.rows\[0\].time: an integer of 50 digits"),
        (written(edited(), time="1" * 10_000), r"plan.rows\[0\].time: an integer of 10000 digits"),
        (written(edited(), time="1e999"), r"plan.rows\[0\].time: inf; need float"),
        (written(edited(), time="NaN"), r"plan.rows\[0\].time: NaN is not JSON"),
        (written(edited(), calls='1, "calls": 1'), r"plan.rows\[0\]: key 'calls' is given twice"),
        (written(edited(), version='2, "version": 2'), "text: not a plan; .*: key 'version' is given twice"),
        ("[" * 100_000, "text: nested too deeply"),
        ('{"a":' * 100_000, "text: nested too deeply"),
        ("\ufeff{}", "text: not JSON"),
        ("", "text: not JSON; Expecting value"),
    ],
)
def test_malformed_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan.from_json(text)


@pytest.mark.parametrize("text", [None, 3, b"{}", bytearray(b"{}"), {}], ids=repr)
def test_only_text_is_read(text: Any) -> None:
    with pytest.raises(ValueError, match=f"text: {type(text).__name__}; need the string that to_json returned"):
        Plan.from_json(text)


LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        edited(format=LONG),
        edited(version=LONG),
        edited(outputs=LONG),
        edited(outputs=["epsilon", LONG]),
        edited(quantity=LONG),
        edited(guidance=[1.0] * 100_000),
        edited(**{LONG: 1}),
        edited(rows=[1] * 100_000),
        text_with_row(kind=LONG),
        text_with_row(time=LONG),
        text_with_row(draws=list(range(1, 100_000))),
        text_with_row(history=[LONG]),
        text_with_row(converted=[ROW_JSON["converted"][0] | {"q": [1.0] * 100_000}]),
        text_with_row(x=ROW_JSON["x"] | {"y": [1.0] * 100_000}),
        text_with_row(**{LONG: 1}),
        with_recipe(schedule={"name": LONG}),
        with_recipe(schedule={"name": "vp_linear", LONG: 1.0}),
        with_recipe(schedule=RECIPE_JSON["schedule"] | {"beta_min": LONG}),
        with_recipe(options={LONG: math.nan}),
        with_recipe(grid=[0.5] * 100_000),
        written(edited(), time="1" * 5_000_000),
        written(edited(), kind=f'1, "{LONG}": 1, "{LONG}": 1'),
    ],
    ids=itertools.count(),
)
def test_a_message_is_short_however_long_the_value(text: str) -> None:
    try:
        read = Plan.from_json(text)
    except ValueError as error:
        assert len(str(error)) <= 500
    else:
        assert read.guidance == (1.0,) * 100_000  # what is long but in order is read


@pytest.mark.parametrize("scale", [1e300, -1e300, [1.0, 1e300]])
def test_guidance_whose_table_would_overflow_is_refused(scale: Any) -> None:
    steep = plan_of(with_row(converted=(Conversion(0.0, (1e10,)),)))
    with pytest.raises(ValueError, match=r"guidance=.*: too large for row 0; its weights overflow float64"):
        steep.guided(scale)


def test_equality_is_that_of_all_fields() -> None:
    plan = solver_plan("deis_tab2")
    assert plan == solver_plan("deis_tab2")
    assert plan != solver_plan("deis_tab2", NFE + 1)
    assert plan != dataclasses.replace(plan, recipe=None)
    assert plan != plan.guided(1.0)
    assert plan != plan.to_json()
    assert len({plan, solver_plan("deis_tab2"), plan.guided(2.0)}) == 2


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda plan: pickle.loads(pickle.dumps(plan))}


@every_variant
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES.keys())
def test_copies_of_a_plan_and_of_its_recipe_are_equal(plan: Plan, duplicate: Any) -> None:
    assert duplicate(plan) == plan
    assert duplicate(plan.recipe) == plan.recipe
    assert hash(duplicate(plan.recipe)) == hash(plan.recipe)
