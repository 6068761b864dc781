"""JSON of plans, changed at random: refused with a short ValueError, or a plan that its own JSON brings back."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

import genie_samplers as gs
from genie_samplers import Plan

from .plans import SCHEDULE, solver_plan

MUTATIONS = 200  # of each plan in a test
TABLE = gs.schedules.from_betas([0.1, 0.2, 0.3, 0.4])
PLANS = {
    "guided": gs.make_plan("ddim", SCHEDULE, 3, options={"eta": 0.5}).guided([2.0, 0.5]),
    "stages": gs.make_plan("dpm_solver_3s", SCHEDULE, 6),
    "churn": solver_plan("edm_heun", 5, s_churn=2.0),
    "derivatives": gs.make_plan("genie_hermite3", SCHEDULE, 3),
    "table": gs.make_plan("dpmpp_2m", TABLE, 3, prediction="v"),
    "without recipe": Plan(
        *(getattr(solver_plan("deis_tab2", 3), name) for name in ("init", "outputs", "quantity", "rows"))
    ),
}
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 2**31, 2**63, -(2**63), 10**39, 0.0, -0.0, 0.5, -3.25,
    5e-324, 1e-300, 1e300, -1e308, "", "x", "epsilon", "x0", "row", "normal", "ddim", "uncond.v", "\ud800", "0.5",
    "x" * 3000,
    [], [0], [1.0, 0.5], [0.5, 1.0], [None], [[0, 0]], [[1, 1]], [1.0] * 20, [[[[[[[[[[]]]]]]]]]],
    {}, {"kind": "row"}, {"name": "flow"}, {"name": "vp_linear", "beta_min": 0.1, "beta_max": 1e308},
]  # fmt: skip
TOKENS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1" * 45,
    "1" * 6000,
    "1e-999",
    "0x1",
    "01",
    "[" * 3000,
    "nul",
]
MARK = '"mark"'


def outcome(text: str) -> str:
    """What became of the text; only "refused" and "comes back" may happen."""
    try:
        plan = Plan.from_json(text)
    except ValueError as error:
        return "refused" if 0 < len(str(error)) <= 500 else f"a message of {len(str(error))} characters"
    written = plan.to_json()
    again = Plan.from_json(written)
    same = again == plan and again.to_json() == written and len(str(plan)) > 0
    usable = len(plan.table) == len(plan.layout) and isinstance(plan.rising, bool) and restarts(plan)
    return "comes back" if same and usable else f"another plan: {written}"


def restarts(plan: Plan) -> bool:
    """Whether the recipe is rebuilt, or refused by name and value."""
    try:
        return gs.starting_at(plan, 0) == plan
    except (TypeError, ValueError):
        return True


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every container and key of a JSON value."""
    found: list[tuple[Any, Any]] = []
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        found += [(data, key), *places(data[key])]
    return found


def another(rng: random.Random, value: Any) -> Any:
    """A value of the list, or one near the value itself."""
    if isinstance(value, int | float) and rng.random() < 0.3:
        return rng.choice([-value, value + 1, value * 1e200, value * 0.5, float(value), str(value)])
    if isinstance(value, list | dict) and rng.random() < 0.3:
        return rng.choice([[value], {"a": value}, list(value), list(value)[::-1], list(value) * 3])
    return copy.deepcopy(rng.choice(VALUES))


def with_changed_values(rng: random.Random, plan: Plan) -> str:
    """One to three values replaced, removed, renamed, doubled or moved."""
    data = json.loads(plan.to_json())
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(places(data))
        match rng.choice(["replace", "replace", "replace", "remove", "add"]):
            case "replace":
                container[key] = another(rng, container[key])
            case "remove":
                del container[key]
            case _ if isinstance(container, list):
                container.insert(key, copy.deepcopy(rng.choice([container[key], *VALUES])))
            case _:
                container[rng.choice(["", "note", "kind", "rows", "x" * 3000])] = copy.deepcopy(rng.choice(VALUES))
        if not places(data):
            break
    return json.dumps(data)


def with_a_changed_token(rng: random.Random, plan: Plan) -> str:
    """A value replaced by a word that json.dumps does not write, or a key given twice."""
    data = json.loads(plan.to_json())
    container, key = rng.choice(places(data))
    token = rng.choice(TOKENS)
    if isinstance(container, dict) and rng.random() < 0.3:
        token = f"1, {json.dumps(key)}: {json.dumps(container[key])}"
    container[key] = "mark"
    return json.dumps(data).replace(MARK, token)


def with_changed_characters(rng: random.Random, plan: Plan) -> str:
    """One to four characters replaced, removed or put in."""
    text = plan.to_json()
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(text))
        text = text[:i] + rng.choice(["", *'{}[],:"\\-+.eE0123456789nul \n\x00\ud800']) + text[i + rng.randint(0, 2) :]
    return text


CHANGES = [with_changed_values, with_a_changed_token, with_changed_characters]


@every_plan
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changed_json_is_refused_or_makes_a_plan_that_comes_back(plan: Plan, change: Any) -> None:
    rng = random.Random(f"{change.__name__} {len(plan.rows)}")
    assert {outcome(change(rng, plan)) for _ in range(MUTATIONS)} == {"refused", "comes back"}


def in_version_1(text: str) -> str:
    data = json.loads(text)
    if isinstance(data, dict):
        data["version"], data["instructions"] = 1, data.pop("rows", None)
        for row in data["instructions"] if isinstance(data["instructions"], list) else ():
            if isinstance(row, dict):
                row.pop("kind", None)
    return json.dumps(data)


@every_plan
def test_changed_json_of_version_1_is_refused_or_makes_a_plan_that_comes_back(plan: Plan) -> None:
    rng = random.Random(len(plan.rows))
    changed = [in_version_1(with_changed_values(rng, plan)) for _ in range(MUTATIONS)]
    assert set(map(outcome, changed)) == {"refused", "comes back"}
