"""Operators and gains in plans: their form, their place in memory, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import lzma
import pickle
from pathlib import Path
from typing import Any, cast

import pytest

from genie_samplers.plan import Apply, Combination, Conversion, Gain, HistoryEntry, Init, Plan, Row, Source

from .plans import EPSILON, EULER, ROW, plan_of, with_row

GOLDEN = Path(__file__).parents[1] / "golden" / "plans_v1.json.xz"

FILTERED = Apply("filter", Source.draw(0), time=1.0)
KEEP = Row(1.0, Combination(x=1.0, y=(0.0,)), converted=(EPSILON,))
STEP = Row(1.0, Combination(x=1.0, history=(-0.5, 0.25)), history=(HistoryEntry(1), HistoryEntry(0)), calls=0)
SNR = Gain("langevin_snr", (Source.value(1), Source.value(0)), ("history0", "history1"), (1.0, 0.16, 2.0))
LANGEVIN = (FILTERED, KEEP, dataclasses.replace(STEP, gains=(SNR,)))
CHAIN = (
    KEEP,
    Apply("adjoint", Source.value(0), time=1.0),
    Apply("filter", Source.value(1), index=3, time=1.0),
    Row(1.0, Combination(x=1.0, history=(-0.5,)), history=(HistoryEntry(2),), calls=0),
    with_row(time=0.5),
)
PLANS = {
    "a filtered draw": plan_of(FILTERED, KEEP, STEP),
    "a gain": plan_of(*LANGEVIN),
    "a chain": plan_of(*CHAIN),
    "a kept state": plan_of(
        Apply(None, Source.state(), time=1.0),
        Row(1.0, Combination(x=1.0, y=(1.0,), history=(0.5,)), converted=(EPSILON,), history=(HistoryEntry(0),)),
    ),
    "a filtered start": plan_of(ROW, init=Init(2.0, "uniform", "filter")),
}
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


# --- form


@every_plan
def test_json_round_trip(plan: Plan) -> None:
    read = Plan.from_json(plan.to_json())
    assert (read, hash(read), read.rows, read.init) == (plan, hash(plan), plan.rows, plan.init)
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_an_operator_is_written_with_its_kind() -> None:
    source = {"of": "draw", "number": 0, "h": 0}
    written = json.loads(PLANS["a filtered draw"].to_json())
    assert written["version"] == 2
    assert written["rows"][0] == {"kind": "apply", "operator": "filter", "source": source, "index": 0, "time": 1.0}


def test_plans_differ_by_operator_index_and_gain() -> None:
    others = [
        plan_of(FILTERED, KEEP, STEP),
        plan_of(Apply("other", Source.draw(0), time=1.0), KEEP, STEP),
        plan_of(Apply("filter", Source.draw(0), index=1, time=1.0), KEEP, STEP),
        plan_of(*LANGEVIN),
    ]
    assert len(set(others)) == 4


def test_plans_without_operators_are_written_as_before() -> None:
    """The digest of the canonical JSON of the golden plans, taken before rows had gains and plans operators."""
    entries = json.loads(lzma.decompress(GOLDEN.read_bytes())).values()
    texts = (Plan.from_json(json.dumps(entry["plan"])).to_json() for entry in entries)
    digest = hashlib.sha256("".join(texts).encode()).hexdigest()
    assert digest == "cffb0be56aba47d0e80d2f0a029ee8e3266c06511c7b76ac730e56a8862e82b2"


def test_a_plan_says_what_it_needs() -> None:
    plan = plan_of(*LANGEVIN, init=Init(1.0, operator="first"))
    assert (plan.operators, plan.reductions) == (("first", "filter"), ("langevin_snr",))
    assert (plan.nfe, plan.stochastic, plan.is_table, plan.couples_samples) == (1, True, False, False)
    assert plan_of(ROW).is_table


def test_an_operator_and_a_gain_are_printed() -> None:
    text = str(plan_of(*LANGEVIN, init=Init(2.0, operator="filter")))
    assert "x_T = 2 filter(z)" in text
    assert "apply filter to draw 0" in text
    assert "row 2: history0, history1 = langevin_snr(value (1, 0), value (0, 0))" in text
    assert "apply filter[3] to value (1, 0)" in str(PLANS["a chain"])
    assert "keep state" in str(PLANS["a kept state"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a filtered draw", "row 0: apply filter to draw 0, whose numbers .* cannot be unrolled"),
        ("a chain", "row 1: apply adjoint to value"),
    ],
)
def test_a_plan_with_operators_is_not_unrolled(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLANS[name].unrolled()


def test_a_plan_with_gains_is_not_unrolled() -> None:
    gained = with_row(gains=(Gain("langevin_snr", (Source.output(),), ("y0",)),))
    with pytest.raises(ValueError, match="row 0 computes langevin_snr while it runs: it is not linear"):
        plan_of(gained).unrolled()


# --- memory


def test_what_an_operator_makes_has_a_slot_until_it_was_read() -> None:
    layout = PLANS["a chain"].layout
    assert [row.store for row in layout[:3]] == [(0,), (1,), (0,)]
    assert [row.history for row in layout[1:4]] == [(0,), (1,), (0,)]


def test_what_a_gain_reads_is_kept() -> None:
    row = Row(1.0, Combination(x=1.0, draws=(1.0,)), draws=(0,), calls=0)
    gained = dataclasses.replace(row, gains=(Gain("g", (Source.value(0),), ("draw0",)),))
    assert plan_of(KEEP, row).layout[0].store == (None,)
    assert plan_of(KEEP, gained).layout[0].store == (0,)


def test_the_input_scale_of_the_next_call_reaches_over_an_operator() -> None:
    plan = plan_of(
        with_row(input_scale=0.5), Apply("f", Source.state(), time=0.5), with_row(time=0.5, input_scale=0.25)
    )
    assert plan.input_scales == (0.5, 0.25, 0.25)
    assert plan.table[0, plan.layout[0].columns - 1] == 0.25


# --- what is refused

NOISY = Row(1.0, Combination(x=1.0, draws=(1.0,)), draws=(0,), calls=0)


OWN_DRAW = (Source.draw(0),)


def gain(*columns: str, sources: Any = OWN_DRAW, **fields: Any) -> Row:
    return dataclasses.replace(NOISY, gains=(Gain("g", sources, columns, **fields),))


MALFORMED: dict[str, tuple[tuple[Row, ...], str]] = {
    "no name": ((Apply("", Source.state(), time=1.0), ROW), "row 0: operator=''; need a name, or None"),
    "no source": ((Apply("f", cast(Any, 3), time=1.0), ROW), "row 0: source=3; need a Source of state, aux, draw"),
    "unknown source": ((Apply("f", Source("x"), time=1.0), ROW), r"row 0: source=Source\(of='x'.*; need a Source of"),
    "negative source": ((Apply("f", Source("output", -1), time=1.0), ROW), "row 0: source=.*need numbers from 0 on"),
    "numbered state": ((Apply("f", Source("state", 1), time=1.0), ROW), "row 0: source=.*leave out the numbers"),
    "of an output": ((Apply("f", Source.output(), time=1.0), ROW), "row 0: an operator reads output 0; let a row"),
    "of aux": ((Apply("f", Source.aux(), time=1.0), ROW), "row 0: reads aux, but no earlier row writes it"),
    "of a later value": ((Apply("f", Source.value(1), time=1.0), ROW), "row 0: history names .*no earlier row"),
    "of its own value": ((Apply("f", Source.value(0), time=1.0), ROW), "row 0: history names .*no earlier row"),
    "of a draw that is used": ((FILTERED, NOISY), r"draws=\[0, 0\]; number the plan's draws"),
    "index": ((Apply("f", Source.state(), index=-1, time=1.0), ROW), "row 0: index=-1; need an integer from 0 on"),
    "index a bool": ((Apply("f", Source.state(), index=True, time=1.0), ROW), "row 0: index=True; need an integer"),
    "infinite time": ((Apply("f", Source.state(), time=float("inf")), ROW), "row 0: a coefficient is inf or NaN"),
    "gains a list": ((dataclasses.replace(NOISY, gains=cast(Any, [])),), r"row 0: gains=\[\]; need a tuple of Gain"),
    "gain of nothing": ((gain("draw0", sources=()),), r"row 0: sources=\(\); need a tuple of at least one"),
    "gain of no column": ((gain(),), r"row 0: columns=\(\); need a tuple of at least one name"),
    "gain of an unknown column": ((gain("history0"),), "row 0: a gain writes 'history0'; this row has x, draw0"),
    "gain of a column twice": ((gain("x", "x"),), r"row 0: gains write \['x', 'x'\]; each column once"),
    "gain of another draw": ((gain("x", sources=(Source.draw(1),)),), "row 0: a gain reads draw 1, which this row"),
    "gain of an output": ((gain("x", sources=(Source.output(),)),), "row 0: a gain reads output 0, which this row"),
    "gain of a later value": ((gain("x", sources=(Source.value(4),)),), "row 0: a gain reads value"),
    "gain of aux": ((gain("x", sources=(Source.aux(),)),), "row 0: a gain reads aux"),
    "gain of infinity": ((gain("x", parameters=(float("inf"),)),), r"row 0: parameters=\(inf,\); need a tuple"),
    "gain coupled": ((gain("x", coupled=1),), "row 0: coupled=1; need True or False"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_operator_or_gain_cannot_exist(rows: tuple[Row, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(*rows)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (Init(1.0, "cauchy"), "init: .*need distribution 'normal' or 'uniform'"),
        (Init(1.0, operator=""), "init: operator=''; need None, or the name"),
        (Init(cast(Any, True)), "init: .*a number as its scale"),
    ],
)
def test_a_malformed_start_cannot_exist(init: Init, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(ROW, init=init)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"plan.rows\[0\]: unknown keys \['extra'\]"),
        ({"source": {"of": "draw", "number": 0}}, r"plan.rows\[0\].source: .*missing keys \['h'\]"),
        ({"source": "draw"}, r"plan.rows\[0\].source: 'draw'; need an object"),
        ({"operator": 3}, r"plan.rows\[0\].operator: 3; need str"),
        ({"index": 0.5}, r"plan.rows\[0\].index: 0.5; need int"),
        ({"draws": [0]}, r"plan.rows\[0\]: unknown keys \['draws'\]"),
    ],
)
def test_malformed_json_of_an_operator_is_refused(change: dict[str, object], message: str) -> None:
    written = json.loads(PLANS["a filtered draw"].to_json())
    written["rows"][0] |= change
    with pytest.raises(ValueError, match=message):
        Plan.from_json(json.dumps(written))


def test_an_operator_leaves_the_state_alone_as_a_row() -> None:
    assert (FILTERED.x.x, FILTERED.aux, FILTERED.calls, FILTERED.draws) == (1.0, None, 0, (0,))
    assert FILTERED.converted == (Conversion(0.0, ()),)
    assert EULER.draws == ()
