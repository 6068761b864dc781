"""Structure of a plan, checked on construction: a malformed table cannot exist."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import shown
from .apply import Apply
from .check_operators import check_gains, check_init, check_operator
from .frozen import is_text
from .recipe import Recipe
from .rows import Combination, Conversion, Init, Row
from .sources import HistoryEntry

__all__ = ["MAX_CONVERTED", "MAX_DRAWS", "MAX_HISTORY", "MAX_OUTPUTS", "QUANTITIES", "check"]

QUANTITIES = ("epsilon", "x0", "flow")
MAX_OUTPUTS, MAX_CONVERTED, MAX_HISTORY, MAX_DRAWS = 8, 2, 16, 2  # of genie_ext.fused_step
_FLOAT = frozenset((float,))
_REAL = (float, Real)  # numpy's are floats too; asking the abstract class alone takes ten times as long


class PlanFields(Protocol):
    """What is checked of a plan."""

    @property
    def init(self) -> Init: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...
    @property
    def output_names(self) -> tuple[str, ...]: ...
    @property
    def quantity(self) -> str: ...
    @property
    def rows(self) -> tuple[Row, ...]: ...
    @property
    def recipe(self) -> Recipe | None: ...
    @property
    def guidance(self) -> tuple[float, ...] | None: ...


def check(plan: PlanFields) -> None:
    """Raise ValueError naming the row and the field."""
    if not plan.rows or not _are(plan.rows, Row):
        raise ValueError(f"rows: {shown(plan.rows)}; need a tuple of at least one row")
    _check_names(plan.outputs)
    if not isinstance(plan.init, Init):
        raise ValueError(f"init: {shown(plan.init)}; need an Init with a number as its scale")
    check_init(plan.init)
    if plan.quantity not in QUANTITIES:
        raise ValueError(f"quantity={shown(plan.quantity)}; choose one of {', '.join(QUANTITIES)}")
    if plan.guidance is not None and not (_are(plan.guidance, _REAL) and plan.guidance and _finite(plan.guidance)):
        raise ValueError(f"guidance={shown(plan.guidance)}; need None, or one or more finite scales in a tuple")
    if plan.recipe is not None and not isinstance(plan.recipe, Recipe):
        raise ValueError(f"recipe={shown(plan.recipe)}; need None, or a Recipe")
    if len(plan.output_names) > MAX_OUTPUTS:
        raise ValueError(
            f"outputs: {shown(plan.output_names)}; at most {MAX_OUTPUTS} fit a row, a guided pair counts twice"
        )
    for number, row in enumerate(plan.rows):
        _check_kinds(number, row)
    _check_draws(plan.rows)
    for number, row in enumerate(plan.rows):
        _check_calls(number, row, plan)
        _check_counts(number, row)
        _check_values(number, row)
        _check_history(number, row, plan.rows)
    _check_aux_and_operators(plan.rows)
    if plan.guidance is not None:
        _check_guided_weights(plan.guidance, plan.rows)


def _check_names(outputs: tuple[str, ...]) -> None:
    proper = isinstance(outputs, tuple) and all(map(is_text, outputs))
    if not proper or len(set(outputs)) != len(outputs) or any(name.startswith("uncond.") for name in outputs):
        raise ValueError(f"outputs={shown(outputs)}; need a tuple of distinct names without the prefix 'uncond.'")


def _check_guided_weights(scales: tuple[float, ...], rows: tuple[Row, ...]) -> None:
    """A guided row's table holds scale * q and (1 - scale) * q."""
    largest = max(max(abs(scale), abs(1.0 - scale)) for scale in scales)
    for number, row in enumerate(rows):
        weights = [float(q) * largest for c in row.converted for q in c.q if row.calls == 2]
        if not _finite(weights):
            raise ValueError(f"guidance={shown(scales)}: too large for row {number}; its weights overflow float64")


def _check_kinds(number: int, row: Row) -> None:
    """Tuples, which nobody can change later, of what the fields are declared to hold."""
    _check_tuple(number, "converted", row.converted, Conversion, "Conversion")
    _check_tuple(number, "history", row.history, HistoryEntry, "HistoryEntry")
    _check_tuple(number, "draws", row.draws, object, "integers")
    for name, weights in (("x", row.x), ("aux", row.aux)):
        if weights is None and name == "aux":
            continue
        if not isinstance(weights, Combination):
            raise ValueError(f"row {number}: {name}={shown(weights)}; need a Combination")
        for part in ("y", "history", "draws"):
            _check_tuple(number, f"{name}.{part}", getattr(weights, part), _REAL, "numbers")
    for c in row.converted:
        _check_tuple(number, "q", c.q, _REAL, "numbers")


