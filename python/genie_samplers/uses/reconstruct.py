"""How much of the data a solver loses on the way to the latents and back (arXiv 2010.02502, section 5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models import Model
from ..plan import Plan
from ..run import AnyModel, sample
from ..schedules import Schedule
from ..solvers.registry import rebuild, recipe_of
from .encode import encode

__all__ = ["GaussianData", "Reconstruction", "decoding_plan", "reconstruct"]


@dataclass(frozen=True)
class Reconstruction:
    """latents [B, ...]: states at the plan's last time. images [B, ...]: what they decode to.

    mse: per dimension, data scaled from [-1, 1] to [0, 1]. latent_rms: of the latents over sigma, 1 for noise.
    """

    latents: Tensor
    images: Tensor
    mse: float
    latent_rms: float


def reconstruct(
    model: AnyModel,
    plan: Plan,
    *,
    state: Tensor | None = None,
    image: Tensor | None = None,
    seed: int = 0,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    batch_size: int | None = None,
    backend: str | None = None,
    progress: bool | None = None,
) -> Reconstruction:
    """Encode ``state`` or ``image`` [B, ...] with a rising plan, then decode with the same solver over the same times.

    Arguments and errors as :func:`genie_samplers.encode`.
    """
    back = decoding_plan(plan)
    run: dict[str, Any] = {
        "cond": cond, "shared": shared, "batch_size": batch_size, "backend": backend, "progress": progress
    }  # fmt: skip
    latents = encode(model, plan, state=state, image=image, seed=seed, **run)
    images = sample(model, back, state=latents, **run)
    given = image if state is None else state
    error = (images.double() - given.to(images.device).double()) / 2.0  # type: ignore[union-attr]
    rms = latents.double().square().mean().sqrt() / back.init.scale
    return Reconstruction(latents, images, float(error.square().mean()), float(rms))


def decoding_plan(plan: Plan) -> Plan:
    """The plan of the same recipe over the same times, run the other way; ValueError for one without a recipe."""
    recipe = recipe_of(plan)
    back = rebuild(recipe.solver, plan.schedule, recipe.grid[::-1], recipe.options)
    return back if plan.guidance is None else back.guided(plan.guidance)


class GaussianData(Model):
    """The exact network of data N(0, scale^2), elementwise: whatever a solver loses here is the solver's own."""

    def __init__(self, schedule: Schedule, scale: float, *, prediction: str = "epsilon") -> None:
        self.schedule, self.scale, self.outputs = schedule, scale, (prediction,)

    def label(self, times: np.ndarray) -> np.ndarray:
        return times

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
        # a label is float32, and may round beyond the schedule
        times = np.clip(t.double().cpu().numpy(), self.schedule.t_zero, self.schedule.t_max)
        alpha, sigma = self.schedule.alpha(times), self.schedule.sigma(times)
        variance = (alpha * self.scale) ** 2 + sigma**2
        epsilon, x0 = sigma / variance, alpha * self.scale**2 / variance  # finite at alpha = 0 and at sigma = 0
        match self.outputs[0]:
            case "epsilon":
                output = epsilon
            case "x0":
                output = x0
            case "v":
                output = alpha * epsilon - sigma * x0
            case "score":
                output = -1.0 / variance
            case _:
                output = epsilon - x0
        factor = torch.from_numpy(output).to(x.device, x.dtype)
        return factor.reshape(-1, *(1,) * (x.ndim - 1)) * x
