"""Plans and recipes cannot be changed, and a recipe holds what JSON can."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers.plan import FrozenMapping, Init, Recipe

from .plans import NFE, ROW, plan_of


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


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}
every_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES.keys())


@every_copy
def test_copies_are_equal_and_stay_immutable(duplicate: Any) -> None:
    plan = duplicate(gs.make_plan("deis_tab2", gs.schedules.vp_linear(), NFE))
    assert plan == gs.make_plan("deis_tab2", gs.schedules.vp_linear(), NFE)
    assert not plan.table.flags.writeable
    with pytest.raises(TypeError):
        plan.recipe.options["order"] = 0


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
