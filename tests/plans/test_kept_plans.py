"""make_plan keeps what it has made: the same question costs nothing, another one is another plan."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.schedules import Schedule
from genie_samplers.solvers.make import KEPT

TIMES = [999.0, 700.0, 300.0, -1.0]


def table() -> Schedule:
    return gs.schedules.from_betas(gs.schedules.scaled_linear_betas(1000))


def asked(**changes: Any) -> Plan:
    return gs.make_plan("deis_tab2", table(), **{"nfe": 5, "grid": "trailing", "prediction": "v", **changes})


def make_those_that_are_equal_as_numbers() -> None:
    """To what is refused: True to 1, 5.0 to 5."""
    for arguments in ({}, {"nfe": 1}, {"denoise": True}, {"clip": 1.0}):
        asked(**arguments)


def test_the_same_question_gets_the_same_plan() -> None:
    assert asked() is asked()


def test_a_schedule_is_known_by_its_numbers() -> None:
    assert table() is not table()
    assert gs.make_plan("ddim", table(), 4) is gs.make_plan("ddim", table(), 4)


@pytest.mark.parametrize(
    "times", [TIMES, tuple(TIMES), np.array(TIMES), np.array(TIMES, np.float32), torch.tensor(TIMES)],
    ids=["list", "tuple", "float64", "float32", "tensor"],
)  # fmt: skip
def test_times_are_known_by_their_numbers(times: Any) -> None:
    assert gs.make_plan("ddim", table(), times=times) is gs.make_plan("ddim", table(), times=TIMES)


@pytest.mark.parametrize(
    "changes",
    [
        {"nfe": 6}, {"grid": "leading"}, {"prediction": "epsilon"}, {"clip": 1.0}, {"clip": 2.0},
        {"options": {"warmup": "gradual"}}, {"grid": "karras"}, {"grid": "karras", "denoise": False},
        {"grid": "karras", "direction": "encode"}, {"grid": "karras", "end": 20.0}, {"grid": None},
        {"nfe": None, "grid": None, "times": TIMES}, {"nfe": None, "grid": None, "sigmas": [10.0, 1.0, 0.0]},
    ],
    ids=str,
)  # fmt: skip
def test_another_question_gets_another_plan(changes: dict[str, Any]) -> None:
    assert asked(**changes) != asked()
    assert asked(**changes) == asked(**changes)


def test_what_a_model_predicts_is_part_of_the_question() -> None:
    class Network:
        def __init__(self, prediction: str) -> None:
            self.prediction = prediction

    made = [gs.make_plan("ddim", table(), 4, model=Network(name)) for name in ("v", "x0", "v")]
    assert [plan.recipe.options["prediction"] for plan in made if plan.recipe] == ["v", "x0", "v"]
    assert made[0] is made[2]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"nfe": True}, "nfe=True"), ({"nfe": 5.0}, "nfe=5.0"), ({"grid": ["trailing"]}, "grid="),
        ({"options": [1]}, "options="), ({"options": {"order": True}}, "order"), ({"clip": "1"}, "clip"),
        ({"denoise": 1}, "denoise=1"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_refused_is_refused_after_a_plan_was_made(changes: dict[str, Any], match: str) -> None:
    make_those_that_are_equal_as_numbers()
    with pytest.raises((TypeError, ValueError), match=match):
        asked(**changes)


def test_no_more_plans_are_kept_than_said() -> None:
    first = gs.make_plan("ddim", table(), 3, end=1.0)
    assert gs.make_plan("ddim", table(), 3, end=1.0) is first
    others = [gs.make_plan("ddim", gs.schedules.vp_linear(), times=[1.0, 0.5 + k / 1000.0]) for k in range(KEPT)]
    assert len(set(map(id, others))) == KEPT
    assert gs.make_plan("ddim", table(), 3, end=1.0) is not first


def test_a_kept_plan_warns_as_a_new_one_does() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plans = [gs.make_plan("edm_heun", gs.schedules.edm(), 13) for _ in range(2)]
    assert plans[0] is plans[1]
    assert [w.category for w in caught] == [gs.UnfitWarning] * 2


def test_threads_get_equal_plans() -> None:
    made: list[Plan] = []
    threads = [threading.Thread(target=lambda: made.append(asked(nfe=9))) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(made) == 8
    assert len(set(made)) == 1
