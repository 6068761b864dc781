"""Structure of a plan, checked on construction: a malformed table cannot exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .rows import Combination, Step

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["check"]

MAX_OUTPUTS, MAX_CONVERTED, MAX_HISTORY, MAX_DRAWS = 8, 2, 16, 2  # of genie_ext.fused_step


def check(plan: Plan) -> None:
    """Raise ValueError naming the row and the field."""
    if not isinstance(plan.instructions, tuple) or not plan.instructions:
        raise ValueError(f"instructions: {plan.instructions!r}; need a tuple of at least one row")
    _check_names(plan.outputs)
    if plan.init.distribution != "normal" or not 0.0 <= plan.init.scale < np.inf:
        raise ValueError(f"init: {plan.init}; need distribution 'normal' and a finite scale >= 0")
    if plan.quantity not in ("epsilon", "x0"):
        raise ValueError(f"quantity={plan.quantity!r}; choose 'epsilon' or 'x0'")
    if plan.guidance is not None and not (plan.guidance and np.isfinite(plan.guidance).all()):
        raise ValueError(f"guidance={plan.guidance}; need None, or one or more finite scales")
    if len(plan.output_names) > MAX_OUTPUTS:
        raise ValueError(f"outputs: {plan.output_names}; at most {MAX_OUTPUTS} fit a row, a guided pair counts twice")
    _check_draws(plan.instructions)
    for row, step in enumerate(plan.instructions):
        _check_calls(row, step, plan)
        _check_counts(row, step)
        _check_values(row, step)
        _check_history(row, step, plan.instructions)
    _check_aux(plan.instructions)


def _check_names(outputs: tuple[str, ...]) -> None:
    proper = isinstance(outputs, tuple) and all(isinstance(name, str) and name for name in outputs)
    if not proper or len(set(outputs)) != len(outputs) or any(name.startswith("uncond.") for name in outputs):
        raise ValueError(f"outputs={outputs!r}; need a tuple of distinct names without the prefix 'uncond.'")


def _check_draws(steps: tuple[Step, ...]) -> None:
    draws = [d for step in steps for d in step.draws]
    if sorted(draws) != list(range(len(draws))):
        raise ValueError(f"draws={draws}; number the plan's draws 0, 1, 2, ... using each once")


def _check_calls(row: int, step: Step, plan: Plan) -> None:
    if step.calls not in (0, 1, 2):
        raise ValueError(f"row {row}: calls={step.calls}; 0 none, 1 conditional only, 2 both")
    if step.calls == 2 and plan.guidance is None:
        raise ValueError(f"row {row}: calls=2 in a plan without guidance; use calls=1 and plan.guided(scale)")
    outputs = len(plan.outputs) if step.calls else 0
    for c in step.converted:
        if len(c.q) != outputs:
            raise ValueError(
                f"row {row}: q={c.q} for {outputs} network outputs; give one weight per output, 0 where it is not read"
            )


def _check_counts(row: int, step: Step) -> None:
    limits = (
        ("converted", len(step.converted), MAX_CONVERTED),
        ("history", len(step.history), MAX_HISTORY),
        ("draws", len(step.draws), MAX_DRAWS),
    )
    for name, count, limit in limits:
        if count > limit:
            raise ValueError(f"row {row}: {count} {name}; at most {limit} fit a row")
    for name, weights in (("x", step.x), ("aux", step.aux)):
        if weights is not None:
            _check_lengths(row, name, step, weights)


def _check_lengths(row: int, name: str, step: Step, weights: Combination) -> None:
    for part, given, needed in (
        ("y", weights.y, step.converted),
        ("history", weights.history, step.history),
        ("draws", weights.draws, step.draws),
    ):
        if len(given) != len(needed):
            raise ValueError(f"row {row}: {name}.{part} has {len(given)} weights for {len(needed)} terms")


def _check_values(row: int, step: Step) -> None:
    numbers = [step.time, step.input_scale, *step.x.flat(with_aux=True)]
    numbers += () if step.aux is None else step.aux.flat(with_aux=True)
    for c in step.converted:
        numbers += (c.p, *c.q, c.scale)
        if not c.bound > 0.0:
            raise ValueError(f"row {row}: bound={c.bound}; need a positive bound, or inf for none")
    if not np.isfinite(numbers).all():
        raise ValueError(f"row {row}: a coefficient is inf or NaN: {numbers}")


def _check_history(row: int, step: Step, steps: tuple[Step, ...]) -> None:
    for past in step.history:
        if not 0 <= past.row < row or not 0 <= past.h < len(steps[past.row].converted):
            raise ValueError(f"row {row}: history names {past}, which no earlier row has converted")
    if len(set(step.history)) != len(step.history):
        raise ValueError(f"row {row}: history {step.history} names an output twice")
    if [p.row for p in step.history] != sorted((p.row for p in step.history), reverse=True):
        raise ValueError(f"row {row}: history {step.history} is not in order; list the newest first")


def _check_aux(steps: tuple[Step, ...]) -> None:
    written = False
    for row, step in enumerate(steps):
        if step.reads_aux and not written:
            raise ValueError(f"row {row}: reads aux, but no earlier row writes it")
        written |= step.aux is not None
