"""Guided models: one network call on a doubled batch, the mixing left to the plan's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..plan import Plan
from ..schedules import Schedule
from .batches import map_batches, repeated
from .contract import Label, Model, as_model
from .outputs import output_tensors

__all__ = ["ClassifierFree", "classifier_free"]


class ClassifierFree(Model):
    """A model that returns (conditional, unconditional) outputs; made by :func:`classifier_free`."""

    def __init__(self, conditional: Model, null: Mapping[str, Any], shared: Collection[str] = ()) -> None:
        self.conditional, self.null, self.shared = conditional, null, frozenset(shared)
        self.schedule, self.label, self.network = conditional.schedule, conditional.label, conditional.network
        self.reads_history = conditional.reads_history
        names = conditional.outputs
        self.outputs = None if names is None else (*names, *(f"uncond.{name}" for name in names))

    @property
    def dtype(self) -> torch.dtype | None:
        return self.conditional.dtype

    @property
    def device(self) -> torch.device | None:
        return self.conditional.device

    def label_of(self, schedule: Schedule) -> Label:
        return self.conditional.label_of(schedule)

    def labels(self, plan: Plan) -> ArrayLike:
        return self.conditional.labels(plan)

    def first(self, count: int) -> ClassifierFree:
        """The same with the first ``count`` of the conditional model's outputs, and their twins."""
        return ClassifierFree(self.conditional.first(count), self.null, self.shared)

    def sharing(self, names: Collection[str]) -> ClassifierFree:
        if replaced := sorted(self.null.keys() & set(names)):
            raise ValueError(f"shared: null replaces {replaced} for one half of every sample; pass them in cond=")
        return ClassifierFree(self.conditional.sharing(names), self.null, names)

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> tuple[Tensor, ...]:
        """x [B, ...], t [B] -> views of the network's outputs on 2B samples: all conditional ones, then their twins."""
        named = {null for null in self.null.values() if isinstance(null, str)}
        own = {k: v for k, v in cond.items() if k not in self.null and k not in named}
        both = {k: v if k in self.shared else _doubled(k, v) for k, v in own.items()}
        both |= {
            k: _with_own(k, null, cond) if isinstance(null, str) else _with_null(k, cond.get(k), null, x)
            for k, null in self.null.items()
        }
        outputs = output_tensors(self.conditional(torch.cat([x, x]), torch.cat([t, t]), **both))
        return *(_part(o, slice(len(x))) for o in outputs), *(_part(o, slice(len(x), None)) for o in outputs)


def classifier_free(model: Any, *, null: Mapping[str, object]) -> ClassifierFree:
    """Classifier-free guidance: use with ``plan.guided(scale)``.

    model: any network, from models.wrap or genie.with_head for example. null: the conditioning of "no condition", for
    example ``{"class_labels": 10}``; a number stands for one per sample, a tensor is one sample's conditioning, and a
    text names the entry of ``cond`` that holds each sample's own, such as a negative prompt. The plan forms scale *
    conditional + (1 - scale) * unconditional. Ho and Salimans, arXiv 2207.12598.
    """
    conditional = as_model(model)
    if not isinstance(null, Mapping) or not null:
        raise ValueError("null: empty; name the conditioning that stands for no condition, as in {'class_labels': 10}")
    for name, value in null.items():
        if isinstance(value, bool) or not isinstance(value, Real | Tensor | str):
            raise TypeError(
                f"null[{name!r}]: {value!r}; give a number, a tensor of one sample's conditioning, or the name of the "
                "entry of cond that holds each sample's"
            )
    device = conditional.device
    return ClassifierFree(
        conditional, {k: v.to(device=device) if isinstance(v, Tensor) else v for k, v in null.items()}
    )


def _part(output: Any, samples: slice) -> Any:
    """Of these samples; what has none goes on as it is, to be refused with its name and row."""
    return output[samples] if isinstance(output, Tensor) and output.ndim else output


def _doubled(name: str, value: object) -> object:
    try:
        return map_batches(value, repeated)
    except TypeError as error:
        raise TypeError(f"cond[{name!r}]: {error}; pass what all samples share in shared=") from None


def _with_own(name: str, null: str, cond: Mapping[str, Any]) -> Tensor:
    """[B, ...] followed by each sample's own null conditioning."""
    value, other = cond.get(name), cond.get(null)
    if not isinstance(value, Tensor) or not isinstance(other, Tensor) or value.shape != other.shape:
        shapes = [tuple(v.shape) if isinstance(v, Tensor) else repr(v) for v in (value, other)]
        raise ValueError(
            f"cond[{name!r}], cond[{null!r}]: {shapes[0]} and {shapes[1]}; null names the second for the first, so "
            "give two tensors of one shape"
        )
    return torch.cat([value, other.to(value)])


def _with_null(name: str, value: object, null: Any, x: Tensor) -> Tensor:
    """[B, ...] followed by the null conditioning of B samples."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        value = torch.from_numpy(value).to(x.device)
    elif isinstance(value, list | tuple) and all(isinstance(v, Real) for v in value):
        value = torch.tensor(value, device=x.device)
    if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != len(x):
        given = tuple(value.shape) if isinstance(value, Tensor) else repr(value)
        raise ValueError(
            f"cond[{name!r}]: {given}; null replaces it, so give a tensor with one entry per sample, [B, ...]"
        )
    if isinstance(null, Tensor) and null.shape != value.shape[1:]:
        raise ValueError(f"null[{name!r}]: shape {tuple(null.shape)}; one sample of cond has {tuple(value.shape[1:])}")
    if isinstance(null, Tensor):
        if null.is_floating_point() and not value.is_floating_point():
            raise TypeError(f"null[{name!r}]: dtype {null.dtype}; cond has {value.dtype}, give it in that")
        return torch.cat([value, null.to(value).expand_as(value)])
    if not (value.is_floating_point() or value.is_complex() or _holds(value.dtype, null)):
        raise ValueError(f"null[{name!r}]: {null}, which the {value.dtype} of cond cannot hold; give another number")
    return torch.cat([value, torch.full_like(value, null)])


def _holds(dtype: torch.dtype, number: Any) -> bool:
    """Whether an integer type has this number."""
    return torch.tensor(number, device="cpu").to(dtype).item() == number
