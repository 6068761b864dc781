"""A plan as heat maps: which outputs of the network every step adds, and which every state is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..plan import Plan
from ..plan.unroll import Unrolled
from ..schedules import Schedule
from .text import measured

__all__ = ["Entry", "HeatMap", "Line", "PlanTables", "plan_tables"]

Array = NDArray[np.float64]
_MOST_ROWS = 32
_NOTHING = 1e-9  # of the largest of a line: what differences of rounded numbers leave


@dataclass(frozen=True)
class Entry:
    """A coefficient: its text, and in -1..1 its share of the largest in the same line; "" and 0 where none."""

    text: str
    share: float = 0.0


@dataclass(frozen=True)
class Line:
    """Of a row. at: where it asks the network. first: numbers that are not coloured, of the columns before outputs."""

    at: str
    first: tuple[str, ...]
    outputs: tuple[Entry, ...]


@dataclass(frozen=True)
class HeatMap:
    name: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class PlanTables:
    """A plan's heat maps. ``steps`` is None where rows are stages of a step; ``message`` says why there are none.

    steps: what each row adds to the state, as shares of all that it adds of the first output.
    states: the coefficients of x_T, of the draws, as their norm, and of the outputs in the state after each row.
    level: the symbol of what rows are told by, gamma or t, which ends at ``end``.
    """

    name: str
    level: str
    end: str = ""
    steps: HeatMap | None = None
    states: HeatMap | None = None
    message: str = ""


def plan_tables(plans: Sequence[tuple[str, Plan]]) -> tuple[PlanTables, ...]:
    """Of plans for one network by their names; gamma is by the schedule of the first that has a recipe."""
    schedule = next((plan.schedule for _, plan in plans if plan.recipe is not None), None)
    return tuple(_tables(name, plan, schedule) for name, plan in plans)


def _tables(name: str, plan: Plan, schedule: Schedule | None) -> PlanTables:
    level = "t" if schedule is None else "gamma"
    if len(plan.rows) > _MOST_ROWS:
        return PlanTables(name, level, message=f"{len(plan.rows)} rows; up to {_MOST_ROWS} are shown.")
    try:
        unrolled = plan.unrolled()
    except ValueError as error:
        return PlanTables(name, level, message=f"Not a table of numbers: {error}.")

    def written(t: float) -> str:
        return measured(t if schedule is None else float(schedule.gamma(t)))

    levels = [written(t) for t in plan.times]
    noise = [measured(float(np.linalg.norm(draws))) for draws in unrolled.draw]
    first = [(measured(state), *((drawn,) if np.any(unrolled.draw) else ()))
             for state, drawn in zip(unrolled.state, noise, strict=True)]  # fmt: skip
    shares = _shares(plan, unrolled)
    return PlanTables(
        name, level, "" if plan.recipe is None else written(plan.recipe.grid[-1]),
        None if shares is None else _heat_map(name, plan, shares, levels, [()] * len(levels)),
        _heat_map(name, plan, unrolled.output[1:], levels, first[1:]),
    )  # fmt: skip


def _shares(plan: Plan, unrolled: Unrolled) -> Array | None:
    """[rows, rows, outputs]: what of every output a row adds to x / (coefficient of x_T), which the row keeps.

    Into a state without x_T a row goes all the way. None where rows are stages of a step, which have their own state.
    """
    if any(getattr(row, "aux", None) is not None for row in plan.rows):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        added = np.diff(unrolled.output / unrolled.state[:, None, None], axis=0)
        added = np.where(unrolled.state[1:, None, None] == 0.0, unrolled.output[1:], added)
        shares = added / added[:, :, 0].sum(axis=1)[:, None, None]
    return shares if np.isfinite(shares).all() else None


def _heat_map(
    name: str, plan: Plan, coefficients: Array, levels: Sequence[str], first: Sequence[tuple[str, ...]]
) -> HeatMap:
    """Of [rows, rows, outputs]; outputs that no row has are left out."""
    asked = [(row, o) for row in range(coefficients.shape[1]) for o in range(coefficients.shape[2])
             if np.any(coefficients[:, row, o])]  # fmt: skip
    columns = tuple(f"{row + 1}" if o == 0 else f"{row + 1} {plan.outputs[o]}" for row, o in asked)
    lines = tuple(
        Line(level, numbers, _entries(of_row, asked, row))
        for row, (level, numbers, of_row) in enumerate(zip(levels, first, coefficients, strict=True))
    )
    return HeatMap(name, columns, lines)


def _entries(coefficients: Array, asked: Sequence[tuple[int, int]], row: int) -> tuple[Entry, ...]:
    """Of one row; the outputs of later ones are empty."""
    largest = float(np.max(np.abs(coefficients), initial=0.0)) or 1.0
    cleaned = np.where(np.abs(coefficients) <= _NOTHING * largest, 0.0, coefficients)
    return tuple(
        Entry(measured(float(cleaned[at])), float(cleaned[at]) / largest) if at[0] <= row else Entry("") for at in asked
    )
