"""Plans with one operator, on each of its sources, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

import genie_samplers as gs
from genie_samplers import Plan, PlanState, Program
from genie_samplers.plan import Apply, Combination, Conversion, HistoryEntry, Init, Row, Source
from genie_samplers.run import run_rows

from .fakes import FakeModel, normals, same_label
from .plan_states import IDS, network, noise_of

SHAPE = (3, 2, 5, 3)
EPSILON = Conversion(0.0, (1.0,))


MODEL = FakeModel(lambda x, t: network(x), label=same_label)


def identity(value: Tensor, index: int, out: Tensor) -> None:
    out.copy_(value)


def mirrored(value: Tensor, index: int, out: Tensor) -> None:
    """Linear, and sample by sample: half of each row mirrored, times 1 + index."""
    out.copy_(0.5 * (1 + index) * value.flip(-1))


def plan_of(*rows: Row, init: Init = Init(1.0)) -> Plan:  # noqa: B008  (immutable)
    return Plan(init, ("epsilon",), "epsilon", rows)


def noisy(time: float, draw: int) -> Row:
    return Row(time, Combination(x=0.9, y=(-0.5,), draws=(0.3,)), converted=(EPSILON,), draws=(draw,))


def filtered(time: float, draw: int, number: int, index: int = 0) -> tuple[Row, ...]:
    """The same with what the operator "f" makes of the draw, from instruction ``number`` on."""
    row = Row(
        time, Combination(x=0.9, y=(-0.5,), history=(0.3,)), converted=(EPSILON,), history=(HistoryEntry(number),)
    )
    return Apply("f", Source.draw(draw), index=index, time=time), row


def score_filtered(time: float, number: int) -> tuple[Row, ...]:
    """x' = 0.9 x - 0.5 f(epsilon), in three instructions from ``number`` on."""
    keep = Row(time, Combination(x=1.0, y=(0.0,)), converted=(EPSILON,))
    combined = Combination(x=0.9, history=(-0.5,))
    step = Row(time, combined, history=(HistoryEntry(number + 1),), calls=0)
    return keep, Apply("f", Source.value(number), time=time), step


PLAIN = plan_of(noisy(1.0, 0), noisy(0.5, 1))
FILTERED = plan_of(*filtered(1.0, 0, 0), *filtered(0.5, 1, 2, index=2))
ON_SCORE = plan_of(*score_filtered(1.0, 0), noisy(0.5, 0))
ON_STATE = plan_of(
    Apply("f", Source.state(), time=1.0),
    Row(1.0, Combination(y=(-0.5,), history=(0.9,)), converted=(EPSILON,), history=(HistoryEntry(0),)),
)
ON_START = plan_of(noisy(1.0, 0), init=Init(2.0, operator="f"))
PLANS = {"on draws": FILTERED, "on the score": ON_SCORE, "on the state": ON_STATE, "on the start": ON_START}
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def drawn(draw: int, *, stream: int = 1, ids: Sequence[int] = IDS) -> Tensor:
    return normals(list(ids), SHAPE[1:], draw=draw, stream=stream, seed=7)


def run(plan: Plan, operator: Any = mirrored, **options: Any) -> Tensor:
    named = {"f": operator} if plan.operators else None
    return gs.sample(MODEL, plan, **({"shape": SHAPE, "seed": 7, "operators": named} | options))


def begun(plan: Plan, noise: bool = True, operator: Any = mirrored, **options: Any) -> PlanState:
    program = Program.of(plan, operators={name: operator for name in plan.operators})
    return PlanState(program, drawn(0, stream=0), noise_of(IDS) if noise else None, **options)


def finished(state: PlanState, **options: Any) -> Tensor:
    return run_rows(state, lambda call, state: network(state.model_input), **options).x