def _check_tuple(number: int, name: str, values: object, kind: Any, named: str) -> None:
    if not _are(values, kind):
        raise ValueError(f"row {number}: {name}={shown(values)}; need a tuple of {named}")


def _check_draws(rows: tuple[Row, ...]) -> None:
    draws = [d for row in rows for d in row.draws]
    if not _integers(draws) or sorted(draws) != list(range(len(draws))):
        raise ValueError(f"draws={shown(draws)}; number the plan's draws 0, 1, 2, ... using each once")


def _check_calls(number: int, row: Row, plan: PlanFields) -> None:
    if not _integers([row.calls]) or row.calls not in (0, 1, 2):
        raise ValueError(f"row {number}: calls={shown(row.calls)}; 0 none, 1 conditional only, 2 both")
    if row.calls == 2 and plan.guidance is None:
        raise ValueError(f"row {number}: calls=2 in a plan without guidance; use calls=1 and plan.guided(scale)")
    outputs = len(plan.outputs) if row.calls else 0
    for c in row.converted:
        if len(c.q) != outputs:
            raise ValueError(
                f"row {number}: q={shown(c.q)} for {outputs} network outputs; give one weight per output, 0 where it "
                "is not read"
            )


def _check_counts(number: int, row: Row) -> None:
    limits = (
        ("converted", len(row.converted), MAX_CONVERTED),
        ("history", len(row.history), MAX_HISTORY),
        ("draws", len(row.draws), MAX_DRAWS),
    )
    for name, count, limit in limits:
        if count > limit:
            raise ValueError(f"row {number}: {count} {name}; at most {limit} fit a row")
    for name, weights in (("x", row.x), ("aux", row.aux)):
        if weights is not None:
            _check_lengths(number, name, row, weights)


def _check_lengths(number: int, name: str, row: Row, weights: Combination) -> None:
    for part, given, needed in (
        ("y", weights.y, row.converted),
        ("history", weights.history, row.history),
        ("draws", weights.draws, row.draws),
    ):
        if len(given) != len(needed):
            raise ValueError(f"row {number}: {name}.{part} has {len(given)} weights for {len(needed)} terms")


def _check_values(number: int, row: Row) -> None:
    numbers = [row.time, row.input_scale, *row.x.flat(with_aux=True)]
    numbers += () if row.aux is None else row.aux.flat(with_aux=True)
    for c in row.converted:
        numbers += (c.p, *c.q, c.scale)
        if not isinstance(c.bound, _REAL) or not c.bound > 0.0 or not (c.bound == np.inf or _finite(c.bound)):
            raise ValueError(f"row {number}: bound={shown(c.bound)}; need a positive bound, or inf for none")
    if not _are(tuple(numbers), _REAL):
        raise ValueError(f"row {number}: a coefficient is no real number: {shown(numbers)}")
    if not _finite(numbers):
        raise ValueError(f"row {number}: a coefficient is inf or NaN: {shown(numbers)}")


def _check_history(number: int, row: Row, rows: tuple[Row, ...]) -> None:
    for entry in row.history:
        known = _integers(entry) and 0 <= entry.row < number
        if not known or not 0 <= entry.h < len(rows[entry.row].converted):
            raise ValueError(f"row {number}: history names {shown(entry)}, which no earlier row has converted")
    if len(set(row.history)) != len(row.history):
        raise ValueError(f"row {number}: history {shown(row.history)} names an output twice")
    if [entry.row for entry in row.history] != sorted((entry.row for entry in row.history), reverse=True):
        raise ValueError(f"row {number}: history {shown(row.history)} is not in order; list the newest first")


def _check_aux_and_operators(rows: tuple[Row, ...]) -> None:
    """The second state is written before it is read, also by operators and gains; what these are, too."""
    written = False
    for number, row in enumerate(rows):
        if row.reads_aux and not written:
            raise ValueError(f"row {number}: reads aux, but no earlier row writes it")
        if isinstance(row, Apply):
            check_operator(number, row, written)
        elif row.gains != ():
            check_gains(number, row, rows, written)
        written |= row.aux is not None


def _are(values: object, kind: Any) -> bool:
    """Whether this is a tuple of such values."""
    if kind is _REAL and isinstance(values, tuple) and _FLOAT.issuperset(map(type, values)):
        return True
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)


def _finite(numbers: ArrayLike) -> bool:
    if isinstance(numbers, list) and _FLOAT.issuperset(map(type, numbers)):
        return all(map(math.isfinite, numbers))
    try:
        return bool(np.isfinite(np.asarray(numbers, dtype=np.float64)).all())
    except (TypeError, ValueError, OverflowError):  # of other types, or integers beyond float64
        return False


def _integers(values: Iterable[object]) -> bool:
    return all(type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool)) for value in values)
