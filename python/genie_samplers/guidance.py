"""Guided models: one network call on a doubled batch, the mixing left to the plan's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .models import Label, WrappedModel, fill_missing

__all__ = ["ClassifierFree", "classifier_free"]


@dataclass(frozen=True)
class ClassifierFree:
    """A model that returns (conditional, unconditional) outputs; made by :func:`classifier_free`."""

    conditional: WrappedModel
    null: Mapping[str, object]

    @property
    def outputs(self) -> tuple[str, ...]:
        names = self.conditional.outputs
        return (*names, *(f"uncond.{name}" for name in names))

    @property
    def label(self) -> Label:
        return self.conditional.label

    @property
    def dtype(self) -> torch.dtype:
        return self.conditional.dtype

    @property
    def device(self) -> torch.device:
        return self.conditional.device

    def __call__(self, x: Tensor, t: Tensor, **cond: object) -> tuple[Tensor, Tensor]:
        """x [B, ...], t [B] -> two views of the network's output on 2B samples."""
        missing = sorted(set(self.null) - set(cond))
        if missing:
            raise ValueError(
                f"cond: {missing} missing; a guided model needs the conditioning that null={dict(self.null)} replaces"
            )
        null = fill_missing({}, self.null, x)
        both = {k: _stack(v, null.get(k, v), len(x)) for k, v in cond.items()}
        output = self.conditional(torch.cat([x, x]), torch.cat([t, t]), **both)
        return output[: len(x)], output[len(x) :]


def classifier_free(model: WrappedModel, *, null: Mapping[str, object]) -> ClassifierFree:
    """Classifier-free guidance: use with ``plan.guided(scale)``.

    null: the conditioning of "no condition", for example ``{"class_labels": 10}``; a number stands for one per sample,
    a tensor is one sample's conditioning. Ho and Salimans, arXiv 2207.12598; the plan forms
    scale * conditional + (1 - scale) * unconditional.
    """
    return ClassifierFree(model, null)


def _stack(value: object, null: object, count: int) -> object:
    """[B, ...] and its null (of one sample, or [B, ...]) as one batch of 2B; what is not per sample goes through."""
    if not isinstance(value, Tensor) or not isinstance(null, Tensor):
        return value
    if value.ndim == 0 or value.shape[0] != count:
        return value
    return torch.cat([value, null.to(value).expand_as(value)])
