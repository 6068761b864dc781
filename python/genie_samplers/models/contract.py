"""What the sampler asks of a network: one class with defaults, and the door through which any callable becomes one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ..plan import Plan
from ..schedules import Schedule
from .remark import remark

__all__ = ["CallableModel", "Label", "Model", "as_model", "first_parameter", "warn_if_training"]

Label = Callable[[NDArray[np.float64]], ArrayLike]
"""Times [n] to the network's own labels, [n] or [n, m], float64."""

Self = TypeVar("Self", bound="Model")
_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_WITH_DROPOUT = (nn.MultiheadAttention, nn.RNNBase)
_BATCH_STATISTICS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Model(ABC):
    """A network as the sampler sees it: called as ``model(x, t, **cond)``; all else has a default.

    x: [B, ...] in ``dtype``, read-only, and written again by later rows and runs: to remember it, clone it; t: float32
    [B] or [B, m], what ``labels`` gave for the row; cond: keyword arguments. It returns the plan's outputs in order,
    each of x's shape: a tensor, or a tuple of them.
    """

    outputs: tuple[str, ...] | Any = None  # Any: a class may promise that it has them
    """Names of what it returns; None: whatever the plan reads, unchecked."""
    schedule: Schedule | Any = None
    """The one it was trained with, plans of another are refused; None: any."""
    label: Label | Any = None
    """Its label for a time; None: the label of the plan's schedule."""
    conditional: Model | Any = None
    """Of a guided model the half without guidance."""
    reads_history: bool = False
    """Whether it is also given ``history``, the converted outputs that the row reads, newest first, if it reads any."""
    network: object = None
    """The network itself, to look at."""
    calibrated: Any = None
    """Of a schedule and a number of evaluations, the plan that was fitted to this network."""

    @abstractmethod
    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Any: ...

    @property
    def dtype(self) -> torch.dtype | None:
        """What it computes in; None: the state's."""
        return None

    @property
    def device(self) -> torch.device | None:
        """Where it is; None: anywhere."""
        return None

    @property
    def prediction(self) -> str | None:
        """The first of ``outputs``."""
        return self.outputs[0] if self.outputs else None

    def label_of(self, schedule: Schedule) -> Label:
        """Its own label of a time, or the schedule's; [n, m] where it needs more than the network's label."""
        return self.label or schedule.label

    def labels(self, plan: Plan) -> ArrayLike:
        """What it is given as t in each row of the plan, float64 [rows] or [rows, m]."""
        return (self.label or plan.schedule.label)(np.asarray(plan.times))

    def first(self: Self, count: int) -> Self:
        """The same model without the outputs after the first ``count``, where it can leave them out."""
        return self

    def sharing(self: Self, names: Collection[str]) -> Self:
        """The same model, given the names of the keyword arguments that are not per sample."""
        return self


class CallableModel(Model):
    """Any callable as a model; made by :func:`as_model`.

    Of a torch.nn.Module its parameters say dtype and device. Of any other object those attributes are taken over that
    the contract names, where they have the contract's types; methods of the contract need a class of :class:`Model`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = self.network = function
        self.own_dtype: torch.dtype | None = None
        self.own_device: torch.device | None = None
        if not isinstance(function, nn.Module):
            self._take_over(_attributes(function))

    def _take_over(self, own: Callable[[str], Any]) -> None:
        """What has the type that the contract gives it; a network may use the names for something else."""
        if isinstance(outputs := own("outputs"), tuple) and all(isinstance(name, str) for name in outputs):
            self.outputs = outputs
        if isinstance(schedule := own("schedule"), Schedule):
            self.schedule = schedule
        if callable(label := own("label")):
            self.label = label
        if callable(conditional := own("conditional")):
            self.conditional = as_model(conditional)
        if isinstance(dtype := own("dtype"), torch.dtype):
            self.own_dtype = dtype
        if isinstance(device := own("device"), torch.device | str):
            self.own_device = torch.device(device)
        self.reads_history = own("reads_history") is True

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Any:
        return self.function(x, t, **cond)

    @property
    def dtype(self) -> torch.dtype | None:
        parameter = first_parameter(self.network)
        return self.own_dtype if parameter is None else parameter.dtype

    @property
    def device(self) -> torch.device | None:
        parameter = first_parameter(self.network)
        return self.own_device if parameter is None else parameter.device


def as_model(model: Any) -> Model:
    """``model`` itself where it is a :class:`Model`, else one of anything callable; TypeError for what is not."""
    if isinstance(model, Model):
        return model
    if not callable(model):
        raise TypeError(f"model: {type(model).__name__} is not callable; pass model(x, t, **cond)")
    return CallableModel(model)


def first_parameter(network: object) -> Tensor | None:
    """The first floating-point parameter of a module; None where there is none."""
    if not isinstance(network, nn.Module):
        return None
    return next((p for p in network.parameters() if p.is_floating_point()), None)


def warn_if_training(model: Model) -> None:
    """Warn of a network in training mode with dropout or batch statistics, whose samples are noisy without a seed."""
    network = model.network
    noisy = isinstance(network, nn.Module) and any(map(_is_noisy, network.modules()))
    if noisy:
        remark(
            f"model: {type(network).__name__} is in training mode, where dropout and batch statistics change its "
            "output from call to call; call network.eval()"
        )


def _is_noisy(module: nn.Module) -> bool:
    dropout = isinstance(module, _DROPOUT) and module.p > 0.0
    inside = isinstance(module, _WITH_DROPOUT) and module.dropout > 0.0
    return module.training and (dropout or inside or isinstance(module, _BATCH_STATISTICS))


def _attributes(function: object) -> Callable[[str], Any]:
    """Of an object, by name; None for a layer of this name."""

    def own(name: str) -> Any:
        value = getattr(function, name, None)
        return None if isinstance(value, nn.Module) else value

    return own
