"""What ComfyUI's model_sampling object says: the path from data to noise, and the schedule."""

from __future__ import annotations

from typing import Any

import torch

from ...schedules import EDM, Flow, Schedule, from_alphas_cumprod

__all__ = ["is_flow", "of_model", "schedule_of"]

_FLOW_CLASS = "CONST"
_LEAST_TABLE = 100  # times of a model with a table of noise levels are indices; of others they are below 10


def of_model(model: Any) -> Any:
    """The object that a sampler function reaches through its model; ValueError where something in between hides it."""
    try:
        return model.inner_model.model_patcher.get_model_object("model_sampling")
    except AttributeError as error:
        raise ValueError(
            f"model: {type(model).__name__} hides its model_sampling ({error}); set the node's path, 'sigma' or 'flow'"
        ) from error


def is_flow(sampling: Any) -> bool:
    """Whether x = (1 - t) x_0 + t n: by the name of the class, so that ComfyUI is not imported."""
    return any(kind.__name__ == _FLOW_CLASS for kind in sampling.__class__.__mro__)


def schedule_of(sampling: Any) -> Schedule:
    """The schedule that the model's levels belong to: ``flow`` with its shift, the model's table, or ``edm``."""
    low, high = float(sampling.sigma_min), float(sampling.sigma_max)
    if is_flow(sampling):
        middle = float(sampling.percent_to_sigma(0.5))  # shift / (1 + shift)
        if not 0.0 < middle < 1.0:
            raise ValueError(f"model: percent_to_sigma(0.5)={middle}; a flow model's is between 0 and 1")
        return Flow(shift=middle / (1.0 - middle), t_max=min(high, 1.0))
    last = float(sampling.timestep(torch.tensor(high)))
    if last < _LEAST_TABLE - 1:
        return EDM(gamma_min=low, gamma_max=high)
    levels = torch.as_tensor(sampling.sigma(torch.arange(round(last) + 1))).double().cpu()
    return from_alphas_cumprod((1.0 / (1.0 + levels.square())).numpy())
