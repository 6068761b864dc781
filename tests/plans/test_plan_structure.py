"""A malformed plan cannot exist."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

import numpy as np
import pytest

from genie_ext.ops.fused_step import contract
from genie_samplers.plan import Combination, Conversion, HistoryEntry, Init, Row
from genie_samplers.plan import check as plan_check

from .plans import (
    AB2,
    EPSILON,
    EULER,
    ROW,
    TWO,
    plan_of,
    with_row,
)


def test_a_well_formed_plan_is_accepted() -> None:
    assert plan_of(ROW, AB2).times == (1.0, 0.5)


MALFORMED: dict[str, tuple[tuple[Row, ...], dict[str, object], str]] = {
    "no rows": ((), {}, "rows: .*at least one row"),
    "negative init scale": ((ROW,), {"init": Init(-3.0)}, "init: .*finite scale >= 0"),
    "outputs twice": ((ROW,), {"outputs": ("epsilon", "epsilon")}, "outputs=.*distinct names"),
    "uncond output": ((ROW,), {"outputs": ("uncond.v",)}, "outputs=.*without the prefix"),
    "outputs a list": ((ROW,), {"outputs": ["epsilon"]}, "outputs=.*need a tuple"),
    "unknown distribution": ((ROW,), {"init": Init(1.0, "cauchy")}, "init: .*cauchy.*'normal' or 'uniform'"),
    "infinite init scale": ((ROW,), {"init": Init(math.inf)}, "init: .*inf.*finite scale"),
    "unknown quantity": ((ROW,), {"quantity": "v"}, "quantity='v'; choose one of epsilon, x0, flow"),
    "guidance empty": ((ROW,), {"guidance": ()}, r"guidance=\(\); need None, or one or more"),
    "guidance infinite": ((ROW,), {"guidance": (math.inf,)}, r"guidance=\(inf,\).*finite scales"),
    "nine outputs": ((ROW,), {"outputs": tuple("abcdefghi")}, "outputs: .*at most 8"),
    "ten guided": (
        (ROW,),
        {"outputs": tuple("abcde"), "guidance": (2.0,)},
        "outputs: .*pair counts twice",
    ),
    "guidance a list": (
        (ROW,),
        {"guidance": [2.0]},
        r"guidance=\[2.0\]; need None, or one or more .* in a tuple",
    ),
    "guidance a number": (
        (ROW,),
        {"guidance": 2.0},
        "guidance=2.0; need None, or one or more .* in a tuple",
    ),
    "recipe a mapping": ((ROW,), {"recipe": {}}, r"recipe=\{\}; need None, or a Recipe"),
    "init a number": ((ROW,), {"init": 1.0}, "init: 1.0; need an Init"),
    "init scale a text": ((ROW,), {"init": Init(cast(Any, "1"))}, "init: .*need an Init with a number"),
    "no row": ((cast(Any, 3),), {}, "rows: .*need a tuple of at least one row"),
    "x a tuple": ((with_row(x=(1.0,)),), {}, r"row 0: x=\(1.0,\); need a Combination"),
    "x missing": ((with_row(x=None),), {}, "row 0: x=None; need a Combination"),
    "aux a tuple": ((with_row(aux=(1.0,)),), {}, r"row 0: aux=\(1.0,\); need a Combination"),
    "converted a list": ((with_row(converted=[EPSILON]),), {}, r"row 0: converted=\[.*; need a tuple of Conversion"),
    "converted missing": ((with_row(converted=None),), {}, "row 0: converted=None; need a tuple of Conversion"),
    "history a list": ((ROW, with_row(history=[HistoryEntry(0)])), {}, r"row 1: history=\[.*; need a tuple of History"),
    "history a pair": ((ROW, with_row(history=((0, 0),))), {}, r"row 1: history=.*; need a tuple of HistoryEntry"),
    "draws a list": ((with_row(draws=[0]),), {}, r"row 0: draws=\[0\]; need a tuple of integers"),
    "weights a list": ((with_row(x=Combination(1.0, y=cast(Any, [1.0]))),), {}, r"row 0: x.y=\[1.0\]; need a tuple"),
    "second weights a list": (
        (with_row(aux=Combination(1.0, y=cast(Any, [1.0]))),),
        {},
        r"row 0: aux.y=\[1.0\]; need a tuple of numbers",
    ),
    "q an array": (
        (with_row(converted=(Conversion(0.0, cast(Any, np.array([1.0]))),)),),
        {},
        r"row 0: q=array.*; need a tuple of numbers",
    ),
    "time a text": ((with_row(time="1"),), {}, "row 0: a coefficient is no real number: .*'1'"),
    "coefficient complex": ((with_row(x=Combination(cast(Any, 1j), y=(1.0,))),), {}, "row 0: a coefficient is no real"),
    "bound a text": (
        (with_row(converted=(Conversion(0.0, (1.0,), bound=cast(Any, "1")),)),),
        {},
        "row 0: bound='1'; need a positive bound",
    ),
    "draw used twice": (
        (with_row(x=Combination(1.0, y=(1.0,), draws=(1.0, 1.0)), draws=(0, 0)),),
        {},
        r"draws=\[0, 0\]; number.*using each once",
    ),
    "draws not from zero": (
        (with_row(x=Combination(1.0, y=(1.0,), draws=(1.0,)), draws=(1,)),),
        {},
        r"draws=\[1\]; number the plan's draws 0, 1, 2",
    ),
    "three draws": (
        (with_row(x=Combination(1.0, y=(1.0,), draws=(1.0,) * 3), draws=(0, 1, 2)),),
        {},
        "row 0: 3 draws; at most 2",
    ),
    "three converted": (
        (with_row(converted=(EPSILON,) * 3, x=Combination(1.0, y=(1.0,) * 3)),),
        {},
        "row 0: 3 converted; at most 2",
    ),
    "seventeen of history": (
        (
            *(ROW,) * 17,
            with_row(
                history=tuple(HistoryEntry(16 - k) for k in range(17)),
                x=Combination(1.0, y=(1.0,), history=(1.0,) * 17),
            ),
        ),
        {},
        "row 17: 17 history; at most 16",
    ),
    "unknown calls": ((ROW, with_row(calls=3)), {}, "row 1: calls=3; 0 none, 1 conditional"),
    "a pair without guidance": (
        (with_row(calls=2),),
        {},
        "row 0: calls=2.*without guidance.*plan.guided",
    ),
    "too many output weights": (
        (with_row(converted=(Conversion(0.0, (1.0, 1.0)),)),),
        {},
        "row 0: .*for 1 network outputs; give one weight per output",
    ),
    "too few output weights": (
        (with_row(converted=(Conversion(0.0, (1.0,)), EPSILON), x=TWO),),
        {"outputs": ("epsilon", "k1")},
        "row 0: .*for 2 network outputs; .*0 where it is not read",
    ),
    "pair of weights with guidance": (
        (with_row(converted=(Conversion(0.0, (1.0, 1.0)),), calls=2),),
        {"guidance": (2.0,)},
        "row 0: .*for 1 network outputs",
    ),
    "output without a call": ((with_row(calls=0),), {}, "row 0: .*for 0 network outputs"),
    "y weight missing": (
        (with_row(x=Combination(1.0)),),
        {},
        "row 0: x.y has 0 weights for 1 terms",
    ),
    "history weight missing": (
        (ROW, dataclasses.replace(AB2, x=EULER)),
        {},
        "row 1: x.history has 0 weights for 1 terms",
    ),
    "draw weight missing": (
        (with_row(draws=(0,)),),
        {},
        "row 0: x.draws has 0 weights for 1 terms",
    ),
    "aux weight missing": (
        (with_row(aux=Combination(1.0)),),
        {},
        "row 0: aux.y has 0 weights for 1 terms",
    ),
    "time NaN": ((with_row(time=math.nan),), {}, "row 0: a coefficient is inf or NaN"),
    "weight infinite": (
        (ROW, with_row(x=Combination(math.inf, y=(1.0,)))),
        {},
        "row 1: .*inf or NaN",
    ),
    "aux weight NaN": (
        (with_row(aux=Combination(math.nan, y=(1.0,))),),
        {},
        "row 0: .*inf or NaN",
    ),
    "conversion infinite": (
        (with_row(converted=(Conversion(-math.inf, (1.0,)),)),),
        {},
        "row 0: a coefficient is inf or NaN",
    ),
    "input scale infinite": (
        (with_row(input_scale=math.inf),),
        {},
        "row 0: a coefficient is inf or NaN",
    ),
    "bound zero": (
        (with_row(converted=(Conversion(0.0, (1.0,), bound=0.0),)),),
        {},
        "row 0: bound=0.0; need a positive bound, or inf",
    ),
    "bound NaN": (
        (with_row(converted=(Conversion(0.0, (1.0,), bound=math.nan),)),),
        {},
        "row 0: bound=nan; need a positive bound",
    ),
    "history from the row itself": (
        (ROW, dataclasses.replace(AB2, history=(HistoryEntry(1),))),
        {},
        r"row 1: history names HistoryEntry\(row=1, h=0\), which no earlier row has converted",
    ),
    "history from before the start": (
        (ROW, dataclasses.replace(AB2, history=(HistoryEntry(-1),))),
        {},
        "row 1: history names .*no earlier row",
    ),
    "history of an h that is not there": (
        (ROW, dataclasses.replace(AB2, history=(HistoryEntry(0, 1),))),
        {},
        "row 1: history names .*no earlier row",
    ),
    "history twice": (
        (
            ROW,
            with_row(x=Combination(1.0, y=(1.0,), history=(1.0, 1.0)), history=(HistoryEntry(0), HistoryEntry(0))),
        ),
        {},
        "row 1: history .*twice",
    ),
    "history oldest first": (
        (
            ROW,
            ROW,
            with_row(x=Combination(1.0, y=(1.0,), history=(1.0, 1.0)), history=(HistoryEntry(0), HistoryEntry(1))),
        ),
        {},
        "row 2: history .*list the newest first",
    ),
    "aux read by aux alone before written": (
        (with_row(aux=Combination(1.0, aux=1.0, y=(1.0,))),),
        {},
        "row 0: reads aux, but no earlier row writes it",
    ),
    "aux read before written": (
        (with_row(x=Combination(1.0, aux=1.0, y=(1.0,))),),
        {},
        "row 0: reads aux, but no earlier row writes it",
    ),
}


@pytest.mark.parametrize(("steps", "fields", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_plan_cannot_exist(steps: tuple[Row, ...], fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(*steps, **fields)


@pytest.mark.parametrize("limit", ["MAX_OUTPUTS", "MAX_CONVERTED", "MAX_HISTORY", "MAX_DRAWS"])
def test_a_plan_is_held_to_the_limits_of_the_op_that_runs_it(limit: str) -> None:
    assert getattr(plan_check, limit) == getattr(contract, limit)
