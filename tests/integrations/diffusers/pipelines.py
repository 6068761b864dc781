"""A pipeline's loop without a pipeline, around a network whose data are known."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

MEAN, VARIANCE = 0.3, 0.25

Network = Callable[[Tensor, Tensor], Tensor]


def exact_network(schedule: Any, prediction: str) -> Network:
    """The exact network of data N(0.3, 0.5^2) for times that are the schedule's labels, float64 inside.

    prediction: by diffusers' names.
    """

    def network(x: Tensor, label: Tensor) -> Tensor:
        t = float(label) / float(schedule.label(1.0))
        alpha, sigma = (float(of(t)) for of in (schedule.alpha, schedule.sigma))
        away = x.double() - alpha * MEAN
        total = alpha**2 * VARIANCE + sigma**2
        epsilon, x0 = sigma / total * away, MEAN + alpha * VARIANCE / total * away
        made = {
            "epsilon": epsilon,
            "sample": x0,
            "v_prediction": alpha * epsilon - sigma * x0,
            "flow_prediction": epsilon - x0,
        }[prediction]
        return made.to(x.dtype)

    return network


def noise(shape: tuple[int, ...] = (2, 4, 8, 8), seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(scheduler: Any, network: Network, x: Tensor, *, first: int = 0, **options: Any) -> Tensor:
    """From ``x`` as a pipeline hands it in, through the times from number ``first`` on."""
    takes = inspect.signature(scheduler.step).parameters
    if "generator" in takes:
        options = {"generator": torch.Generator().manual_seed(1), **options}
    for t in scheduler.timesteps[first:]:
        given = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(network(given, t), t, x, **options, return_dict=False)[0]
    return x


def sampled(scheduler: Any, network: Network, steps: int, **options: Any) -> Tensor:
    """From noise to the end."""
    scheduler.set_timesteps(steps, **options)
    return run(scheduler, network, noise() * getattr(scheduler, "init_noise_sigma", 1.0))


def difference(a: Tensor, b: Tensor) -> float:
    """Largest, per unit of the larger of both."""
    return float((a - b).abs().max() / torch.maximum(a.abs().max(), b.abs().max()))


def deviation(x: Tensor) -> float:
    return float(np.sqrt(float(x.double().var())))
