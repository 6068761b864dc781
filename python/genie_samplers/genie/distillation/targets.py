"""What a head is to learn, and the published kind of it: the derivative at noised data (GENIE, arXiv 2210.05475)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ...flow import coefficients_at, differentiate
from ...forward_mode import linearize
from ...models import WrappedModel
from ..heads.features import expand_like, input_scale
from ..heads.head import HeadConfig
from .data import Data

__all__ = ["PointwiseTargets", "Source", "Targets"]


@dataclass(frozen=True)
class Targets:
    """One chunk: what the head is given, and what it is to return there, [b, ...].

    inputs: arguments of the head, x (times :func:`input_scale`) and epsilon first. target: gamma times the derivative
    of epsilon, or the correction of that. gamma: float64 [b]. weight: float64 [b], or None: that of the loss.
    """

    inputs: tuple[Any, ...]
    target: Tensor
    gamma: Tensor
    weight: Tensor | None = None

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    @property
    def epsilon(self) -> Tensor:
        return self.inputs[1]


class Source(Protocol):
    """Chunks of targets, each a function of its number, and of the head as it is where that leads to them."""

    def chunk(self, number: int, head: nn.Module) -> Targets: ...


@dataclass(frozen=True)
class PointwiseTargets:
    """The derivative at noised data, log gamma uniform between two times: one joint JVP for each chunk of ``size``."""

    model: WrappedModel
    head: HeadConfig
    data: Data
    size: int
    t_min: float
    t_max: float
    seed: int

    @torch.no_grad()
    def chunk(self, number: int, head: nn.Module | None = None) -> Targets:
        rng = np.random.default_rng([self.seed, number])
        images, cond = self.data.draw(rng, self.size, self.model.device)
        place = (np.arange(self.size) + rng.random(self.size)) / self.size
        low, high = self.model.schedule.log_gamma(np.array([self.t_min, self.t_max]))
        t = np.clip(self.model.schedule.time_of_gamma(np.exp(low + (high - low) * place)), self.t_min, self.t_max)
        noise = torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32)).to(images)
        schedule = self.model.schedule
        alpha, sigma, scale = (
            expand_like(torch.from_numpy(values).to(images), images)
            for values in (schedule.alpha(t), schedule.sigma(t), input_scale(schedule, t))
        )
        x = alpha * images + sigma * noise
        flow = coefficients_at(self.model, x, torch.from_numpy(t))

        def network(x: Tensor, label: Tensor) -> Tensor:
            return self.model(x, label, **cond)

        with self.head.captured(self.model.network) as features:
            at = linearize(network, x, flow.label)
        found = differentiate(at, flow)
        gamma = torch.from_numpy(schedule.gamma(t)).to(x.device)
        inputs = (scale * x, found.epsilon, features.last, features.embedding, gamma.to(x))
        return Targets(inputs, found.gamma_d_epsilon, gamma)
