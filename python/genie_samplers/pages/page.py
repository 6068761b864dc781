"""One HTML file that needs nothing else: no server, no network, no script of others.

A template of Jinja draws it; whatever is text is escaped there. Needs Jinja2 and Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..plan import Plan
from ..uses.compare import Comparison
from .chart import Chart, error_chart, round_ticks
from .heat_map import PlanTables, plan_tables
from .text import measured
from .views import Picture, Points, Views, views_of

__all__ = ["calibration_page", "check_target", "comparison_page"]

_TEMPLATES = Path(__file__).parent / "templates"

Curve = Sequence[tuple[int, float, float]]


@dataclass(frozen=True)
class Card:
    """A solver at one number of evaluations; ``missing`` says why there is nothing to show."""

    solver: str
    rmse: str = ""
    is_best: bool = False
    samples: Picture | Points | None = None
    difference: Picture | None = None
    missing: str = ""


@dataclass(frozen=True)
class Stop:
    """Of the slider: all solvers at ``nfe``. across: where it is in the chart."""

    nfe: int
    cards: tuple[Card, ...]
    factor: int
    across: float | None


def check_target(path: Path, *, name: str) -> None:
    """ValueError naming the option where a page could not be written there, ImportError without what it needs."""
    files.require("a page", "jinja2", "PIL", extra="cli")
    files.check_target(path, suffix=".html", name=name)


def comparison_page(path: Path | str, comparison: Comparison, *, title: str, command: str = "") -> None:
    """Write the page of a comparison: a slider over evaluations, samples, differences and errors of every solver.

    command: what made it, shown as it is. Samples are drawn where they are images [B, 1 or 3, H, W] in [-1, 1] or
    points [B, 2]; of others the errors are. ValueError where ``path`` cannot be written or ends in no .html,
    ImportError without Jinja2 or Pillow.
    """
    _write(path, comparison, title=title, command=command)


def calibration_page(
    path: Path | str, comparison: Comparison, *, learned: Plan, start: Plan, curve: Curve, title: str, command: str = ""
) -> None:
    """Write the page of a calibration: that of a comparison, the curve of the fit, and both tables side by side.

    curve: (step, RMSE of the training latents, RMSE of the held-out ones), steps rising; NaN where not measured.
    """
    _write(
        path, comparison, title=title, command=command, fit=_fit_chart(curve), fit_said=_fit_said(curve),
        tables=plan_tables([("Start", start), ("Learned", learned)]),
    )  # fmt: skip


def _write(
    path: Path | str, comparison: Comparison, *, title: str, command: str, fit: Chart | None = None,
    fit_said: str = "", tables: Sequence[PlanTables] = (),
) -> None:  # fmt: skip
    path = Path(path)
    check_target(path, name="path")
    solvers = list(dict.fromkeys([*(c.solver for c in comparison.cells), *(s for s, _ in comparison.skipped)]))
    nfes = sorted({*(cell.nfe for cell in comparison.cells), *(nfe for _, nfe in comparison.skipped)})
    views, told = views_of(comparison)
    errors = _errors_chart(comparison, solvers, nfes)
    stops = [_stop(comparison, solvers, nfe, views, errors) for nfe in nfes]
    text = _template().render(
        title=title, command=command, count=len(comparison.fine), solvers=solvers, stops=stops, told=told,
        fine=None if views is None else views.fine(comparison.fine), errors=errors, fit=fit, fit_said=fit_said,
        tables=tables, skipped=[(*key, reason) for key, reason in comparison.skipped.items()],
    )  # fmt: skip
    files.write_text(path, text)


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(_TEMPLATES)
    environment = Environment(
        autoescape=True, loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html")


def _stop(comparison: Comparison, solvers: Sequence[str], nfe: int, views: Views | None, errors: Chart | None) -> Stop:
    here = [cell for cell in comparison.cells if cell.nfe == nfe]
    factor = 1 if views is None else views.factor(here)
    best = min((cell.rmse for cell in here), default=None)
    cards = []
    for name in solvers:
        cell = comparison.cell(name, nfe)
        if cell is None:
            cards.append(Card(name, missing=comparison.skipped.get((name, nfe), "not run")))
            continue
        shown = (None, None) if views is None else (views.samples(cell), views.difference(cell, factor))
        cards.append(Card(name, measured(cell.rmse), cell.rmse == best and len(here) > 1, *shown))
    across = None if errors is None else errors.across(nfe)
    return Stop(nfe, tuple(cards), factor, across)


def _errors_chart(comparison: Comparison, solvers: Sequence[str], nfes: Sequence[int]) -> Chart | None:
    lines = {
        name: [(nfe, cell.rmse) for nfe in nfes if (cell := comparison.cell(name, nfe)) is not None]
        for name in solvers
    }  # fmt: skip
    alt = f"RMSE over evaluations of {', '.join(solvers)}; the numbers are in the table below"
    return error_chart(lines, nfes, x_label="network evaluations", unit="evaluations", alt=alt)


def _fit_chart(curve: Curve) -> Chart | None:
    lines = {"training latents": [(s, e) for s, e, _ in curve], "held-out latents": [(s, e) for s, _, e in curve]}
    ticks = round_ticks(max((step for step, _, _ in curve), default=0))
    alt = "RMSE over the steps of the fit, of training and held-out latents"
    return error_chart(lines, ticks, x_label="step of the fit", unit="steps", alt=alt)


def _fit_said(curve: Curve) -> str:
    """What the held-out latents went through, in words."""
    seen = [(step, error) for step, _, error in curve if math.isfinite(error)]
    if not seen:
        return "No error of held-out latents was measured."
    (first, before), (step, best) = seen[0], min(seen, key=lambda at: at[1])
    return f"Held-out latents: RMSE {measured(before)} at step {first}, lowest {measured(best)} at step {step}."
