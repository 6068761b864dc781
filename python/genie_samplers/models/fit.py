"""A model beside the plan that reads it: whether they fit."""

from __future__ import annotations

from ..plan import Plan
from .contract import Model
from .outputs import DERIVATIVE_SOURCES, reads_derivative

__all__ = ["fitted"]

_HEADS = {"k1": "head", "c1": "correction"}  # a head's first output -> the plans that read it


def fitted(model: Model, plan: Plan) -> Model:
    """The model as the plan reads it: without the last outputs that it has and the plan does not know.

    TypeError or ValueError where they do not fit.
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"plan: {plan!r}; pass a Plan, from make_plan or a function of genie_samplers.solvers")
    if model.schedule is not None and plan.recipe is not None and model.schedule != plan.schedule:
        raise ValueError(
            f"plan: made for {plan.schedule!r}, but the model was wrapped for {model.schedule!r}; make both with the "
            "same schedule"
        )
    if plan.guidance is not None and "c1" in plan.outputs:
        raise ValueError(
            "plan: guided, but a head of corrections knows the history of the unguided flow; take derivative='exact', "
            "'head', or a solver that needs none (deis_tab, deis_log_ab, ipndm)"
        )
    if _begins_with(model.outputs, plan):
        model = model.first(len(plan.outputs))
    if model.outputs is not None and model.outputs != plan.output_names:
        _refuse_names(model.outputs, plan)
    conditional_rows = plan.guidance is not None and any(row.calls == 1 for row in plan.rows)
    if conditional_rows and model.conditional is None:
        raise TypeError(
            "model: has no 'conditional', but the guided plan has rows that call only that; "
            "make it with guidance.classifier_free"
        )
    return model


def _begins_with(names: tuple[str, ...] | None, plan: Plan) -> bool:
    """Whether a model of these outputs returns the plan's and, after them, others; the same of a guided pair."""
    if names is None or len(names) <= len(plan.output_names):
        return False
    first = names[: len(names) // 2] if plan.guidance is not None else names
    return first[: len(plan.outputs)] == plan.outputs and ("uncond." + first[0] in names) == (plan.guidance is not None)


def _refuse_names(names: tuple[str, ...], plan: Plan) -> None:
    fix = (
        "build the plan with model=... or prediction=..., and guide both the model (guidance.classifier_free) and the "
        "plan (plan.guided) or neither"
    )
    if reads_derivative(set(plan.output_names) - set(names)):
        head = next((kind for first, kind in _HEADS.items() if first in names), None)
        fix = DERIVATIVE_SOURCES if head is None else f"its head is for plans of options={{'derivative': {head!r}}}"
    raise ValueError(f"plan: reads {plan.output_names}, but the model returns {names}; {fix}")
