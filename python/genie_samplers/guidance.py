"""Guided models: one network call on a doubled batch, the mixing left to the plan's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ._inputs import Inputs, map_tensors
from ._outputs import first_outputs
from .models import Label
from .schedules import Schedule

__all__ = ["ClassifierFree", "classifier_free", "for_run"]


@dataclass(frozen=True)
class ClassifierFree:
    """A model that returns (conditional, unconditional) outputs; made by :func:`classifier_free`."""

    conditional: Any  # a model of one tensor, or of several
    null: Mapping[str, Any]
    # conditioning of all samples, whatever its length: the very tensors, see for_run
    shared: tuple[Tensor, ...] = field(default=(), compare=False, repr=False)

    @property
    def outputs(self) -> tuple[str, ...]:
        names = self.conditional.outputs
        return (*names, *(f"uncond.{name}" for name in names))

    @property
    def label(self) -> Label:
        return self.conditional.label

    @property
    def schedule(self) -> Schedule:
        return self.conditional.schedule

    @property
    def dtype(self) -> torch.dtype | None:
        return self.conditional.dtype

    @property
    def device(self) -> torch.device | None:
        return self.conditional.device

    def first(self, count: int) -> ClassifierFree:
        """The same with the first ``count`` of the conditional model's outputs, and their twins."""
        return replace(self, conditional=first_outputs(self.conditional, self.conditional.outputs, count)[0])

    def __call__(self, x: Tensor, t: Tensor, **cond: object) -> tuple[Tensor, ...]:
        """x [B, ...], t [B] -> views of the network's outputs on 2B samples: all conditional ones, then their twins."""

        def twice(value: Tensor) -> Tensor:
            per_sample = len(value) == len(x) and not any(value is known for known in self.shared)
            return torch.cat([value, value]) if per_sample else value

        both = {k: map_tensors(v, twice) for k, v in cond.items() if k not in self.null}
        both |= {k: _with_null(k, cond.get(k), null, x) for k, null in self.null.items()}
        outputs = self.conditional(torch.cat([x, x]), torch.cat([t, t]), **both)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        return *(o[: len(x)] for o in outputs), *(o[len(x) :] for o in outputs)


def classifier_free(model: Any, *, null: Mapping[str, object]) -> ClassifierFree:
    """Classifier-free guidance: use with ``plan.guided(scale)``.

    model: from models.wrap or genie.with_head. null: the conditioning of "no condition", for example
    ``{"class_labels": 10}``; a number stands for one per sample, a tensor is one sample's conditioning. Ho and
    Salimans, arXiv 2207.12598; the plan forms scale * conditional + (1 - scale) * unconditional.
    """
    if not null:
        raise ValueError("null: empty; name the conditioning that stands for no condition, as in {'class_labels': 10}")
    for name, value in null.items():
        if isinstance(value, bool) or not isinstance(value, int | float | Tensor):
            raise TypeError(f"null[{name!r}]: {value!r}; give a number, or a tensor of one sample's conditioning")
    return ClassifierFree(
        model, {k: v.to(device=model.device) if isinstance(v, Tensor) else v for k, v in null.items()}
    )


def for_run(model: Any, inputs: Inputs) -> Any:
    """The model of one run; a guided one learns what the samples share, which a smaller batch's length may equal."""
    if not isinstance(model, ClassifierFree):
        return model
    shared: list[Tensor] = []

    def collect(value: Tensor) -> Tensor:
        if not inputs.is_per_sample(value):
            shared.append(value)
        return value

    map_tensors(inputs.cond, collect)
    return replace(model, shared=tuple(shared))


def _with_null(name: str, value: object, null: Any, x: Tensor) -> Tensor:
    """[B, ...] followed by the null conditioning of B samples."""
    if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != len(x):
        given = tuple(value.shape) if isinstance(value, Tensor) else repr(value)
        raise ValueError(
            f"cond[{name!r}]: {given}; null replaces it, so give a tensor with one entry per sample, [B, ...]"
        )
    if isinstance(null, Tensor) and null.shape != value.shape[1:]:
        raise ValueError(f"null[{name!r}]: shape {tuple(null.shape)}; one sample of cond has {tuple(value.shape[1:])}")
    filled = null.to(value).expand_as(value) if isinstance(null, Tensor) else torch.full_like(value, null)
    return torch.cat([value, filled])
