"""What a plan leaves to the run, by name: its operators, and the reductions of its gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..plan import Plan
from .reductions import REDUCTIONS, Reduction

__all__ = ["Operator", "checked_operators", "checked_reductions"]

Operator = Callable[[Tensor, int, Tensor], Any]
"""``operator(value, index, out)`` writes a linear function of ``value`` into ``out``, sample by sample.

value, out: [b, ...] in the compute dtype, float64 for a state of float64, else float32, dense and apart; value is not
to be written. index: that of the Apply, which of a bank. What it makes of a sample may not depend on the others.
Where it has a method ``check_plan(plan, name)``, that is called before anything runs and may refuse the plan.
"""


def checked_operators(plan: Plan, operators: Mapping[str, Operator] | None) -> Mapping[str, Operator]:
    """Those that the plan applies; ValueError where one is missing or has no use, TypeError for what is no function."""
    if operators is None and not plan.operators:
        return {}
    given = _callables("operators", operators, "a function of (value, index, out)")
    _check_names("operators", given, plan.operators, "applies", plan.operators)
    for name, operator in given.items():
        check = getattr(operator, "check_plan", None)
        if callable(check):
            check(plan, name)
    return given


def checked_reductions(plan: Plan, gains: Mapping[str, Reduction] | None) -> Mapping[str, Reduction]:
    """Those that the plan computes: of :data:`.reductions.REDUCTIONS`, or else given; errors as of operators."""
    if gains is None and not plan.reductions:
        return {}
    given = _callables("gains", gains, "a function of (sources, parameters)")
    if known := sorted(given.keys() & REDUCTIONS.keys()):
        raise ValueError(f"gains: {known[0]!r} is a reduction of the library; give yours another name")
    own = [name for name in plan.reductions if name not in REDUCTIONS]
    _check_names("gains", given, own, "computes", plan.reductions)
    return {name: given.get(name) or REDUCTIONS[name] for name in plan.reductions}


def _callables(name: str, given: Mapping[str, Any] | None, need: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"{name}: {type(given).__name__}; pass a mapping of names to functions")
    for key, value in given.items():
        if not callable(value):
            raise TypeError(f"{name}[{key!r}]: {type(value).__name__} is not callable; pass {need}")
    return dict(given)


def _check_names(
    name: str, given: Mapping[str, Any], needed: Sequence[str], verb: str, all_of_plan: Sequence[str]
) -> None:
    if missing := [key for key in needed if key not in given]:
        raise ValueError(
            f"{name}: {missing[0]!r} is missing, which the plan {verb}; pass {name}={{{missing[0]!r}: ...}}"
        )
    if unused := [key for key in given if key not in needed]:
        of_plan = ", ".join(map(repr, all_of_plan)) or "none"
        raise ValueError(f"{name}: the plan {verb} no {unused[0]!r} (it {verb} {of_plan}); leave it out")
