"""A plan printed for people: the formula, and the table under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rows import Step

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["describe"]

_FORMULA = """\
  y  = p*x + q*out          (the network's output as {quantity})
  x' = W.[x, aux, y, history newest first] + C.d"""


def describe(plan: Plan) -> str:
    """Title, formula and one line per row."""
    name = plan.recipe.solver if plan.recipe else "plan"
    title = (
        f"{name}: {len(plan.instructions)} rows, nfe {plan.nfe}, network calls {plan.network_calls}, "
        f"history slots {plan.slots}, x_T = {plan.init.scale:.6g} z"
    )
    if plan.guidance is not None:
        title += f", guidance {', '.join(f'{s:g}' for s in plan.guidance)}"
    cells = [_HEADER, *(line for row, step in enumerate(plan.instructions) for line in _lines(row, step))]
    widths = [max(len(line[k]) for line in cells) for k in range(len(_HEADER))]
    table = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=False)).rstrip() for line in cells]
    return "\n".join([title, _FORMULA.format(quantity=plan.quantity), *table])


_HEADER = ("row", "time", "calls", "p", "q", "state", "W x", "W aux", "W y", "W history", "C")


def _lines(row: int, step: Step) -> list[tuple[str, ...]]:
    p = ", ".join(f"{c.p:.6g}" for c in step.converted)
    q = ", ".join(_list(c.q) for c in step.converted)
    head = (str(row), f"{step.time:.6g}", str(step.calls), p, q)
    lines = []
    for state, w in (("x'", step.x), ("aux'", step.aux)):
        if w is not None:
            weights = (_number(w.x), _number(w.aux), _list(w.y), _list(w.history), _list(w.draws))
            lines.append((*head, state, *weights))
            head = ("",) * len(head)
    return lines


def _list(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:.6g}" for v in values)


def _number(value: float) -> str:
    return f"{value:.6g}" if value else ""
