"""A model beside the plan that reads it: whether they fit, and what the model returns in a row."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .plan import Plan
from .schedules import Schedule

__all__ = ["check_outputs", "first_outputs", "fitted_model"]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DERIVATIVES = {"gamma_d_epsilon", "gamma2_d2_epsilon", "k1", "k2", "k3", "c1", "c2", "c3"}
_HEADS = {"k1": "head", "c1": "correction"}  # a head's first output -> the plans that read it
_SOURCES = (
    "a plan of a genie solver reads the derivative of epsilon: give the network a distilled head (genie-samplers "
    "distill, genie.with_head), take derivative='exact' and genie.exact(model), or a solver that needs none "
    "(deis_tab, deis_log_ab, ipndm)"
)


def check_outputs(
    outputs: object, names: Sequence[str], x: Tensor, row: int, inputs: Sequence[Tensor], copied: set[str]
) -> tuple[Tensor, ...]:
    """The model's outputs as a tuple of dense tensors, or an error naming row, output and what was expected."""
    given = (outputs,) if isinstance(outputs, Tensor) else outputs
    if not isinstance(given, tuple):
        raise TypeError(
            f"model: returned {type(outputs).__name__} in row {row}; return a tensor or a tuple of tensors "
            "(genie_samplers.models.wrap does this for diffusers networks)"
        )
    if len(given) != len(names):
        fix = f"; {_SOURCES}" if _lacks_derivative(names, names[: len(given)]) else ""
        counts = f"{len(given)} outputs in row {row}; the plan reads {len(names)}"
        raise ValueError(f"model: returned {counts}: {names}{fix}")
    return tuple(_check_output(o, name, x, row, inputs, copied) for o, name in zip(given, names, strict=False))


def _check_output(output: object, name: str, x: Tensor, row: int, inputs: Sequence[Tensor], copied: set[str]) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(f"model: output {name!r} in row {row} is {type(output).__name__}; return a tensor")
    if output.shape != x.shape:
        raise ValueError(
            f"model: output {name!r} in row {row} has shape {tuple(output.shape)}; the state has {tuple(x.shape)}"
        )
    if output.dtype not in _FLOATS:
        raise TypeError(f"model: output {name!r} in row {row} has dtype {output.dtype}; return a float tensor")
    if output.device != x.device:
        raise ValueError(f"model: output {name!r} in row {row} is on {output.device}; the state is on {x.device}")
    inner_dense = output.is_contiguous() or (output.stride(0) >= output[0].numel() and output[0].is_contiguous())
    if not inner_dense:
        if name not in copied:
            copied.add(name)
            warnings.warn(
                f"model: output {name!r} is not row-major within a sample (strides {output.stride()}); it is copied in "
                "every row, a network in contiguous memory format saves that",
                stacklevel=2,
            )
        return output.contiguous()
    storage = output.untyped_storage().data_ptr()
    if any(storage == own.untyped_storage().data_ptr() for own in inputs):
        return output.clone()  # the model handed its input back, which the step overwrites
    return output


def fitted_model(model: Any, plan: Plan) -> Any:
    """The model as the plan reads it: without the last outputs that it has and the plan does not know.

    TypeError or ValueError where they do not fit.
    """
    if not callable(model):
        raise TypeError(f"model: {type(model).__name__} is not callable; pass model(x, t, **cond)")
    if not isinstance(plan, Plan):
        raise TypeError(f"plan: {plan!r}; pass a Plan, from make_plan or a function of genie_samplers.solvers")
    schedule = getattr(model, "schedule", None)
    if isinstance(schedule, Schedule) and plan.recipe is not None and schedule != plan.schedule:
        raise ValueError(
            f"plan: made for {_short(plan.schedule)}, but the model was wrapped for {_short(schedule)}; "
            "make both with the same schedule"
        )
    if plan.guidance is not None and "c1" in plan.outputs:
        raise ValueError(
            "plan: guided, but a head of corrections knows the past of the unguided flow; take derivative='exact', "
            "'head', or a solver that needs none (deis_tab, deis_log_ab, ipndm)"
        )
    if _begins_with(getattr(model, "outputs", None), plan):
        model = first_outputs(model, getattr(model, "outputs", ()), len(plan.outputs))[0]
    names = getattr(model, "outputs", None)
    named = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
    if named and names != plan.output_names:
        fix = (
            "build the plan with prediction=..., and guide both the model (guidance.classifier_free) and the plan "
            "(plan.guided) or neither"
        )
        other = next((kind for first, kind in _HEADS.items() if first in (names or ())), None)
        if _lacks_derivative(plan.output_names, names):
            fix = _SOURCES if other is None else f"its head is for plans of options={{'derivative': {other!r}}}"
        raise ValueError(f"plan: reads {plan.output_names}, but the model returns {names}; {fix}")
    conditional_rows = plan.guidance is not None and any(step.calls == 1 for step in plan.instructions)
    if conditional_rows and not callable(getattr(model, "conditional", None)):
        raise TypeError(
            "model: has no 'conditional', but the guided plan has rows that call only that; "
            "make it with guidance.classifier_free"
        )
    return model


def first_outputs(model: Any, names: tuple[str, ...], count: int) -> tuple[Any, tuple[str, ...]]:
    """The model and the names of what it returns, for a row that reads ``count`` of ``names``.

    A model that can leave the others out has a method ``first(count)``, which returns that model.
    """
    first = getattr(model, "first", None)
    if count in (0, len(names)) or isinstance(first, nn.Module) or not callable(first):
        return model, names
    return first(count), names[:count]


def _begins_with(names: Any, plan: Plan) -> bool:
    """Whether a model of these outputs returns the plan's and, after them, others; the same of a guided pair."""
    if not isinstance(names, tuple) or len(names) <= len(plan.output_names):
        return False
    first = names[: len(names) // 2] if plan.guidance is not None else names
    return first[: len(plan.outputs)] == plan.outputs and ("uncond." + first[0] in names) == (plan.guidance is not None)


def _lacks_derivative(needed: Sequence[str], given: Any) -> bool:
    return not _DERIVATIVES.isdisjoint(set(needed) - set(given))


def _short(schedule: Schedule) -> str:
    text = repr(schedule)
    return text if len(text) <= 80 else text[:77] + "..."
